package adoption_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// SQL asks for an index until there is one that is searched: also where its column
// came without it, where it was dropped, and where building it failed.
func TestAnIndexIsAskedForUntilItIsThere(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
		statements, err := e.a.SQL(t.Context())
		require.NoError(t, err)
		index := ""
		for _, statement := range statements {
			if strings.HasPrefix(statement, "CREATE INDEX") {
				index = statement
				continue
			}
			e.exec(t, statement)
		}
		missing, err := e.a.SQL(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{index}, missing)
		if d.Name != testdb.PostgresC && d.Name != testdb.PostgresICU {
			e.prepare(t)
			return
		}
		e.exec(t, index)
		e.exec(t, `UPDATE pg_index SET indisvalid = false WHERE indrelid = 'contacts'::regclass AND NOT indisprimary`)
		missing, err = e.a.SQL(t.Context())
		require.NoError(t, err)
		require.Len(t, missing, 2)
		require.Contains(t, missing[0], "DROP INDEX CONCURRENTLY")
		require.Equal(t, index, missing[1])
		e.prepare(t)
		e.exec(t, `CREATE INDEX half ON contacts (email_sealed_idx) WHERE seen > 3`)
		e.exec(t, strings.Replace(missing[0], "CONCURRENTLY ", "", 1))
		e.prepare(t)
	})
}

// A partitioned table of PostgreSQL gets its index part by part, without stopping who
// writes, and what was interrupted in between goes on from there.
func TestAPartitionedTableIsIndexedPartByPart(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.PostgresC), contactsDef, emailColumn, contactsSQL+` PARTITION BY HASH (id)`)
	e.exec(t, `CREATE SCHEMA parts`)
	e.exec(t, `CREATE TABLE contacts_0 PARTITION OF contacts FOR VALUES WITH (MODULUS 3, REMAINDER 0)`)
	e.exec(t, `CREATE TABLE parts."Contacts 1" PARTITION OF contacts FOR VALUES WITH (MODULUS 3, REMAINDER 1)`)
	e.exec(t, `CREATE TABLE contacts_2 PARTITION OF contacts FOR VALUES WITH (MODULUS 3, REMAINDER 2) PARTITION BY HASH (id)`)
	e.exec(t, `CREATE TABLE contacts_2_0 PARTITION OF contacts_2 FOR VALUES WITH (MODULUS 1, REMAINDER 0)`)
	for i := range 20 {
		e.old(t, fmt.Sprint(i), "p1", "ann@b.example")
	}
	interrupted := false
	for { // each time one statement only
		statements, err := e.a.SQL(t.Context())
		require.NoError(t, err)
		if !strings.Contains(statements[0], "INDEX") && !strings.Contains(statements[0], "ADD COLUMN") {
			break // the guard's belong together
		}
		e.exec(t, statements[0])
		if strings.Contains(statements[0], `"Contacts 1"`) && !interrupted {
			interrupted = true
			e.exec(t, `UPDATE pg_index SET indisvalid = false WHERE indrelid = 'parts."Contacts 1"'::regclass AND NOT indisprimary`)
		}
	}
	require.True(t, interrupted)
	e.prepare(t)
	var valid, parts int
	require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT count(*) FILTER (WHERE indisvalid), count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relname LIKE 'crmguard_email%'`).Scan(&valid, &parts))
	require.Equal(t, []int{5, 5}, []int{valid, parts})
	e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
	require.True(t, e.backfill(t).Clean)
	e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
	require.Len(t, e.find(t, e.a, "ann@b.example"), 20)
	e.exec(t, `ALTER TABLE contacts_0 DISABLE TRIGGER USER`)
	have, err := e.a.Guard(t.Context())
	require.NoError(t, err)
	require.Equal(t, adoption.OtherGuard, have, "on one part it is switched off")
}
