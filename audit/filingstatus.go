package audit

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// gapFinding counts the events that this process has lost, as their class allows,
// and that no event of the log tells of yet.
func (t *Trail) gapFinding() Finding {
	f := Finding{Name: "audit.gap", Value: float64(t.gaps.Number()), Unit: "events"}
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
	n, err := t.unmappedNumber(ctx, t.db)
	if err != nil {
		return f, err
	}
	if f.Value = float64(n); n > 0 {
		f.Level = HealthNotice
		f.Remedy = "a restore has lost whose these surrogates are: Prepare the persons, or ask for their history, and those are found that the mirror has"
	}
	return f, nil
}

// headsFinding counts the rows of surrogates that Prepare found damaged, and those that
// nobody vouches for.
func (t *Trail) headsFinding(ctx context.Context) (Finding, error) {
	f := Finding{Name: "audit.heads", Unit: "rows"}
	var n, first sql.NullInt64
	if _, err := t.one(ctx, t.db, []any{&n, &first}, `SELECT COUNT(*), MIN(n) FROM crmguard_audit_surrogates WHERE state >= 2 AND (state = 4 OR LENGTH(tag) = 0)`); err != nil {
		return f, err
	}
	if f.Value = float64(n.Int64); n.Int64 > 0 {
		f.Level = HealthAlarm
		f.Remedy = fmt.Sprintf("heads of surrogates do not open (row %d of %s, and perhaps more): what was sealed under them does not either; see who changed the table or the keys, and put the head back from a backup or the mirror. VerifyStore tells of each, CatchUp tags rows without a tag", first.Int64, surrogatesTable)
	}
	return f, nil
}

func (t *Trail) unmappedNumber(ctx context.Context, q sqldb.Querier) (n int64, err error) {
	_, err = t.one(ctx, q, []any{&n}, `SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE state >= 2 AND state = 2`)
	return n, err
}

// asideFindings count what was set aside and nobody has dismissed: what was forged,
// and what waits for a key.
func (t *Trail) asideFindings(ctx context.Context) ([]Finding, error) {
	forged, err := t.asideFinding(ctx, "audit.aside", ofTheRefused,
		"somebody without the key of the tags changed or inserted queued rows: look at crmguard_audit_aside and at who may write the database, then Readmit or Dismiss")
	if err != nil {
		return nil, err
	}
	refused, err := t.asideFinding(ctx, "audit.refused", ofTheLate,
		"rows were tagged with keys, or in a form, that are not known here: where keys or the version were changed, wait for all processes; otherwise somebody without the keys inserted them, see crmguard_audit_aside and who may write the database, then Dismiss")
	return []Finding{refused, forged}, err
}

func (t *Trail) asideFinding(ctx context.Context, name, where, remedy string) (Finding, error) {
	f := Finding{Name: name, Unit: "rows"}
	var n, since sql.NullInt64
	if _, err := t.one(ctx, t.db, []any{&n, &since}, `SELECT COUNT(*), MIN(at) FROM crmguard_audit_aside WHERE `+where, whysLate[:]...); err != nil {
		return f, err
	}
	if f.Value = float64(n.Int64); n.Int64 > 0 {
		f.Level, f.Since, f.Remedy = HealthAlarm, time.UnixMicro(since.Int64).UTC(), remedy
	}
	return f, nil
}
