package adoption

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Obstacle is something about the table that a move will not go over.
type Obstacle struct {
	Before Stage    // the stage that is not reached while it stands in the way
	Column string   // logical name of the adopted column; "" is the table
	Why    string   // in words, and the remedy where no statement is one; holds no value
	Rows   int64    // how many rows it is about; 0 where it is not about rows
	Listed []Left   // some of these rows
	SQL    []string // statements that the owner of the table executes, in this order
	Option string   // the field of MoveOptions that states that it may be so; "" where none does
	Name   string   // what LoseUnique names where that is the Option

	restores []restoring
}

// String is the reason, and what states that it may be so.
func (o Obstacle) String() string {
	text := o.Why
	if o.Option != "" {
		text += ", or state " + o.Asks()
	}
	return text
}

// Asks is the Option with what it names.
func (o Obstacle) Asks() string {
	if o.Name == "" {
		return o.Option
	}
	return fmt.Sprintf("%s %q", o.Option, o.Name)
}

// Obstacles lists everything about the table that stands in the way to SealedOnly
// from where the tenant is, all at once: call it first, at Plain, before anything
// has changed and before the table has the columns that SQL asks for. What each step
// itself asks for (Backfill, OldReleaseGone, the guard) is no obstacle. It reads the
// whole table once or twice, changes no row, and tries a few of them in a
// transaction that is rolled back. What a trigger does then that no ROLLBACK takes back
// stays: on MariaDB and MySQL what it writes to a table of MyISAM or Aria, on all a
// number that it draws. What its statements drop or change is recorded for
// [Adoption.RestoreSQL], so they may be executed at once, or when a move asks for them.
//
// An empty list says that nothing that can be known beforehand is in the way. The index
// that takes the place of UNIQUE is listed with its statement once its column is there,
// from WriteBoth on: building it takes its time. Once it stands, a row of the release
// before is listed that it will refuse to seal.
//
// On MariaDB and MySQL an account sees the foreign keys of tables that it has rights
// on, and more than reading: let the owner of the schema ask.
func (a *Adoption) Obstacles(ctx context.Context, tenant string) ([]Obstacle, error) {
	r, err := a.current(ctx, tenant)
	if err != nil {
		return nil, err
	}
	l, err := a.bare(ctx)
	if err != nil {
		var out []Obstacle
		if errors.Is(err, ErrDefinition) { // nothing else can be asked
			return append(out, Obstacle{Before: WriteBoth, Why: err.Error()}), nil
		}
		return nil, err
	}
	m := &moving{live: l, row: r, to: SealedOnly, ahead: true}
	var out []Obstacle
	for _, part := range []struct {
		before Stage
		judges []judge
	}{
		{WriteBoth, []judge{m.versioned, m.noUniqueIndex}},
		{ReadSealed, []judge{m.outrun, m.cascades, m.spellings}},
		{SealedOnly, []judge{m.constraints}},
	} {
		if r.stage.place() >= part.before.place() {
			continue
		}
		m.to = part.before
		found, err := m.all(ctx, part.judges...)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	var restores []restoring
	for _, one := range out {
		restores = append(restores, one.restores...)
	}
	return out, m.remember(ctx, restores)
}

// judge looks for obstacles of one kind.
type judge func(ctx context.Context) ([]Obstacle, error)

// moving is one move before it is made.
type moving struct {
	*live
	row     stageRow
	to      Stage
	options MoveOptions
	ahead   bool // asked before the move: what it will want, not what it lacks by now
}

// all asks all judges.
func (m *moving) all(ctx context.Context, judges ...judge) (out []Obstacle, err error) {
	for _, one := range judges {
		found, err := one(ctx)
		if err != nil {
			return nil, err
		}
		for i := range found {
			found[i].Before = m.to
		}
		out = append(out, found...)
	}
	return out, nil
}

// judged refuses a move with everything that the judges find.
func (m *moving) judged(ctx context.Context, judges ...judge) error {
	found, err := m.all(ctx, judges...)
	if err != nil || len(found) == 0 {
		return err
	}
	e := &NotReadyError{From: m.row.stage, To: m.to, Obstacles: found}
	why := make([]string, len(found))
	var restores []restoring
	for i, one := range found {
		why[i] = one.String()
		e.Rows = max(e.Rows, one.Rows)
		e.SQL = append(e.SQL, one.SQL...)
		restores = append(restores, one.restores...)
	}
	e.Why = strings.Join(why, "; ")
	if err := m.remember(ctx, restores); err != nil {
		return err
	}
	return e
}

// no is one obstacle.
func no(why string, rows int64, sql ...string) []Obstacle {
	return []Obstacle{{Why: why, Rows: rows, SQL: sql}}
}
