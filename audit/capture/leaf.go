package capture

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/ids"
)

// Members of a leaf of a captured row that are always the same.
const (
	LeafKind = "capture"
	Outcome  = "ok"
	// KindPerson is the kind under which a Filing is asked for whom a row is about.
	KindPerson = "person"
)

// A Leaf is what the log says of a captured row: that the database has changed,
// never who did it.
type Leaf struct {
	ID      string // UUIDv8, the same whenever the same row is filed
	At      time.Time
	Action  string // capture.insert, capture.update, capture.delete, capture.truncate
	Actor   string // db/ and the role that logged in, db/- where its name may not stand in the log
	Tenant  string
	Object  Object   // empty where it was left out
	Persons []string // surrogates: of the object, where it is a person, or of whom the row is about
	Table   string
	Op      string   // one of the Op…
	Cols    []string // sorted; none where there were none, or too many to be named
	Claimed string   // "" where nothing was claimed, or it may not stand in the log
	Left    []Left   // what the row said and the leaf does not
}

// An Object is one as it stands in the log: a person under the surrogate.
type Object struct{ Kind, ID string }

// Left names what was left out of a leaf, for the counts of whoever files.
type Left string

// What is left out, and why.
const (
	LeftKey         Left = "object: no key"       // none in the row, or one with a person's id in it
	LeftTenant      Left = "object: no tenant"    // none in the row, or one that may not stand in the log: its object is not known
	LeftPerson      Left = "object: no surrogate" // a person that the trail has never recorded, or has erased
	LeftOpaque      Left = "object: no opaque id" // a key that is a name or an address
	LeftCols        Left = "cols"                 // names of together more than 48 KiB
	LeftClaimed     Left = "claimed actor"        // a name or an address
	LeftSessionUser Left = "session user"         // a name or an address
)

// mostCols bounds the names of columns as JSON has them, so that a leaf stays
// within its 65,535 bytes.
const mostCols = 48 << 10

// A Filing turns captured rows into leaves.
type Filing struct {
	// Log is the name of the log, without the counter of recoveries.
	Log string
	// Tenant is that of the trail's own events: rows without one are filed
	// under it.
	Tenant string
	// Opaque says whether an id may stand in the log for ever, by the rule of
	// the trail.
	Opaque func(id string) bool
	// Surrogate answers the surrogate of a person, "" where there is none, and
	// whether the kind is one of persons at all.
	Surrogate func(tenant, kind, key string) (surrogate string, person bool)
}

// Leaf makes the leaf of a row. An error is an [ErrRow], or an [ErrInvalid] of
// the Filing itself.
func (f Filing) Leaf(r Row) (Leaf, error) {
	if err := f.check(); err != nil {
		return Leaf{}, err
	}
	if err := r.check(); err != nil {
		return Leaf{}, err
	}
	id, err := f.id(r)
	if err != nil {
		return Leaf{}, err
	}
	l := Leaf{ID: id, At: r.At, Action: actions[r.Op], Actor: "db/" + r.Who, Tenant: r.Tenant, Table: r.Table, Op: r.Op, Claimed: r.Claimed}
	if !f.fits(l.Actor) || !f.fits(r.Who) {
		l.Actor = "db/-"
		l.Left = append(l.Left, LeftSessionUser)
	}
	if r.Claimed != "" && !f.fits(r.Claimed) {
		l.Claimed = ""
		l.Left = append(l.Left, LeftClaimed)
	}
	var left Left
	if l.Object, l.Persons, left = f.object(r); left != "" {
		l.Left = append(l.Left, left)
	}
	if !f.fits(l.Tenant) {
		l.Tenant = f.Tenant
	}
	if l.Cols = columns(r.Cols); l.Cols == nil && len(r.Cols) > 0 {
		l.Left = append(l.Left, LeftCols)
	}
	return l, nil
}

var actions = map[string]string{OpInsert: "capture.insert", OpUpdate: "capture.update", OpDelete: "capture.delete", OpTruncate: "capture.truncate"}

