package adoption_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Names of columns and CHECKs that a stranger gave, with points and quotes in them,
// stand in no way: each statement that is handed out is executed, and brings it back.
func TestNamesOfStrangersArePartedNowhere(t *testing.T) {
	for _, name := range []testdb.Name{testdb.SQLite, testdb.PostgresC, testdb.MariaDB} {
		q := `"`
		if name == testdb.MariaDB {
			q = "`"
		}
		checks := []string{"contacts.chk", "contacts.email.chk", "chk" + q + q + "x", "chk-contacts email", "chk\nx CHECK ("}
		t.Run(string(name), func(t *testing.T) {
			create := []string{strings.TrimSuffix(contactsSQL, ")") + fmt.Sprintf(`, %[1]saddr.zip%[1]s VARCHAR(9) DEFAULT 'x'`, q)}
			for _, one := range checks {
				create = append(create, fmt.Sprintf(`, CONSTRAINT %[1]s%[2]s%[1]s CHECK (email IS NOT NULL AND %[1]saddr.zip%[1]s <> '')`, q, one))
			}
			e := newEnv(t, testdb.New(t, name), contactsDef, emailColumn, strings.Join(create, "")+`)`)
			e.old(t, "1", "p1", "ann@b.example")
			all, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			require.Len(t, all, len(checks))
			for _, one := range checks {
				require.Contains(t, fmt.Sprint(all), "CHECK "+strings.ReplaceAll(one, q+q, q)+" over")
			}
			if name == testdb.SQLite {
				return // the table is made anew
			}
			e.to(t, adoption.ReadSealed)
			require.True(t, e.backfill(t).Clean)
			for _, statement := range e.refused(t, adoption.SealedOnly, gone).SQL {
				e.exec(t, statement)
			}
			e.move(t, adoption.SealedOnly, gone)
			restore, err := e.a.RestoreSQL(t.Context(), tenant)
			require.NoError(t, err)
			require.Len(t, restore, len(checks))
			for _, statement := range restore {
				e.exec(t, statement)
			}
		})
	}
}

// So with foreign keys that change an owner past the triggers.
func TestCascadesOfAnyNameAreSeen(t *testing.T) {
	for _, one := range []string{"fk-contacts-person", "contacts.person", "contacts.person.fk", "fk``x", `fk"x`, "fk\nx"} {
		t.Run(one, func(t *testing.T) {
			e := newEnv(t, testdb.New(t, testdb.MariaDB), contactsDef, emailColumn, `CREATE TABLE people (id VARCHAR(40) PRIMARY KEY)`)
			e.exec(t, strings.TrimSuffix(contactsSQL, ")")+", CONSTRAINT `"+one+"` FOREIGN KEY (person) REFERENCES people (id) ON UPDATE CASCADE)")
			e.remedied(t)
		})
	}
}

// remedied executes what the one obstacle that there is hands out, and then there is none.
func (e *env) remedied(t *testing.T) adoption.Obstacle {
	t.Helper()
	before, err := e.a.Obstacles(t.Context(), tenant)
	require.NoError(t, err)
	require.Len(t, before, 1)
	for _, statement := range before[0].SQL {
		e.exec(t, statement)
	}
	left, err := e.a.Obstacles(t.Context(), tenant)
	require.NoError(t, err)
	require.Empty(t, left)
	return before[0]
}

// An index has one name for statements and the catalogue, whatever its column is
// called: one that failed is found, and made anew.
func TestAnIndexOfAnyColumnIsFoundAgain(t *testing.T) {
	def := encryption.Table{Name: "contacts", Columns: []encryption.Column{{Name: "email", SQL: "emailSealed", Index: []encryption.Index{
		{Column: "emailIdx", As: encryption.Email, Bits: 32}, {Column: "emailUnique", As: encryption.Email, Unique: true},
	}}}}
	e := newEnv(t, testdb.New(t, testdb.PostgresC), def, emailColumn, contactsSQL)
	e.prepare(t)
	e.exec(t, `UPDATE pg_index SET indisvalid = false WHERE indrelid = 'contacts'::regclass AND NOT indisprimary`)
	missing, err := e.a.SQL(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, missing)
	e.prepare(t)
}
