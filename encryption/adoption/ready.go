package adoption

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/encryption"
)

// ready says what stands in the way of a move from a settled stage to its
// neighbour.
func (a *Adoption) ready(ctx context.Context, r stageRow, to Stage, o MoveOptions) error {
	l, err := a.live(ctx, r.tenant)
	if err != nil {
		return err
	}
	m := &moving{live: l, row: r, to: to, options: o}
	switch {
	case r.stage == Plain:
		return m.toWriteBoth(ctx)
	case r.stage == WriteBoth && to == ReadSealed:
		return m.toReadSealed(ctx)
	case r.stage == ReadSealed && to == SealedOnly:
		return m.toSealedOnly(ctx)
	case r.stage == ReadSealed:
		return m.backToWriteBoth(ctx)
	case r.stage == SealedOnly:
		return m.backToReadSealed(ctx)
	}
	return nil // from WriteBoth back to Plain: the clear was read and written all the time
}

// moving is one move before it is made.
type moving struct {
	*live
	row     stageRow
	to      Stage
	options MoveOptions
}

func (m *moving) no(why string, rows int64, sql ...string) error {
	return &NotReadyError{From: m.row.stage, To: m.to, Why: why, Rows: rows, SQL: sql}
}

func (m *moving) toWriteBoth(ctx context.Context) error {
	if err := m.Check(ctx, m.row.tenant); err != nil {
		return err
	}
	if err := m.notRefusing(ctx); err != nil {
		return err
	}
	return m.each(func(c column) error {
		unique, err := m.unique(ctx, c.Plain)
		if err != nil || len(unique) == 0 || m.options.LoseUnique || c.wideIndex() != "" {
			return err
		}
		return m.no(fmt.Sprintf("%s is UNIQUE in the clear, and no index of at least 128 bits is declared over the sealed column to take its place: add encryption.Index{Column: %q, As: …, Unique: true} now, while the definition may change, or state LoseUnique", c.Plain, c.Name+"_unique"), 0)
	})
}

// wideIndex is the SQL column of an index that is wide enough to be unique.
func (c column) wideIndex() string {
	for _, x := range c.indexes {
		if x.Bits >= 128 {
			return x.Column
		}
	}
	return ""
}

// notRefusing: what is written in the clear must not be refused by the trigger.
func (m *moving) notRefusing(ctx context.Context) error {
	guard, err := m.Guard(ctx)
	if err != nil || guard != Refuse && guard != OtherGuard {
		return err
	}
	statements, err := m.GuardSQL(ctx, Reset)
	if err != nil {
		return err
	}
	return m.no(fmt.Sprintf("the trigger on the table is %q, and values are to be written in the clear: put the other one in its place first", guard), 0, statements...)
}

