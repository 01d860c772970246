package adoption

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// plan is what is to become of one row.
type plan struct {
	row     row
	changes []change
	sealed  [][]byte // what the changes write
	report  Report   // what the row counts for where nothing stands in its way
	stale   bool     // its sealed value is not the one in the clear
}

var (
	errLocked = errors.New("adoption: others hold the row locked")
	errBusy   = errors.New("adoption: others change the row faster than it is done")
)

const batchTries = 5

// work does what is to be done about the rows of a page, in one transaction, or
// where one row stands in the way of the others, in one for each. It returns the
// rows that others hold locked.
func (p *pass) work(ctx context.Context, rows []row) (report Report, putOff [][]any, err error) {
	report.Rows = int64(len(rows))
	for try := 0; ; try++ {
		plans, err := p.plan(ctx, p, rows)
		if err != nil {
			return report, nil, err
		}
		lost, err := p.carryOut(ctx, plans)
		switch {
		case err != nil && ctx.Err() != nil:
			return report, nil, err
		case errors.Is(err, encryption.ErrLease) && try < batchTries:
			lost = cursors(plans) // a key version was retired meanwhile
			for i := range plans {
				if len(plans[i].changes) == 0 {
					report.add(plans[i].report)
				}
			}
		case err != nil && (isHeld(err) || refusedRow(err)) && len(rows) > 1:
			alone, off, err := p.oneByOne(ctx, plans)
			report.add(alone)
			return report, off, err
		case err != nil && isHeld(err):
			return report, cursors(plans), nil
		case err != nil && refusedRow(err):
			report.refuse(plans[0], "", err)
			return report, nil, nil
		case err != nil:
			return report, nil, err
		default:
			for i := range plans {
				if !isLost(lost, plans[i].row.cursor) {
					report.add(plans[i].report)
				}
			}
		}
		if len(lost) == 0 {
			return report, nil, nil
		}
		report.Conflicts += int64(len(lost))
		p.terms.Observe(ctx, "encryption.adoption.conflicts", float64(len(lost)))
		if try == batchTries {
			report.Locked += int64(len(lost))
			report.list("", "", errBusy)
			return report, nil, nil
		}
		if rows, err = p.again(ctx, lost); err != nil {
			return report, nil, err
		}
		if len(rows) == 0 {
			return report, nil, nil // deleted
		}
	}
}

// oneByOne gives each row that is to change a transaction of its own.
func (p *pass) oneByOne(ctx context.Context, plans []plan) (report Report, putOff [][]any, err error) {
	for _, one := range plans {
		if len(one.changes) == 0 {
			report.add(one.report)
			continue
		}
		alone, off, err := p.work(ctx, []row{one.row})
		if err != nil {
			return report, nil, err
		}
		alone.Rows = 0 // counted with the page
		report.add(alone)
		putOff = append(putOff, off...)
	}
	return report, putOff, nil
}

// refuse counts a row that stays as it is because it is refused. Where its sealed
// value is not the one in the clear, it is in the way of reading the sealed one.
func (r *Report) refuse(one plan, column string, why error) {
	r.Refused++
	if one.stale {
		r.Differ++
	}
	r.list(one.row.id, column, why)
}

// again reads rows by their keys.
func (p *pass) again(ctx context.Context, cursors [][]any) (rows []row, err error) {
	for some := range slices.Chunk(cursors, atOnce) {
		conditions := make([]string, len(some))
		var args []any
		for i, cursor := range some {
			condition, more := p.key.Equal(cursor)
			conditions[i] = "(" + condition + ")"
			args = append(args, more...)
		}
		part, err := p.read(ctx, p.tenant, nil, strings.Join(conditions, " OR "), args, len(some))
		if err != nil {
			return nil, err
		}
		rows = append(rows, part...)
	}
	return rows, nil
}

// atOnce is how many keys one condition names: a database bears only so many.
const atOnce = 200

// carryOut changes the rows as planned in one transaction, which holds the stage
// fast: while it runs, nobody moves. It returns the rows that hold something else
// by now.
func (p *pass) carryOut(ctx context.Context, plans []plan) (lost [][]any, err error) {
	var sealed [][]byte
	some := false
	for i := range plans {
		sealed = append(sealed, plans[i].sealed...)
		some = some || len(plans[i].changes) > 0
	}
	if !some || p.options.DryRun {
		return nil, nil
	}
	err = p.cfg.Table.CommitSealed(ctx, p.cfg.DB, p.tenant, sealed, p.table.Write, func(ctx context.Context, tx *sql.Tx) error {
		lost = nil
		if err := p.hold(ctx, tx); err != nil {
			return err
		}
		for _, one := range plans {
			if len(one.changes) == 0 {
				continue
			}
			ok, err := p.swap(ctx, tx, p.tenant, one.row, one.changes)
			if err != nil {
				return waitedFor(err)
			}
			if !ok {
				lost = append(lost, one.row.cursor)
			}
		}
		if err := p.undeferred(ctx, tx); err != nil {
			return err
		}
		return p.stands(ctx, tx, plans, lost)
	})
	if err != nil {
		return nil, fmt.Errorf("adoption: %s of %s: %w", p.job, p.def.Name, err)
	}
	if p.job == unsealJob {
		return lost, p.takeBack(ctx, plans, lost)
	}
	return lost, nil
}

