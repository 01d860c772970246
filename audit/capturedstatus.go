package audit

import (
	"context"
	"database/sql"
	"time"

	"github.com/crmguard/crmguard/audit/capture"
	"github.com/crmguard/crmguard/internal/health"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// capturedLate is how long a captured row may wait: the key of a person's row is
// personal data, at rest until it is filed.
const capturedLate = 24 * time.Hour

// capturedMost is up to how many captured rows are counted.
const capturedMost = 1_000_000

// capturedFindings say what waits of captured rows, and what is not captured.
func (t *Trail) capturedFindings(ctx context.Context, now time.Time) ([]Finding, error) {
	if t.db.Kind != sqldb.Postgres {
		return nil, nil
	}
	waits, err := t.capturedFinding(ctx, Finding{Name: "audit.captured", Unit: "rows"}, now)
	if err != nil {
		return nil, err
	}
	capturing, err := t.capturingFindings(ctx, Finding{Name: "audit.capturing", Unit: "tables"})
	return append([]Finding{waits}, capturing...), err
}

// capturedFinding counts the captured rows that wait, also where no trail was told
// to file them.
func (t *Trail) capturedFinding(ctx context.Context, f Finding, now time.Time) (Finding, error) {
	files := len(t.config.Captured) > 0
	var there, can, as bool
	if _, err := t.one(ctx, t.db, []any{&there, &can, &as}, `SELECT c.rel IS NOT NULL, COALESCE(has_table_privilege(c.rel, 'SELECT'), false), `+capturedAsMade+` FROM (SELECT to_regclass('crmguard_audit_captured')::oid AS rel) c`); err != nil || !can || !as {
		if files && err == nil {
			f.Level, f.Remedy = HealthAlarm, "Config.Captured names tables, and crmguard_audit_captured is not there: apply what capture.Pack writes"
			switch {
			case there && !as:
				f.Remedy = "crmguard_audit_captured is not as capture.Pack makes it, or its row security hides rows from the trail, so that nothing is filed of it: make it right"
			case there:
				f.Remedy = "captured rows cannot be filed: GRANT SELECT, UPDATE (n), DELETE ON crmguard_audit_captured to the role of the trail"
			}
		}
		return f, err
	}
	var first sql.NullInt64
	if _, err := t.one(ctx, t.db, []any{&f.Value, &first}, `SELECT (SELECT COUNT(*) FROM (SELECT FROM crmguard_audit_captured LIMIT ?) c)::float8, (SELECT at FROM crmguard_audit_captured ORDER BY n LIMIT 1)`, capturedMost); err != nil {
		return f, err
	}
	if first.Valid {
		f.Since = time.UnixMicro(first.Int64).UTC()
	}
	if first.Valid && away(now, f.Since) > capturedLate {
		f.Level = HealthAlarm
		f.Remedy = "captured rows, which hold keys of persons' rows, have been waiting for a day: is Run running, what does it observe, do the keys of their tenants answer, and is an event of their transaction refused?"
		if !files {
			f.Remedy = "captured rows, which hold keys of persons' rows, have been waiting for a day: name the tables in Config.Captured, or take the pack away"
		}
	}
	if files && f.Level == HealthOK {
		can, err := t.captures(ctx, t.db)
		if err != nil {
			return f, err
		}
		if !can {
			f.Level, f.Remedy = HealthAlarm, "captured rows cannot be filed: GRANT SELECT, UPDATE (n), DELETE ON crmguard_audit_captured to the role of the trail"
		}
	}
	if n, at := t.capturedForged.lately(now); n > 0 {
		f.Level, f.Since = HealthAlarm, at
		f.Remedy = "rows were in crmguard_audit_captured that no trigger had written, and were deleted: find out who may write it"
	}
	return f, nil
}

// capturingFindings say which tables of Config.Captured are not captured as they
// are described.
func (t *Trail) capturingFindings(ctx context.Context, f Finding) ([]Finding, error) {
	if len(t.config.Captured) == 0 {
		return nil, nil
	}
	lacks, err := capture.Missing(ctx, t.db.DB, t.config.Captured...)
	if err != nil {
		return nil, err
	}
	f.Value = float64(len(lacks))
	if len(lacks) > 0 {
		f.Level, f.Remedy = HealthAlarm, "changes of tables are not captured as Config.Captured says: see the findings with the name of a table"
	}
	out := []Finding{f}
	for _, lack := range lacks[:min(len(lacks), health.MaxSubjects)] {
		out = append(out, Finding{Name: f.Name, Unit: f.Unit, Value: 1, Subject: lack.Table, Level: HealthAlarm, Remedy: lack.Why})
	}
	return out, nil
}
