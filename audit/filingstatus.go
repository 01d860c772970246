package audit

import (
	"context"
	"database/sql"
	"time"
)

// gapFinding counts the events that this process has lost, as their class allows,
// and that no event of the log tells of yet.
func (t *Trail) gapFinding() Finding {
	f := Finding{Name: "audit.gap", Value: float64(t.gaps.number()), Unit: "events"}
	if f.Value > 0 {
		f.Level = HealthAlarm
		f.Remedy = "events of classes that fail open were lost: see why recording fails; the next pass that can writes how many"
	}
	return f
}

// unmappedFinding counts the surrogates of whom nobody has said since a restore who
// they are.
func (t *Trail) unmappedFinding(ctx context.Context) (Finding, error) {
	f := Finding{Name: "audit.unmapped", Unit: "persons"}
	var n int64
	if _, err := t.one(ctx, t.db, []any{&n}, `SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE state >= 2 AND state = 2`); err != nil {
		return f, err
	}
	if f.Value = float64(n); n > 0 {
		f.Level = HealthNotice
		f.Remedy = "a restore has lost whose these surrogates are: Prepare the persons, or ask for their history, and those are found that the mirror has"
	}
	return f, nil
}

// asideFinding counts what was set aside and nobody has dismissed.
func (t *Trail) asideFinding(ctx context.Context) (Finding, error) {
	f := Finding{Name: "audit.aside", Unit: "rows"}
	var n, since sql.NullInt64
	if _, err := t.one(ctx, t.db, []any{&n, &since}, `SELECT COUNT(*), MIN(at) FROM crmguard_audit_aside WHERE LENGTH(body) > 0`); err != nil {
		return f, err
	}
	if f.Value = float64(n.Int64); n.Int64 > 0 {
		f.Level, f.Since = HealthAlarm, time.UnixMicro(since.Int64).UTC()
		f.Remedy = "somebody without the key of the tags changed or inserted queued rows: look at crmguard_audit_aside and at who may write the database, then Readmit or Dismiss"
	}
	return f, nil
}
