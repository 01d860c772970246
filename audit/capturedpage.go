package audit

import (
	"context"
	"slices"

	"github.com/crmguard/crmguard/audit/capture"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Rows about persons of a tenant whose keys do not answer wait: filed now, they would
// stand without object and persons for good, and no history would have them. Rows behind
// them do not wait for that.

// outagesAPass is how often a pass looks beyond tenants whose keys do not answer.
const outagesAPass = 8

// readCaptured reads what can be filed now, capturedAPass rows at most, and asks for the
// keys that they need.
func (t *Trail) readCaptured(ctx context.Context, where string, args []any, keys *passKeys) (rows []capture.Row, forged []int64, err error) {
	for range outagesAPass {
		rows, forged, err = t.capturedRows(ctx, t.db, where, capturedAPass, args...)
		if err != nil {
			return nil, nil, err
		}
		if err := t.capturedKeys(ctx, rows, keys); err != nil {
			return nil, nil, err
		}
		silent := t.capturedSilent(rows, keys)
		if len(silent) == 0 {
			return rows, forged, nil
		}
		rows = slices.DeleteFunc(rows, func(r capture.Row) bool { return silent[r.Tenant] && len(t.capturedPersons(&r)) > 0 })
		where += ` AND NOT COALESCE(tenant IN (` + sqldb.Marks(len(silent)) + `) AND (person IS NOT NULL OR key IS NOT NULL AND kind IN (` + sqldb.Marks(1+len(t.config.PersonKinds)) + `)), false)`
		for tenant := range silent {
			args = append(args, tenant)
		}
		args = append(args, anyPerson)
		for _, kind := range t.config.PersonKinds {
			args = append(args, kind)
		}
	}
	return rows, forged, nil
}

// capturedSilent are the tenants whose keys rows need and do not get.
func (t *Trail) capturedSilent(rows []capture.Row, keys *passKeys) map[string]bool {
	out := make(map[string]bool)
	for i := range rows {
		if tenant := rows[i].Tenant; len(t.capturedPersons(&rows[i])) > 0 && keys.by[tenant].err != nil {
			out[tenant] = true
		}
	}
	return out
}
