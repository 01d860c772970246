package capture_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/capture"
	"github.com/crmguard/crmguard/internal/testdb"
)

// BenchmarkCapture tells what a write of the application pays: one UPDATE of a
// thousand rows of twenty columns, in a transaction that is rolled back, so that
// neither the commit nor the way to the server counts. ns/op are of one row.
// "anew" is a table whose columns have changed since the pack was applied.
func BenchmarkCapture(b *testing.B) {
	const rows = 1000
	var columns []string
	for i := range 18 {
		columns = append(columns, fmt.Sprintf("c%d text DEFAULT 'value %d'", i, i))
	}
	for _, how := range []struct {
		name, update string
		setUp        func(b *testing.B, exec func(statement string), up string)
	}{
		{"without", `UPDATE things SET c7 = c7 || 'x'`, func(*testing.B, func(string), string) {}},
		{"empty trigger", `UPDATE things SET c7 = c7 || 'x'`, func(_ *testing.B, exec func(string), _ string) {
			exec(`CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`)
			exec(`CREATE TRIGGER t AFTER UPDATE ON things FOR EACH ROW EXECUTE FUNCTION nothing()`)
		}},
		{"captured", `UPDATE things SET c7 = c7 || 'x'`, func(_ *testing.B, exec func(string), up string) { exec(up) }},
		{"nothing changed", `UPDATE things SET c7 = c7`, func(_ *testing.B, exec func(string), up string) { exec(up) }},
		{"anew", `UPDATE things SET c7 = c7 || 'x'`, func(_ *testing.B, exec func(string), up string) {
			exec(up)
			exec(`ALTER TABLE things DROP COLUMN c3`)
		}},
	} {
		b.Run(how.name, func(b *testing.B) {
			db := testdb.New(b, testdb.PostgresC).Open(b)
			exec := func(statement string) {
				_, err := db.ExecContext(b.Context(), statement)
				require.NoError(b, err)
			}
			exec(`CREATE TABLE things (id bigint PRIMARY KEY, tenant text DEFAULT 'main', ` + strings.Join(columns, ", ") + `)`)
			exec(fmt.Sprintf(`INSERT INTO things SELECT g FROM generate_series(1, %d) g`, rows))
			up, _, err := capture.Pack(capture.Table{Name: "things", Kind: "thing", TenantColumn: "tenant"})
			require.NoError(b, err)
			how.setUp(b, exec, up)
			b.ResetTimer()
			for done := 0; done < b.N; done += rows {
				tx, err := db.BeginTx(b.Context(), nil)
				require.NoError(b, err)
				_, err = tx.ExecContext(b.Context(), how.update+fmt.Sprintf(` WHERE id <= %d`, min(rows, b.N-done)))
				require.NoError(b, err)
				require.NoError(b, tx.Rollback())
			}
		})
	}
}
