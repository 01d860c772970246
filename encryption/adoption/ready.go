package adoption

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/encryption"
)

// ready says what stands in the way of a move from a settled stage to its
// neighbour.
func (a *Adoption) ready(ctx context.Context, r stageRow, to Stage, o MoveOptions) error {
	if to.place() > r.stage.place() {
		if err := a.suits(ctx); err != nil {
			return err
		}
	}
	l, err := a.live(ctx, r.tenant)
	if err != nil {
		return err
	}
	m := &moving{live: l, row: r, to: to, options: o}
	if err := m.stated(ctx); err != nil {
		return err
	}
	switch {
	case r.stage == Plain:
		if err := m.Check(ctx, r.tenant); err != nil {
			return err
		}
		return m.judged(ctx, m.refusing, m.versioned, m.noUniqueIndex)
	case r.stage == WriteBoth && to == ReadSealed:
		return m.judged(ctx, m.unguarded, m.cascades, m.compared, m.unsearchable, m.spellings)
	case r.stage == ReadSealed && to == SealedOnly:
		return m.judged(ctx, m.oldRelease, m.unsealed, m.compared, m.constraints)
	case r.stage == ReadSealed:
		return m.judged(ctx, m.sealedOnly)
	case r.stage == SealedOnly:
		return m.judged(ctx, m.refusing)
	}
	return nil // from WriteBoth back to Plain: the clear was read and written all the time
}

// refusing: what is written in the clear must not be refused by the trigger.
func (m *moving) refusing(ctx context.Context) ([]Obstacle, error) {
	guard, err := m.standing(ctx)
	if err != nil || guard != Refuse && guard != OtherGuard {
		return nil, err
	}
	statements, err := m.GuardSQL(ctx, Reset)
	if err != nil {
		return nil, err
	}
	return no(fmt.Sprintf("the trigger on the table is %q, and values are to be written in the clear: put the other one in its place first", guard), 0, statements...), nil
}

func (m *moving) unguarded(ctx context.Context) ([]Obstacle, error) {
	guard, err := m.Guard(ctx)
	if err != nil || guard == Reset || !m.row.gone.IsZero() {
		return nil, err
	}
	if guard == OutrunGuard {
		return m.outrun(ctx)
	}
	statements, err := m.GuardSQL(ctx, Reset)
	if err != nil {
		return nil, err
	}
	return no("a release without the adoption may write in the clear what nobody seals: put the trigger onto the table, or state OldReleaseGone; then Backfill", 0, statements...), nil
}

func (m *moving) unsearchable(ctx context.Context) (out []Obstacle, err error) {
	err = m.each(func(c column) error {
		for _, x := range c.indexes {
			err := m.cfg.Table.Searchable(ctx, m.row.tenant, x.Name)
			switch {
			case errors.Is(err, encryption.ErrIncomplete):
				out = append(out, Obstacle{Column: c.Name, Why: fmt.Sprintf("index %s is not searched yet: call FenceOldWriters and then Rebuild of the sealed table (%v)", x.Name, err)})
			case err != nil:
				return err
			}
		}
		return nil
	})
	return out, err
}

// compared asks for a whole pass of Backfill at this stage, and for the trigger that
// it rests on.
func (m *moving) compared(ctx context.Context) ([]Obstacle, error) {
	if m.row.clean != m.row.revision {
		return no("no whole pass of Backfill has found that each sealed value is the one in the clear since this stage began (and the trigger stood, or OldReleaseGone was stated): call Backfill until its report says Clean", 0), nil
	}
	mark, err := m.readJob(ctx, m.row.tenant, guardJob)
	if err != nil || mark.revision != m.row.revision {
		return nil, err
	}
	if still, err := m.stillGuarded(ctx, mark.counts); err != nil || still {
		return nil, err
	}
	return no("the trigger on the table is not the one that stood during the Backfill, and somebody may have written in the clear between: call Backfill until its report says Clean", 0), nil
}

func (m *moving) oldRelease(context.Context) ([]Obstacle, error) {
	if !m.row.gone.IsZero() {
		return nil, nil
	}
	return no("a release without the adoption reads in the clear, where nothing will stand: when it is gone for good, state OldReleaseGone", 0), nil
}

func (m *moving) unsealed(ctx context.Context) ([]Obstacle, error) {
	unsealed, err := m.sided(ctx, m.row.tenant, true)
	if err != nil || unsealed <= m.options.Accept {
		return nil, err
	}
	return no(fmt.Sprintf("%d rows stand in the clear only: call Backfill, look at what it refuses, then accept the rest by number (Accept)", unsealed), unsealed), nil
}

// constraints are those on the column in the clear that go with it. What none of
// them explains, an UPDATE that is rolled back shows.
func (m *moving) constraints(ctx context.Context) ([]Obstacle, error) {
	out, err := m.all(ctx, m.versioned, m.notNull, m.referenced, m.notUnique, m.nullsCollide, m.checked, m.domains)
	if err != nil || slices.ContainsFunc(out, Obstacle.refuses) {
		return out, err
	}
	tried, err := m.tried(ctx)
	return append(out, tried...), err
}