func (f Filing) check() error {
	for field, text := range map[string]string{"Filing.Log": f.Log, "Filing.Tenant": f.Tenant} {
		if err := ids.Check(field, text); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	if f.Opaque == nil || f.Surrogate == nil {
		return &TableError{Field: "Filing.Opaque", Why: "or Filing.Surrogate is nil: hand in the rules of the trail"}
	}
	return nil
}

// check refuses what no trigger writes.
func (r Row) check() error {
	switch {
	case actions[r.Op] == "":
		return fmt.Errorf("%w: its op is none", ErrRow)
	case r.N < 1:
		return fmt.Errorf("%w: its number is none", ErrRow)
	case !kinds.MatchString(r.Kind):
		return fmt.Errorf("%w: its kind is no code", ErrRow)
	case checkTableName(r.Table) != "":
		return fmt.Errorf("%w: its table is no name", ErrRow)
	case r.At.Year() < 1 || r.At.Year() > 9999:
		return fmt.Errorf("%w: its time is none", ErrRow)
	case !ids.Plain(r.Tenant) || !ids.Plain(r.Key) || !ids.Plain(r.Person) || !ids.Plain(r.Who) || !ids.Plain(r.Claimed):
		return fmt.Errorf("%w: it holds what is no text", ErrRow)
	case r.Op != OpUpdate && len(r.Cols) > 0, r.Op == OpTruncate && r.Key != "":
		return fmt.Errorf("%w: its op has no such members", ErrRow)
	case slices.ContainsFunc(r.Cols, func(c string) bool { return c == "" || len(c) > 63 || !ids.Plain(c) }): // PostgreSQL takes any other for one
		return fmt.Errorf("%w: it names columns that can be none", ErrRow)
	}
	return nil
}

func (f Filing) fits(id string) bool { return ids.CheckGiven("id", id) == nil && f.Opaque(id) }

// object is what the row was, as the log may name it, and whom it is about. Under
// which tenant an id stands is part of what it means, so without one there is no
// object; nor is there where a row is about a person whom the log cannot name: what
// belonged to somebody who was erased is not named behind the erasure.
func (f Filing) object(r Row) (object Object, persons []string, left Left) {
	switch {
	case r.Op == OpTruncate:
		return Object{}, nil, ""
	case r.Key == "" && r.Person == "":
		return Object{}, nil, LeftKey
	case r.Tenant == "" || ids.Check("tenant", r.Tenant) != nil || !f.Opaque(r.Tenant):
		return Object{}, nil, LeftTenant
	}
	if r.Person != "" {
		about, _ := f.Surrogate(r.Tenant, KindPerson, r.Person)
		if about == "" {
			return Object{}, nil, LeftPerson
		}
		persons = append(persons, about)
	}
	if r.Key == "" {
		return Object{}, persons, LeftKey
	}
	if surrogate, person := f.Surrogate(r.Tenant, r.Kind, r.Key); person {
		if surrogate == "" {
			return Object{}, persons, LeftPerson
		}
		persons = append(persons, surrogate)
		slices.Sort(persons)
		return Object{r.Kind, surrogate}, slices.Compact(persons), ""
	}
	if !f.fits(r.Key) {
		return Object{}, persons, LeftOpaque
	}
	return Object{r.Kind, r.Key}, persons, ""
}

// columns sorts the names, nil where they are too many.
func columns(names []string) []string {
	sorted := slices.Compact(slices.Sorted(slices.Values(names)))
	size := 0
	for _, name := range sorted {
		size += len(name) + len(`"",`)
		for _, c := range []byte(name) {
			if c < 0x20 || c == '"' || c == '\\' {
				size += len(`\u0000`) - 1
			}
		}
	}
	if size > mostCols {
		return nil
	}
	return sorted
}

// id is the row's id in the log: where the same row is filed twice, by a sequencer
// that was stopped in between, or from a dump, it is the same entry. It is made of
// what was drawn for this row: numbers of rows and of transactions are given again.
func (f Filing) id(r Row) (string, error) {
	drawn, err := uuid.Parse(r.ID)
	if err != nil {
		return "", fmt.Errorf("%w: its id is none", ErrRow)
	}
	sum := sha256.Sum256(frame.Join("crmguard/audit/captured/v2", f.Log, string(drawn[:])))
	u := uuid.UUID(sum[:16])
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return u.String(), nil
}
