package sqltrail_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/sqltrail"
)

// judge lets the judge of trails look at stores in databases that open makes. The first
// store of each of its rules is in the same one, whose tables are emptied: to make a
// database for each would take most of the time.
func judge(t *testing.T, open func(tb testing.TB) *sql.DB) {
	t.Helper()
	db := open(t)
	require.NoError(t, sqltrail.Install(t.Context(), db))
	var rule *testing.T
	audittest.RunStore(t, func(t *testing.T) audit.Store {
		if t == rule {
			another := open(t)
			require.NoError(t, sqltrail.Install(t.Context(), another))
			return storeOf(t, another)
		}
		rule = t
		for _, table := range []string{"events", "entries", "found", "persons", "openings", "surrogates", "heads", "aside", "tiles", "state", "log"} {
			_, err := db.ExecContext(t.Context(), `DELETE FROM crmguard_audit_`+table)
			require.NoError(t, err)
		}
		return storeOf(t, db)
	})
}
