package sqltrail_test

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A role that only records records, and can do nothing else: it reads nothing of
// what was recorded, changes nothing, deletes nothing and sequences nothing.
func TestARoleThatOnlyRecords(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) {
				d := testdb.New(t, name)
				s := newShop(t, d.Open(t), "crm.example/audit")
				ctx := t.Context()
				role, as := d.Role(t)
				files := fstest.MapFS{}
				for _, dialect := range []string{"postgres.sql", "mysql.sql"} {
					data, err := fs.ReadFile(sqltrail.Grants(), "sale-"+dialect)
					require.NoError(t, err)
					files[dialect] = &fstest.MapFile{Data: data}
				}
				for _, right := range d.Rights(t, files, role) {
					_, err := s.db.ExecContext(ctx, right.Grant)
					require.NoError(t, err, right.Grant)
				}
				_, err := s.db.ExecContext(ctx, `GRANT SELECT, INSERT ON sales TO `+role)
				require.NoError(t, err)
				db := as.OpenWith(t, driver)
				trail := s.over(db)
				e := sale(t, "p1")
				require.NoError(t, s.sell(db, trail, e))
				require.NoError(t, s.sell(db, trail, e), "a retry")
				other := e
				other.Reason = "another"
				require.ErrorIs(t, s.sell(db, trail, other), audit.ErrConflict)
				_, err = trail.RunOnce(ctx)
				require.ErrorIs(t, err, fs.ErrPermission)
				denied := []string{
					`SELECT body FROM crmguard_audit_events`, `UPDATE crmguard_audit_events SET idx = 1`,
					`DELETE FROM crmguard_audit_events`, `SELECT leaf FROM crmguard_audit_entries`, `DELETE FROM crmguard_audit_surrogates`,
				}
				if name == testdb.PostgresC { // MariaDB wants the right for the insertion
					denied = append(denied, `UPDATE crmguard_audit_events SET body = NULL`)
				}
				for _, statement := range denied {
					_, err := db.ExecContext(ctx, statement)
					require.Error(t, err, statement)
				}
				require.Equal(t, 1, s.sequence().Sequenced)
				s.sound()
			})
		}
	}
}
