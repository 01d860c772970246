package privacy

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// What a replay has begun with and not ended stands beside the ledger, in sealed
// notes: once the first store has erased a person it lists the person no more,
// and the next replay would not look for them in the store that was down. A
// database that is restored once more does not take the notes along. The gate is
// shut while there is one.

const (
	replayNotePrefix = "replay-"
	notedAtOnce      = 500 // persons a note
)

// notedPerson is somebody whom a replay erases again.
type notedPerson struct {
	Tenant     string              `json:"tenant"`
	Person     string              `json:"person"`
	Identities map[string][]string `json:"identities,omitempty"` // by which other stores find them
	Rows       []datastore.Row     `json:"rows,omitempty"`       // found in other stores
	Undated    []datastore.Row     `json:"undated,omitempty"`    // wait for Decide
	Erased     bool                `json:"erased"`               // and for nothing else
	Held       bool                `json:"held,omitempty"`       // nothing can be done until a hold is over
}

func (p notedPerson) id() datastore.Person { return datastore.Person{Tenant: p.Tenant, ID: p.Person} }

// replayNote is one note of one replay.
type replayNote struct {
	name    string
	persons []notedPerson
}

// unfinishedReplays are the notes that stand.
type unfinishedReplays []replayNote

func (u unfinishedReplays) persons() []notedPerson {
	var all []notedPerson
	for _, note := range u {
		all = append(all, note.persons...)
	}
	return all
}

func (u unfinishedReplays) names() []string {
	names := make([]string, len(u))
	for i, note := range u {
		names[i] = note.name
	}
	return names
}

// pending counts the persons with whom the stores are not done, and could be.
func (u unfinishedReplays) pending() int {
	persons := map[datastore.Person]bool{}
	for _, p := range u.persons() {
		if !p.Erased && !p.Held {
			persons[p.id()] = true
		}
	}
	return len(persons)
}

// undecided counts the rows that wait for Decide.
func (u unfinishedReplays) undecided() int {
	type place struct{ tenant, store, table, key string }
	rows := map[place]bool{}
	for _, p := range u.persons() {
		for _, row := range p.Undated {
			rows[place{p.Tenant, row.Store, row.Table, row.Key}] = true
		}
	}
	return len(rows)
}

// unfinished reads the notes of replays.
func (d *Desk) unfinished(ctx context.Context) (unfinishedReplays, error) {
	var all unfinishedReplays
	for note, err := range d.cfg.Ledger.Notes(ctx) {
		if err == nil && !strings.HasPrefix(note.Name, replayNotePrefix) {
			continue
		}
		if err != nil {
			return nil, err
		}
		persons := []notedPerson{}
		if err := json.Unmarshal(note.Data, &persons); err != nil {
			return nil, mute("reading the note of a replay", err)
		}
		all = append(all, replayNote{note.Name, persons})
	}
	return all, nil
}

// noteReplay writes the persons down, durably.
func (d *Desk) noteReplay(ctx context.Context, persons []notedPerson) (unfinishedReplays, error) {
	var written unfinishedReplays
	for some := range slices.Chunk(persons, notedAtOnce) {
		id, err := uuid.NewV7()
		if err != nil {
			return written, mute("drawing an id", err)
		}
		data, err := json.Marshal(some)
		if err != nil {
			return written, mute("encoding the note of a replay", err)
		}
		note := replayNote{replayNotePrefix + id.String(), some}
		if err := d.cfg.Ledger.Note(ctx, note.name, data); err != nil {
			return written, err
		}
		written = append(written, note)
	}
	return written, nil
}

// rowKeys are the keys under which the ledger and decisions name a row.
func (d *Desk) rowKeys(ctx context.Context, tenant string, row datastore.Row) ([]string, error) {
	return d.cfg.Ledger.Keys(ctx, erasurelog.KindRef, tenant, erasurelog.RowID(row.Table, row.Key))
}
