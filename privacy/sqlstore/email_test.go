package sqlstore_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
)

// An address is found without regard to case whatever the column's collation makes
// of letters: one of Turkish makes ı of I, one without regard to case takes part in no
// search for letters, and citext has none.
func TestAnAddressUnderEveryCollation(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, kind sqldb.Kind) {
		types := map[sqldb.Kind][]string{
			sqldb.SQLite:   {`TEXT`, `TEXT COLLATE NOCASE`},
			sqldb.Postgres: {`text`, `text COLLATE without_case`, `text COLLATE turkish`, `varchar(50) COLLATE turkish`, `citext`},
			sqldb.MariaDB:  {`VARCHAR(50)`, `VARCHAR(50) COLLATE utf8mb4_turkish_ci`, `VARCHAR(50) CHARACTER SET latin1`, `VARCHAR(50) COLLATE utf8mb4_bin`},
		}
		if kind == sqldb.Postgres {
			run(t, db, `CREATE EXTENSION citext`, `CREATE COLLATION without_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`, `CREATE COLLATION turkish (provider = icu, locale = 'tr-TR')`)
		}
		run(t, db, `CREATE TABLE contacts (id VARCHAR(20) PRIMARY KEY, person VARCHAR(20), email VARCHAR(50))`,
			`INSERT INTO contacts VALUES ('1', 'p1', 'info@a.example'), ('2', 'p1', 'jürgen@a.example'), ('3', 'p1', 'RIZA@a.example')`)
		for _, typ := range types[kind] {
			table := tableOf("bills", typ)
			run(t, db, `CREATE TABLE `+table+` (id VARCHAR(20) PRIMARY KEY, email `+typ+`)`,
				`INSERT INTO `+table+` VALUES ('1', 'INFO@A.example'), ('2', 'JÜRGEN@a.example'), ('3', 'riza@a.example'), ('4', 'jurgen@a.example')`)
			s := storeOf(t, db, contacts, datamap.Table{
				Name: table, Key: []string{"id"}, Erase: datamap.Delete, Columns: []datamap.Column{{Name: "email", Category: "contact.email"}},
				Edges: []datamap.Edge{{Columns: []string{"email"}, Identity: "email"}},
			})
			require.Equal(t, []string{table + " 1", table + " 2", table + " 3", "contacts 1", "contacts 2", "contacts 3"}, found(t, s, "p1"), typ)
		}
	})
}
