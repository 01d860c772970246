package adoption

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// MoveOptions says what the operator states. The zero value states nothing.
type MoveOptions struct {
	// OldReleaseGone states that nothing runs any more that reads or writes the
	// column in the clear and knows nothing of the adoption. It is recorded with the
	// move; the one to ReadSealed records it also where a Backfill is still missing,
	// which may rest on it. A move back that does not state it takes it back.
	OldReleaseGone bool
	// Accept is how many rows may stay behind: on the way to SealedOnly rows that
	// stand in the clear only, on the way from ReadSealed to WriteBoth rows that
	// are sealed only, whose values nobody reads there. Backfill keeps these as they
	// are until the table is moved back to Plain.
	Accept int64
	// LoseUnique states of which uniquenesses nothing of the sealed columns keeps the
	// promise: the names of indexes and constraints, as Obstacle.Name has them. A name
	// that the table does not have is ErrDefinition, which says what there is.
	LoseUnique []string
	// LoseChecks states that what CHECKs over the column in the clear refuse need not
	// be refused any more, or is by the application: they see NULL from SealedOnly on.
	// A value that they refuse is refused by Unseal on the way back, too, and is then in
	// the way of the move to WriteBoth until it is changed through the application.
	LoseChecks bool
	// LoseSpellings states that a search may find fewer spellings than it does today:
	// the column's collation takes more for equal than the normaliser of its index.
	LoseSpellings bool
	// IgnoreCascades states that no cascade of a foreign key of MariaDB or MySQL ever
	// changes the owner or tenant of a row: keys that are never changed or deleted.
	IgnoreCascades bool
	// Waiting is told what a move waits for; nil is silence.
	Waiting func(what string)
}

// Move moves a tenant one stage forward or back. When it returns nil, no process
// is at the stage before any more: it waits for the lease, for
// Config.LongestTransaction of this vault, which must be no shorter than that of any
// other process, and for every transaction that has
// written to the table by then, however long it takes. Killed or failed in the
// middle it is called again, forward or back: first it ends what was begun.
//
// What stands in the way is a *NotReadyError, which says all of it at once, and then
// nothing has changed but that OldReleaseGone is recorded on the way to ReadSealed.
func (a *Adoption) Move(ctx context.Context, tenant string, to Stage, options MoveOptions) error {
	if to.place() < 0 {
		return fmt.Errorf("%w: there is no stage %q", ErrStage, string(to))
	}
	r, err := a.current(ctx, tenant)
	if err != nil {
		return err
	}
	if !r.settled {
		if err := a.settle(ctx, &r, options.Waiting); err != nil {
			return err
		}
	}
	if r.stage == to {
		return nil
	}
	if step := to.place() - r.stage.place(); step != 1 && step != -1 {
		return fmt.Errorf("%w: %s of tenant %q is at %s: moves go one stage at a time, and %s is further away", ErrStage, a.def.Name, tenant, r.stage, to)
	}
	if options.OldReleaseGone && r.gone.IsZero() {
		gone := a.terms.Now()
		r.gone = gone
		if to == ReadSealed {
			if err := a.update(ctx, &r, func(r *stageRow) { r.gone = gone }); err != nil {
				return err
			}
		}
	}
	others, err := stages(ctx, a.db, a.def.Name)
	if err != nil {
		return err
	}
	if err := a.alone(tenant, others); err != nil {
		return err
	}
	if err := a.ready(ctx, r, to, options); err != nil {
		return err
	}
	if to == ReadSealed && r.stage == SealedOnly {
		if err := a.beginFilling(ctx, r); err != nil {
			return err
		}
	}
	gone := r.gone
	back := to.place() < r.stage.place()
	if r.gone.IsZero() || to == Plain || back && !options.OldReleaseGone {
		gone = time.Time{} // who goes back may want the release before again
	}
	err = a.update(ctx, &r, func(r *stageRow) {
		r.stage, r.settled, r.digest, r.clean, r.gone, r.changed = to, false, a.digest, 0, gone, a.terms.Now()
		r.revision++
	})
	if err != nil {
		return err
	}
	a.terms.Observe(ctx, "encryption.adoption.moved", float64(to.place()), slog.String("table", a.def.Name), slog.String("stage", string(to)))
	return a.settle(ctx, &r, options.Waiting)
}

// update changes the row of a tenant where nobody has moved it since it was read.
// It writes the whole row, and only over the tag that was verified: nothing that
// somebody else put into it is taken over.
func (a *Adoption) update(ctx context.Context, r *stageRow, change func(r *stageRow)) error {
	defer a.forget(r.tenant)
	failed := func(err error) error { return fmt.Errorf("adoption: stage of %s: %w", a.def.Name, err) }
	for before := *r; ; {
		next := before
		change(&next)
		tag, err := a.tagOf(ctx, next)
		if err != nil {
			return err
		}
		next.tag = tag
		var n int64
		err = a.db.For("crmguard_adoption").Write(ctx, func(tx *sql.Tx) error {
			result, err := tx.ExecContext(ctx, a.db.Bind(`UPDATE crmguard_adoption SET stage = ?, settled = ?, revision = ?, digest = ?, lease = ?, gone = ?, clean = ?, changed = ?, tag = ?
				WHERE tenant = ? AND tab = ? AND revision = ? AND stage = ? AND tag = ?`),
				append(next.stored(), r.tenant, a.def.Name, before.revision, string(before.stage), before.tag)...)
			if err == nil {
				n, err = result.RowsAffected()
			}
			return sqldb.Safe(err)
		})
		if err != nil {
			return failed(err)
		}
		if n == 1 {
			*r = next
			return nil
		}
		// MariaDB counts the rows that it has changed: one that is as it should be
		// is there, too. Else somebody has recorded something beside the stage.
		now, err := a.current(ctx, r.tenant)
		switch {
		case err != nil:
			return err
		case bytes.Equal(now.tag, next.tag):
			*r = next
			return nil
		case now.revision != before.revision || now.stage != before.stage || bytes.Equal(now.tag, before.tag):
			return failed(ErrMoved)
		}
		before = now
	}
}

// settle waits until nobody is at another stage than the recorded one.
func (a *Adoption) settle(ctx context.Context, r *stageRow, waiting func(string)) error {
	say := func(what string) {
		if waiting != nil {
			waiting(what)
		}
	}
	undone := func(err error) error {
		return fmt.Errorf("adoption: %s is recorded at %s, and some processes may still be at the stage before; call Move again: %w", a.def.Name, r.stage, err)
	}
	wait := r.lease + a.terms.LongestTransaction
	say(fmt.Sprintf("%v: the lease of the stage, and the longest transaction", wait))
	if err := a.terms.Wait(ctx, wait); err != nil {
		return undone(err)
	}
	table, err := a.db.Quote(a.def.SQL)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDefinition, err)
	}
	err = a.db.WaitForWriters(ctx, table, func(open int) {
		say(fmt.Sprintf("%d transactions that have written to %s", open, a.def.Name))
		a.terms.Observe(ctx, "encryption.adoption.writers", float64(open), slog.String("table", a.def.Name))
	})
	if err != nil {
		return undone(err)
	}
	return a.update(ctx, r, func(r *stageRow) { r.settled = true })
}
