package sqlledger_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/erasurelog/erasurelogtest"
	"github.com/crmguard/crmguard/privacy/sqlledger"
)

func installed(t *testing.T, db *sql.DB) erasurelog.Medium {
	t.Helper()
	require.NoError(t, sqlledger.Install(t.Context(), db))
	ledger, err := sqlledger.Open(t.Context(), db)
	require.NoError(t, err)
	return ledger
}

func TestATableIsAMedium(t *testing.T) {
	for _, name := range testdb.Names() {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) {
				erasurelogtest.Run(t, func(t *testing.T) (one, other erasurelog.Medium) {
					d := testdb.New(t, name)
					return installed(t, d.OpenWith(t, driver)), installed(t, d.OpenWith(t, driver))
				})
			})
		}
	}
}
