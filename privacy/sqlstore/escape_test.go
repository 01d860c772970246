package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
)

// A PostgreSQL database that is not in UTF-8 knows nobody by an id that it cannot
// hold, and finds addresses in any case, also where it lacks the other case of a
// letter, through drivers that speak UTF-8.
func TestADatabaseOfFewerCharacters(t *testing.T) {
	d := testdb.New(t, testdb.PostgresC)
	admin := d.Open(t)
	var here string
	require.NoError(t, admin.QueryRowContext(t.Context(), `SELECT current_database()`).Scan(&here))
	for _, driver := range d.Name.Drivers() {
		t.Run(driver, func(t *testing.T) {
			name := fmt.Sprintf("crmguard_latin_%d", time.Now().UnixNano())
			run(t, admin, "CREATE DATABASE "+name+" ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
			t.Cleanup(func() {
				_, err := admin.ExecContext(context.WithoutCancel(t.Context()), "DROP DATABASE "+name)
				require.NoError(t, err)
			})
			db, err := sql.Open(driver, strings.Replace(d.DSN(driver), "dbname="+here, "dbname="+name, 1)+" client_encoding=UTF8")
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, db.Close()) })
			require.NoError(t, privacy.Install(t.Context(), db))
			run(t, db, `CREATE TABLE contacts (id text PRIMARY KEY, person text, email varchar(40))`, `CREATE TABLE mails (id text PRIMARY KEY, sender text)`,
				`INSERT INTO contacts VALUES ('c1', 'p1', 'ß@a.example'), ('c2', 'jürg', 'ÿ.µ@a.example'), ('c3', 'a\303', 'x'), ('c4', 'aÃ', 'y'), ('c\5', 'p5', 'Ünal\374@x')`,
				`INSERT INTO mails VALUES ('m1', 'ß@A.example'), ('m3', 'ÿ.µ@A.example'), ('m4', 'üNAL\374@x'), ('m5', 'ünalü@x')`)
			s := storeOf(t, db, contacts, datamap.Table{Name: "mails", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{{Columns: []string{"sender"}, Identity: "email"}}})
			for person, want := range map[string][]string{
				"p1": {"contacts c1", "mails m1"}, "jürg": {"contacts c2", "mails m3"}, "JÜRG": nil, "李雷": nil, "a\\303": {"contacts c3"}, "aÃ": {"contacts c4"}, "p5": {`contacts c\5`, "mails m4"},
			} {
				require.Equal(t, want, found(t, s, person), person)
			}
			require.NoError(t, rehearse(t, s, scopeOf("李雷")))
			require.NoError(t, s.Erase(t.Context(), scopeOf("jürg"), nil))
			require.NoError(t, s.Erase(t.Context(), scopeOf("p1"), nil))
			require.Equal(t, []string{"m4", "m5"}, texts(t, db, `SELECT id FROM mails ORDER BY id`))
			require.Empty(t, texts(t, db, `SELECT id FROM contacts WHERE person IN ('p1', 'jürg')`))
		})
	}
}
