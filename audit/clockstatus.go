package audit

import (
	"context"
	"time"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Times in the log are those of the clocks of applications. Two of them can be
// compared wherever both have left a time, and each with the clock of the database
// server.

// clockEntries is how many of the newest entries are looked at.
const clockEntries = 16

// clockText asks a database server for its time, in microseconds; SQLite has no
// clock of its own.
func clockText(kind sqldb.Kind) string {
	switch kind {
	case sqldb.Postgres:
		return `SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint`
	case sqldb.MariaDB, sqldb.MySQL:
		return `SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6))` // no time zone, which may have an hour twice
	case sqldb.SQLite:
	}
	return ""
}

// apart is how far a clock is ahead of another one, the farthest of those seen.
type apart struct {
	by     time.Duration
	remedy string
}

func (a *apart) saw(by time.Duration, remedy string) {
	if by.Abs() > a.by.Abs() {
		a.by, a.remedy = by, remedy
	}
}

// clockFinding compares the clock of this process with that of the database server,
// with what the newest entries and the newest checkpoint say, and these with each
// other. Above 0 is what is ahead of this process. A clock that is behind looks like
// a process that was slow, and shows by the server's only, or by an entry behind an
// older one.
func (t *Trail) clockFinding(ctx context.Context, queue Finding) (Finding, error) {
	f := Finding{Name: "audit.clock", Unit: "s"}
	var far apart
	if query := clockText(t.db.Kind); query != "" {
		var server int64
		before := t.now()
		if _, err := t.one(ctx, t.db, []any{&server}, query); err != nil {
			return f, err
		}
		after := t.now()
		switch at := time.UnixMicro(server); { // whatever the question took counts for neither
		case at.Before(before):
			far.saw(at.Sub(before), "the clock of this process is ahead of the database server's")
		case at.After(after):
			far.saw(at.Sub(after), "the clock of this process is behind the database server's")
		}
	}
	now := t.now()
	ahead := func(at, than time.Time, remedy string) {
		if d := at.Sub(than); d > 0 {
			far.saw(d, remedy)
		}
	}
	ahead(queue.Since, now, "an event waits from a process whose clock is ahead of this one's")
	var signed int64
	if _, err := t.one(ctx, t.db, []any{&signed}, `SELECT at FROM crmguard_audit_heads ORDER BY size DESC LIMIT 1`); err != nil {
		return f, err
	}
	ahead(time.UnixMicro(signed), now, "the newest checkpoint was signed by a process whose clock is ahead of this one's")
	var newer time.Time
	err := t.query(ctx, t.db, func(rows answer) error {
		var at int64
		var raw []byte
		if err := rows.Scan(&at, &raw); err != nil {
			return err
		}
		filed := time.UnixMicro(at)
		ahead(filed, now, "the newest entries were filed by a process whose clock is ahead of this one's")
		if !newer.IsZero() {
			ahead(filed, newer, "the newest entries were filed by processes whose clocks are apart")
		}
		newer = filed
		if leaf, err := auditlog.ParseLeaf(raw); err == nil { // otherwise audit.log and VerifyStore tell
			ahead(leaf.At, filed, "events were recorded by a process whose clock is ahead of the sequencer's")
		}
		return nil
	}, `SELECT filed, `+upTo(auditlog.MaxLeaf, "leaf")+` FROM crmguard_audit_entries ORDER BY idx DESC LIMIT ?`, clockEntries)
	if err != nil {
		return f, err
	}
	f.Value = far.by.Seconds()
	if far.by.Abs() > clockAhead {
		f.Level = HealthAlarm
		f.Remedy = far.remedy + ": set the clocks of all machines by one source; times in the log are those of the applications, its order is not"
	}
	return f, nil
}