func (m *moving) toReadSealed(ctx context.Context) error {
	guard, err := m.Guard(ctx)
	if err != nil {
		return err
	}
	if guard != Reset && m.row.gone.IsZero() {
		statements, err := m.GuardSQL(ctx, Reset)
		if err != nil {
			return err
		}
		return m.no("a release without the adoption may write in the clear what nobody seals: put the trigger onto the table, or state OldReleaseGone; then Backfill", 0, statements...)
	}
	if err := m.compared(ctx); err != nil {
		return err
	}
	return m.each(func(c column) error {
		for _, x := range c.indexes {
			err := m.cfg.Table.Searchable(ctx, m.row.tenant, x.Name)
			if errors.Is(err, encryption.ErrIncomplete) {
				return m.no(fmt.Sprintf("index %s is not searched yet: call FenceOldWriters and then Rebuild of the sealed table (%v)", x.Name, err), 0)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// compared asks for a whole pass of Backfill at this stage, and for the trigger that
// it rests on.
func (m *moving) compared(ctx context.Context) error {
	if m.row.clean != m.row.revision {
		return m.no("no whole pass of Backfill has found that each sealed value is the one in the clear since this stage began (and the trigger stood, or OldReleaseGone was stated): call Backfill until its report says Clean", 0)
	}
	mark, err := m.readJob(ctx, m.row.tenant, guardJob)
	if err != nil || mark.revision != m.row.revision {
		return err
	}
	if still, err := m.stillGuarded(ctx, mark.counts); err != nil || still {
		return err
	}
	return m.no("the trigger on the table is not the one that stood during the Backfill, and somebody may have written in the clear between: call Backfill until its report says Clean", 0)
}

func (m *moving) toSealedOnly(ctx context.Context) error {
	if m.row.gone.IsZero() {
		return m.no("a release without the adoption reads in the clear, where nothing will stand: when it is gone for good, state OldReleaseGone", 0)
	}
	unsealed, err := m.sided(ctx, m.row.tenant, true)
	if err != nil {
		return err
	}
	if unsealed > m.options.Accept {
		return m.no(fmt.Sprintf("%d rows stand in the clear only: call Backfill, look at what it refuses, then accept the rest by number (Accept)", unsealed), unsealed)
	}
	if err := m.compared(ctx); err != nil {
		return err
	}
	return m.constraints(ctx)
}

// constraints are those on the column in the clear that go with it.
func (m *moving) constraints(ctx context.Context) error {
	var drop, restore []string
	why := ""
	err := m.each(func(c column) error {
		nullable, err := m.nullable(ctx, c.Plain)
		if err != nil {
			return err
		}
		if !nullable {
			statement, back, err := m.dropNotNull(ctx, c.Plain)
			if err != nil {
				return err
			}
			why += fmt.Sprintf("; %s is NOT NULL", c.Plain)
			drop, restore = append(drop, statement...), append(restore, back...)
		}
		unique, err := m.unique(ctx, c.Plain)
		if err != nil || len(unique) == 0 || m.options.LoseUnique {
			return err
		}
		wide := c.wideIndex()
		there := []string(nil)
		if wide != "" {
			if there, err = m.unique(ctx, wide); err != nil {
				return err
			}
		}
		if len(there) == 0 {
			why += fmt.Sprintf("; %s is UNIQUE, and %s is not yet", c.Plain, wide)
			if wide != "" {
				drop = append(drop, m.uniqueSQL(wide))
			}
		}
		return nil
	})
	if err != nil || why == "" {
		return err
	}
	if len(restore) > 0 {
		if err := m.remember(ctx, restore); err != nil {
			return err
		}
	}
	if len(drop) == 0 {
		return m.no("what the column in the clear promises goes with it"+why+": on SQLite the table is made anew for that (CREATE TABLE with the column nullable, INSERT … SELECT, DROP, RENAME in one transaction)", 0)
	}
	return m.no("what the column in the clear promises goes with it"+why, 0, drop...)
}

// restoreJob keeps the statements that bring back what was dropped.
const restoreJob = "restore"

func (m *moving) remember(ctx context.Context, statements []string) error {
	text, err := json.Marshal(statements)
	if err != nil {
		return fmt.Errorf("adoption: %w", err)
	}
	return m.saveJob(ctx, m.row.tenant, jobRow{job: restoreJob, revision: m.row.revision, counts: string(text), began: m.terms.Now(), updated: m.terms.Now()})
}

// RestoreSQL returns the statements that bring back the constraints that a move to
// SealedOnly had asked to drop, for after the way back to Plain.
func (a *Adoption) RestoreSQL(ctx context.Context, tenant string) ([]string, error) {
	j, err := a.readJob(ctx, tenant, restoreJob)
	if err != nil || j.counts == "" {
		return nil, err
	}
	var out []string
	if err := json.Unmarshal([]byte(j.counts), &out); err != nil {
		return nil, fmt.Errorf("adoption: the recorded statements of %s are damaged: %w", a.def.Name, err)
	}
	return out, nil
}

// acceptedJob keeps at which move back rows were accepted that are sealed only.
const acceptedJob = "accepted"

func (m *moving) backToWriteBoth(ctx context.Context) error {
	missing, err := m.sided(ctx, m.row.tenant, false)
	if err != nil {
		return err
	}
	if missing > m.options.Accept {
		return m.no(fmt.Sprintf("%d rows are sealed only, and at %s the clear is read: call Unseal; rows of erased persons are cleared with ClearRows; accept the rest by number (Accept)", missing, WriteBoth), missing)
	}
	if missing == 0 {
		return nil
	}
	now := m.terms.Now()
	return m.saveJob(ctx, m.row.tenant, jobRow{job: acceptedJob, revision: m.row.revision + 1, counts: "{}", began: now, updated: now})
}

func (m *moving) backToReadSealed(ctx context.Context) error { return m.notRefusing(ctx) }
