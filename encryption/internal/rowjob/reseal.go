package rowjob

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/jobs"
)

const conflictTries = 5

// Reseal does what SealedTable.Reseal promises.
func (t *Table) Reseal(ctx context.Context, db *sql.DB, tenant string, options jobs.ResealOptions) (jobs.ResealReport, error) {
	report, err := t.reseal(ctx, db, tenant, options)
	if err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()) { // a driver ends a connection then, which looks like a loss
		err = errors.Join(ctx.Err(), err)
	}
	return report, err
}

func (t *Table) reseal(ctx context.Context, db *sql.DB, tenant string, options jobs.ResealOptions) (jobs.ResealReport, error) {
	report := jobs.ResealReport{Last: options.After}
	if err := keyring.CheckTenant(tenant); err != nil {
		return report, err
	}
	s, err := t.counted(ctx, db, tenant)
	if err != nil {
		return report, err
	}
	if s.places, err = s.hasPlaces(ctx); err != nil {
		return report, err
	}
	s.columns = s.columns[:len(s.columns)-len(s.indexes)] // what is not resealed is not read
	s.indexes = nil
	if options.Batch <= 0 {
		options.Batch = 100
	}
	after, err := s.place(tenant, options.After)
	if err != nil {
		return report, err
	}
	if after == nil {
		err := s.nameless(ctx, tenant, func(u jobs.Unreadable) { listUnreadable(&report, []jobs.Unreadable{u}, options.Unreadable) })
		if err != nil {
			return report, err
		}
	}
	batches := s.batches(ctx, tenant, after, options)
	defer batches.stop()
	for {
		b := batches.next()
		if b.err == nil && len(b.rows) == 0 {
			b.err = s.whole(ctx, s.db)
		}
		if b.err != nil || len(b.rows) == 0 {
			return report, b.err
		}
		if err := s.resealBatch(ctx, tenant, b.plans, options, &report); err != nil {
			return report, err
		}
		report.Rows += len(b.rows)
		report.Last = s.placeText(b.last())
		t.Vault.Config.Observe(ctx, "encryption.reseal.rows", float64(len(b.rows)), slog.String("table", t.Name))
		if options.Progress != nil {
			options.Progress(report)
		}
		if options.Pause > 0 {
			if err := t.Vault.Config.Wait(ctx, options.Pause); err != nil {
				return report, err
			}
		}
	}
}

// resealBatch reseals rows in one transaction; rows that someone else changed
// are read again and tried again.
func (s *storedTable) resealBatch(ctx context.Context, tenant string, plans []rowPlan, options jobs.ResealOptions, report *jobs.ResealReport) error {
	for try := 0; ; try++ {
		if err := s.moveStreams(ctx, tenant, plans, options.Streams); err != nil {
			return err
		}
		lost, err := s.carryOut(ctx, tenant, plans, options)
		alone := isRefusal(err)
		if alone {
			lost, err = s.oneByOne(ctx, tenant, plans, options, report)
		}
		overdue := errors.Is(err, errOverdue) // somebody holds some of the rows
		switch {
		case overdue:
			report.Locked += len(allLost(plans))
			err = nil
		case errors.Is(err, errRetired) && try < conflictTries:
			lost = allLost(plans)
		case err != nil && !alone:
			return err
		}
		for i := range plans {
			if !plans[i].lost || plans[i].refused != nil {
				countPlan(report, &plans[i], options)
			}
		}
		if len(lost) == 0 || overdue || alone && err != nil {
			return err
		}
		report.Conflicts += len(lost)
		s.Vault.Config.Observe(ctx, "encryption.reseal.conflicts", float64(len(lost)), slog.String("table", s.Name))
		if try == conflictTries {
			return nil // the census says what is left
		}
		rows, err := s.these(ctx, tenant, lost)
		if err != nil {
			return err
		}
		if plans, err = s.plan(ctx, tenant, rows, options.Streams != nil); err != nil {
			return err
		}
	}
}

// carryOut changes the rows as planned, in one transaction, and returns the keys
// of those that hold something else by now.
func (s *storedTable) carryOut(ctx context.Context, tenant string, plans []rowPlan, options jobs.ResealOptions) (lost [][]any, err error) {
	some := false
	var under []uint32
	for i := range plans {
		some = some || len(plans[i].changes) > 0
		under = append(under, sealedUnder(plans[i].changes)...)
	}
	if !some {
		return nil, nil
	}
	err = s.Vault.Commit(ctx, s.db.DB, tenant, under, s.write, func(ctx context.Context, tx *sql.Tx) error {
		lost = nil
		var singly []*rowPlan
		for i := range plans {
			p := &plans[i]
			p.lost = false
			if len(p.changes) > 0 {
				singly = append(singly, p)
			}
		}
		var groups []*group
		if options.BeforeRow == nil && options.AfterRow == nil {
			var err error
			if groups, singly, err = s.swapTogether(ctx, tx, tenant, singly); err != nil {
				return err
			}
		}
		for _, p := range singly {
			ok, err := s.swapHooked(ctx, tx, tenant, p.row, p.changes, options.BeforeRow, options.AfterRow)
			if err != nil {
				return err
			}
			p.lost = !ok
		}
		if err := s.settled(ctx, tx, tenant, groups, singly); err != nil {
			return err
		}
		for i := range plans {
			if plans[i].lost {
				lost = append(lost, plans[i].row.cursor)
			}
		}
		return nil
	})
	if err != nil && !s.singly && ctx.Err() == nil && isNotUnderstood(err) {
		s.singly = true
		return s.carryOut(ctx, tenant, plans, options)
	}
	return lost, err
}

// allLost marks the rows that were to be changed and are not.
func allLost(plans []rowPlan) (lost [][]any) {
	for i := range plans {
		if p := &plans[i]; len(p.changes) > 0 {
			p.lost = true
			lost = append(lost, p.row.cursor)
		}
	}
	return lost
}

// countPlan adds what became of a row.
func countPlan(r *jobs.ResealReport, p *rowPlan, options jobs.ResealOptions) {
	r.Erased += p.erased
	r.Unsealed += p.unsealed
	listUnreadable(r, p.unreadable, options.Unreadable)
	if p.refused != nil {
		r.Refused++
		if len(r.Refusals) < jobs.Listed {
			r.Refusals = append(r.Refusals, *p.refused)
		}
		if options.Refused != nil {
			options.Refused(*p.refused)
		}
		return
	}
	r.Cells += p.cells
	if p.into != "" {
		r.Moved++
	}
}

func listUnreadable(r *jobs.ResealReport, unreadable []jobs.Unreadable, each func(jobs.Unreadable)) {
	r.Unreadable += len(unreadable)
	for _, u := range unreadable {
		if len(r.Listed) < jobs.Listed {
			r.Listed = append(r.Listed, u)
		}
		if each != nil {
			each(u)
		}
	}
}