// takeBack takes out of the clear again what Unseal has put there of persons who
// were erased after their values had been opened: Erase has returned by then, and
// nobody else would look.
func (p *pass) takeBack(ctx context.Context, plans []plan, lost [][]any) error {
	var rows []row
	for _, one := range plans {
		if len(one.changes) > 0 && !isLost(lost, one.row.cursor) {
			rows = append(rows, one.row)
		}
	}
	k, err := p.keysOf(ctx, rows)
	if err != nil {
		return err
	}
	for i := range plans {
		one := &plans[i]
		if len(one.changes) == 0 || isLost(lost, one.row.cursor) {
			continue
		}
		var back []change
		for j, c := range p.cells {
			written := slices.IndexFunc(one.changes, func(ch change) bool { return ch.column.Name == c.plain.Name && !ch.keep })
			if written < 0 {
				continue
			}
			if _, err := p.opened(ctx, k, c, one.row, one.row.cells[j].sealed); errors.Is(err, encryption.ErrErased) {
				back = append(back, change{column: c.plain, old: one.changes[written].new})
				one.report = Report{Erased: 1}
				one.report.list(one.row.id, c.Name, err)
			}
		}
		if len(back) == 0 {
			continue
		}
		err := p.table.Write(ctx, func(tx *sql.Tx) error {
			ok, err := p.swap(ctx, tx, p.tenant, one.row, back)
			if err != nil || !ok { // what is there no more was changed since
				return err
			}
			if err := p.undeferred(ctx, tx); err != nil {
				return err
			}
			return p.stands(ctx, tx, []plan{{row: one.row, changes: back}}, nil)
		})
		if err != nil {
			return fmt.Errorf("adoption: %s of %s: take back what an erased person had: %w", p.job, p.def.Name, err)
		}
	}
	return nil
}

// hold keeps the stage as it is until the transaction ends, and refuses where it
// was moved. Rows are waited for half a second.
func (p *pass) hold(ctx context.Context, tx *sql.Tx) error {
	lock := ""
	switch p.db.Kind {
	case sqldb.Postgres:
		lock = ` FOR SHARE`
		if _, err := tx.ExecContext(ctx, `SET LOCAL lock_timeout = '500ms'`); err != nil {
			return sqldb.Safe(err)
		}
	case sqldb.MariaDB, sqldb.MySQL:
		lock = ` LOCK IN SHARE MODE`
	case sqldb.SQLite: // one writer at a time
	}
	now, err := p.readStage(ctx, tx, p.tenant, lock)
	if err != nil {
		return waitedFor(sqldb.Safe(err))
	}
	if now.revision != p.at.revision || now.stage != p.at.stage {
		return ErrMoved
	}
	return nil
}

// patience begins a statement that waits for a locked row; MariaDB's own bound is
// a setting of the session, 50 s by default.
func (l *live) patience() string {
	if l.db.Kind == sqldb.MariaDB {
		return `SET STATEMENT innodb_lock_wait_timeout = 1 FOR `
	}
	return ""
}

func cursors(plans []plan) (out [][]any) {
	for _, one := range plans {
		if len(one.changes) > 0 {
			out = append(out, one.row.cursor)
		}
	}
	return out
}

func isLost(lost [][]any, cursor []any) bool {
	for _, l := range lost {
		if &l[0] == &cursor[0] {
			return true
		}
	}
	return false
}

// code is what the database called an error.
func code(err error) string {
	var driver *sqldb.DriverError
	if errors.As(err, &driver) {
		return driver.Code
	}
	return ""
}

// waitedFor hides from who tries transactions again that a lock was waited for long
// enough.
func waitedFor(err error) error {
	switch code(err) {
	case "55P03", "mysql 1205":
		return errLocked
	}
	return err
}

// isHeld says that others held rows locked for longer than the job waits.
func isHeld(err error) bool {
	switch code(err) {
	case "55P03", "40P01", "40001", "mysql 1205", "mysql 1213", "sqlite 5", "sqlite 517", "sqlite 773":
		return true
	}
	return errors.Is(err, errLocked) || errors.Is(err, context.DeadlineExceeded)
}

// refusedRow says that the database refuses what is written, because of the row: a
// constraint, a value that does not fit, a trigger that raises.
func refusedRow(err error) bool {
	_, refused := sqldb.Refused(err)
	return refused || errors.Is(err, errNotKept)
}

// between returns a pause that lets others in.
func between(d, low, high time.Duration) time.Duration { return max(low, min(d, high)) }
