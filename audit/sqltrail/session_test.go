package sqltrail_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Under some settings of a session a trail would answer with less than there is, or
// with what is not there: they are named at the start.
func TestASessionThatMakesAnswersWrongIsRefused(t *testing.T) {
	d := testdb.New(t, testdb.MariaDB)
	installed(t, openAt(t, "mysql", d.DSN("mysql")))
	for setting, named := range map[string]string{
		"sql_select_limit=3":                  "sql_select_limit",
		"autocommit=0":                        "autocommit",
		"completion_type=1":                   "completion_type",
		"completion_type=2":                   "completion_type",
		"sql_mode=%27ORACLE%27":               "ORACLE",
		"tx_isolation=%27READ-UNCOMMITTED%27": "READ UNCOMMITTED",
		"sql_mode=%27STRICT_ALL_TABLES,EMPTY_STRING_IS_NULL%27": "EMPTY_STRING_IS_NULL",
	} {
		db := openAt(t, "mysql", d.DSN("mysql")+"&"+setting)
		_, err := sqltrail.Open(t.Context(), db)
		require.ErrorIs(t, err, sqltrail.ErrSession, setting)
		require.ErrorContains(t, err, named)
		require.ErrorIs(t, sqltrail.Install(t.Context(), db), sqltrail.ErrSession, setting)
	}
	for _, setting := range []string{"sql_mode=%27%27", "sql_mode=%27ANSI,STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES%27", "tx_isolation=%27READ-COMMITTED%27", "tx_isolation=%27SERIALIZABLE%27", "charset=latin1"} {
		_, err := sqltrail.Open(t.Context(), openAt(t, "mysql", d.DSN("mysql")+"&"+setting))
		require.NoError(t, err, setting)
	}
}