// refuses says that the database would refuse a row because of it.
func (o Obstacle) refuses() bool { return len(o.restores) > 0 || o.Option == "" }

func (m *moving) notNull(ctx context.Context) (out []Obstacle, err error) {
	key, err := m.primary(ctx)
	if err != nil {
		return nil, err
	}
	err = m.each(func(c column) error {
		nullable, err := m.nullable(ctx, c.Plain)
		if err != nil || nullable {
			return err
		}
		drop, restore, err := m.dropNotNull(ctx, c.Plain)
		if err != nil {
			return err
		}
		o := Obstacle{Column: c.Name, Why: fmt.Sprintf("%s is NOT NULL, and NULL will stand there", c.Plain), SQL: drop, restores: []restoring{{Of: "NOT NULL " + c.Plain, SQL: restore}}}
		if len(drop) == 0 {
			o.Why += onSQLite
		}
		if key.has(c.Plain) {
			o = m.notInKey(key, o)
		}
		out = append(out, o)
		return nil
	})
	return out, err
}

// onSQLite is how a constraint leaves a table there.
const onSQLite = ": on SQLite the table is made anew for that (CREATE TABLE without it, INSERT … SELECT, DROP, RENAME in one transaction, then its indexes and triggers)"

// restoring are the statements that bring one thing back.
type restoring struct {
	Of       string   `json:"of"`
	SQL      []string `json:"sql"`
	Revision int64    `json:"revision"`
}

// restoreJob keeps the statements that bring back what was dropped.
const restoreJob = "restore"

// remember adds to what RestoreSQL returns. Of two refusals at one stage the first
// knows how it was: by the second, half of it may have been dropped.
func (m *moving) remember(ctx context.Context, more []restoring) error {
	if len(more) == 0 {
		return nil
	}
	known, err := m.restoring(ctx, m.row.tenant)
	if err != nil {
		return err
	}
	changed := false
	for _, one := range more {
		one.Revision = m.row.revision
		at := -1
		for i := range known {
			if known[i].Of == one.Of {
				at = i
			}
		}
		switch {
		case len(one.SQL) == 0:
		case at < 0:
			known, changed = append(known, one), true
		case known[at].Revision != one.Revision:
			// Before what was recorded first: on MariaDB a statement brings a whole column
			// back, and the one that knows most of it comes last.
			known = append([]restoring{one}, slices.Delete(known, at, at+1)...)
			changed = true
		}
	}
	if !changed {
		return nil
	}
	text, err := json.Marshal(known)
	if err != nil {
		return fmt.Errorf("adoption: %w", err)
	}
	return m.saveJob(ctx, m.row.tenant, jobRow{job: restoreJob, revision: m.row.revision, counts: string(text), began: m.terms.Now(), updated: m.terms.Now()})
}

func (a *Adoption) restoring(ctx context.Context, tenant string) (out []restoring, err error) {
	j, err := a.readJob(ctx, tenant, restoreJob)
	if err != nil || j.counts == "" {
		return nil, err
	}
	if err := json.Unmarshal([]byte(j.counts), &out); err != nil {
		return nil, fmt.Errorf("adoption: the recorded statements of %s are damaged: %w", a.def.Name, err)
	}
	return out, nil
}

// RestoreSQL returns the statements that bring back what [Adoption.Obstacles] and
// moves had asked to drop or change, for after the way back to Plain: those of all
// refusals, each as it was before the first one. What was not dropped in the end is
// there already: its statement changes nothing, or the database says so. NOT NULL comes
// back only where no row was emptied meanwhile (ClearRows, ClearErased): delete these
// rows first, or give them a value.
func (a *Adoption) RestoreSQL(ctx context.Context, tenant string) (out []string, err error) {
	known, err := a.restoring(ctx, tenant)
	for _, one := range known {
		out = append(out, one.SQL...)
	}
	return out, err
}

// acceptedJob keeps at which move back rows were accepted that are sealed only.
const acceptedJob = "accepted"

func (m *moving) sealedOnly(ctx context.Context) ([]Obstacle, error) {
	missing, err := m.sided(ctx, m.row.tenant, false)
	if err != nil {
		return nil, err
	}
	if missing > m.options.Accept {
		return no(fmt.Sprintf("%d rows are sealed only, and at %s the clear is read: call Unseal; rows of erased persons are cleared with ClearRows; accept the rest by number (Accept)", missing, WriteBoth), missing), nil
	}
	if missing == 0 {
		return nil, nil
	}
	now := m.terms.Now()
	return nil, m.saveJob(ctx, m.row.tenant, jobRow{job: acceptedJob, revision: m.row.revision + 1, counts: "{}", began: now, updated: now})
}
