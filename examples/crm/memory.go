package main

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"

	"github.com/crmguard/crmguard/integrity"
)

// memory is what the tour keeps in its head, never in the folder: what was
// imported, to compare with what is read later. A CRM has no such thing.
type memory struct {
	mu        sync.Mutex            // guards the values of people while users work beside the tour
	changes   int                   // of contacts since the snapshot
	all       map[string]stepReport // the steps that are done
	people    []*person
	byID      map[string]*person
	byEmail   map[string][]*person  // by looseEmail
	accounts  map[string]string     // name -> id
	counts    map[string]int        // rows by table
	roots     *integrity.Roots      // of contacts, anchored in the newest beat
	oldRow    *contact              // the first version of a contact
	olderLog  map[string][]byte     // the published log after the import
	snapshot  string                // id of the snapshot of step 8
	snapshots []string              // ids of all snapshots
	held      map[string]heldRecord // what everyone had at snapshot time, see eachRecord
	goneValue []byte                // of who is forgotten, sealed, as the snapshot of step 8 holds it
	oldCopy   []byte                // the key copy of that day
	gone      *person               // who asked to be forgotten
	partner   *person               // who stays, and shares a note with them
	note      string                // that note; "" if there are only two people
	canaries  []string              // planted in custom field, activity, attachment, audit diff
	ownValues map[string]bool       // values of them that nothing else produces, by label
	given     string                // what another person was given in step 9
	ghosts    *needles              // what must not be found of them
	before    *sightings            // what the search found before the erasure
	after     *sightings            // and at the end
	wrapped   [][]byte              // the wrapped keys of who is forgotten
}

// person is one accepted row of the import.
type person struct {
	id     string
	line   int
	values map[string]string // by field, "custom" as JSON
	user   string            // who looks after them
	former []formerValue     // values that were changed since
	texts  []string          // free text and files about them
}

// formerValue is what a field held before it changed.
type formerValue struct {
	field, value string
	fromFile     bool // it was what the file said
}

// remember notes that a field of a person was changed.
func (m *memory) remember(p *person, field, value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	changed := slices.ContainsFunc(p.former, func(f formerValue) bool { return f.field == field })
	p.former = append(p.former, formerValue{field, p.values[field], !changed})
	p.values[field] = value
	m.changes++
}

// valueOf is what the tour remembers of a field.
func (m *memory) valueOf(p *person, field string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return p.values[field]
}

// shown is a figure of an earlier step.
func (m *memory) shown(step, figure string) int { return m.all[step].Figures[figure] }

// sealsHead is what a beat anchors of the row seals.
func (c *crm) sealsHead(context.Context) ([]byte, error) {
	if c.roots == nil {
		return nil, nil
	}
	return c.roots.Head(), nil
}

// snapshotsHead is a digest of the list of snapshots: one that vanishes shows.
func (c *crm) snapshotsHead(context.Context) ([]byte, error) {
	sum := sha256.New()
	for _, id := range c.snapshots {
		sum.Write([]byte(id))
	}
	return sum.Sum(nil), nil
}
