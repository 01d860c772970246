package encryption_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
)

// A page of a large table is read from an index, in the index's order, wherever it
// stands in the table: of one tenant among others, of a tenant that has nearly all
// rows, and of a table that holds one tenant. A page that sorted, or read the
// table from its beginning, would make a job slower with each page.
func TestAPageIsReadFromAnIndexInItsOrder(t *testing.T) {
	e := newEnv(t, 1)
	require.NoError(t, e.vault.AddTenant(t.Context(), "small"))
	db := testdb.New(t, testdb.PostgresICU).Open(t)
	const columns = `person text NOT NULL, email bytea, note bytea, phone text, email_idx bigint`
	for table, keys := range map[string]string{
		"within": `id text NOT NULL, tenant text NOT NULL, ` + columns + `, PRIMARY KEY (tenant, id)`,
		"beside": `id text PRIMARY KEY, tenant text NOT NULL, ` + columns,
		"single": `id text PRIMARY KEY, tenant text, ` + columns,
	} {
		_, err := db.ExecContext(t.Context(), `CREATE TABLE `+table+` (`+keys+`)`)
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), `INSERT INTO `+table+` (id, tenant, person, email, note)
			SELECT md5(n::text), CASE WHEN n % 10 = 0 THEN 'small' ELSE 't1' END, 'p', sha256(n::text::bytea) || sha256(n::text::bytea), sha256(n::text::bytea) FROM generate_series(1, 50000) n`)
		require.NoError(t, err)
		if table == "beside" {
			_, err = db.ExecContext(t.Context(), `CREATE INDEX ON beside (tenant, id)`)
			require.NoError(t, err)
		}
		_, err = db.ExecContext(t.Context(), `ANALYZE `+table)
		require.NoError(t, err)
		def := contactsTable
		def.SQL = table
		tenants := []string{tenant}
		if table != "single" {
			def.Tenant = "tenant"
			tenants = append(tenants, "small")
		}
		sealed := e.table(t, e.vault, def)
		for _, of := range tenants {
			for _, after := range []string{"", "80000000000000000000000000000000"} {
				queries, args, err := sealed.PageQueries(t.Context(), db, of, after)
				require.NoError(t, err)
				for job, query := range queries {
					var plan []string
					rows, err := db.QueryContext(t.Context(), "EXPLAIN "+query, args[job]...)
					require.NoError(t, err)
					for rows.Next() {
						var line string
						require.NoError(t, rows.Scan(&line))
						plan = append(plan, line)
					}
					require.NoError(t, rows.Err())
					require.NoError(t, rows.Close())
					text := strings.Join(plan, "\n")
					what := strings.Join([]string{table, of, job, after, text}, "\n")
					require.NotContains(t, text, "Sort", what)
					require.NotContains(t, text, "Seq Scan", what)
					require.Contains(t, text, "Index Scan using", what)
				}
			}
		}
	}
}
