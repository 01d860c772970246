package encryption_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/internal/testdb"
)

// The row of a merged person whose owner column the database makes itself cannot go
// over to another: it stays, is named, and stops nothing.
func TestAGeneratedOwnerColumnStopsNoReseal(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		s := newTwo(t, d)
		s.exec(t, s.db, `DROP TABLE letters`)
		s.exec(t, s.db, `CREATE TABLE letters (id VARCHAR(40) NOT NULL PRIMARY KEY, who VARCHAR(40) NOT NULL, person VARCHAR(40) GENERATED ALWAYS AS (who) STORED, body `+bytesOf(d.Name)+`)`)
		for i := range 4 {
			person := []string{"p1", "p3"}[i%2]
			w, err := s.of.Writer(t.Context(), tenant, person)
			require.NoError(t, err)
			s.exec(t, s.db, `INSERT INTO letters (id, who, body) VALUES (?, ?, ?)`, fmt.Sprint("l", i), person, w.Text("body", "Ann"))
		}
		require.NoError(t, s.a.Ensure(t.Context(), tenant, "p2"))
		require.NoError(t, s.a.AddAlias(t.Context(), tenant, "p3", "p2"))
		_, err := s.a.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		report, err := s.of.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{})
		require.NoError(t, err)
		require.Equal(t, []int{4, 2, 0, 2}, []int{report.Rows, report.Cells, report.Moved, report.Unreadable})
		require.ErrorIs(t, report.Listed[0].Err, encryption.ErrMerged)
		require.ErrorContains(t, report.Listed[0].Err, "makes the owner column itself")
	})
}

// A sealed column, or one of an index, that the database makes itself is said to be
// one before anything is done.
func TestASealedColumnThatTheDatabaseMakesIsRefused(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		s := newTwo(t, d)
		def := encryption.Table{Name: "people", Columns: []encryption.Column{{Name: "mail", Find: encryption.Email}}}
		table, err := s.a.Table(def)
		require.NoError(t, err)
		raw := bytesOf(d.Name)
		for _, columns := range []string{
			`one ` + raw + `, mail ` + raw + ` GENERATED ALWAYS AS (one) STORED, mail_idx BIGINT`,
			`one BIGINT, mail ` + raw + `, mail_idx BIGINT GENERATED ALWAYS AS (one) STORED`,
		} {
			s.exec(t, s.db, `CREATE TABLE people (id VARCHAR(40) NOT NULL PRIMARY KEY, person VARCHAR(40) NOT NULL, `+columns+`)`)
			err := table.CheckIn(t.Context(), s.db, tenant)
			require.ErrorIs(t, err, encryption.ErrDefinition)
			require.ErrorContains(t, err, "makes the")
			s.exec(t, s.db, `DROP TABLE people`)
		}
	})
}

// A person's row cannot go over where nobody may write the owner column: the row is
// named, and the others are resealed.
func TestARoleWithoutARightToTheOwnerColumnResealsTheOtherRows(t *testing.T) {
	eachPostgres(t, func(t *testing.T, s *two) {
		for i, person := range []string{"p1", "p3"} {
			w, err := s.of.Writer(t.Context(), tenant, person)
			require.NoError(t, err)
			s.exec(t, s.db, `INSERT INTO letters (id, person, body) VALUES (?, ?, ?)`, fmt.Sprint("l", i), person, w.Text("body", "Ann"))
		}
		require.NoError(t, s.a.Ensure(t.Context(), tenant, "p2"))
		require.NoError(t, s.a.AddAlias(t.Context(), tenant, "p3", "p2"))
		role, as := s.database.Role(t)
		s.exec(t, s.db, `GRANT SELECT, UPDATE (body) ON letters TO `+role)
		for _, cells := range []int{1, 0} {
			if cells > 0 {
				_, err := s.a.NewKeyVersion(t.Context(), tenant)
				require.NoError(t, err)
			}
			report, err := s.of.Reseal(t.Context(), as.Open(t), tenant, jobs.ResealOptions{})
			require.NoError(t, err)
			require.Equal(t, []int{2, cells, 1}, []int{report.Rows, report.Cells, report.Refused})
			require.Equal(t, "42501", report.Refusals[0].Code)
		}
		// What the role may do with no row at all is an error, and names none.
		s.exec(t, s.db, `REVOKE UPDATE (body) ON letters FROM `+role)
		_, err := s.a.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		report, err := s.of.Reseal(t.Context(), as.Open(t), tenant, jobs.ResealOptions{})
		require.ErrorContains(t, err, "42501")
		require.Zero(t, report.Rows)
	})
}

// A trigger may say with any state that a row is frozen: no job takes that for an
// answer about all rows, and none ends with it.
func TestATriggerMayRefuseARowWithAnyState(t *testing.T) {
	eachPostgres(t, func(t *testing.T, s *two) {
		table, err := s.a.Table(encryption.Table{Name: "people", Columns: []encryption.Column{{Name: "mail", Find: encryption.Email}}})
		require.NoError(t, err)
		s.exec(t, s.db, `CREATE TABLE people (id text PRIMARY KEY, person text NOT NULL, mail bytea, mail_idx bigint)`)
		for i := range 4 {
			w, err := table.Writer(t.Context(), tenant, "p1")
			require.NoError(t, err)
			s.exec(t, s.db, `INSERT INTO people VALUES (?, 'p1', ?, ?)`, fmt.Sprint("c", i), w.Text("mail", "ann@b.example"), w.Int64("mail_idx", "ann@b.example"))
		}
		frozen := func(when, state string) {
			s.exec(t, s.db, `DROP TRIGGER IF EXISTS frozen ON people`)
			s.exec(t, s.db, `CREATE OR REPLACE FUNCTION frozen() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
				IF OLD.id = ''c2'' THEN RAISE EXCEPTION USING MESSAGE = ''secret'', ERRCODE = ''`+state+`''; END IF; RETURN NEW; END'`)
			s.exec(t, s.db, `CREATE `+when+` FOR EACH ROW EXECUTE FUNCTION frozen()`)
		}
		const at, late = `TRIGGER frozen BEFORE UPDATE ON people`, `CONSTRAINT TRIGGER frozen AFTER UPDATE ON people DEFERRABLE INITIALLY DEFERRED`
		for _, state := range []string{"P0001", "42501", "0A000", "25006", "55000", "38000", "28000"} {
			when := at
			if state == "55000" {
				when = late
			}
			frozen(when, state)
			_, err := s.a.NewKeyVersion(t.Context(), tenant)
			require.NoError(t, err)
			for _, cells := range []int{3, 0} { // the second time it is the only one left
				report, err := table.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{})
				require.NoError(t, err, state)
				require.Equal(t, []int{4, cells, 1}, []int{report.Rows, report.Cells, report.Refused}, state)
				require.Equal(t, []string{"c2", state}, []string{report.Refusals[0].Key, report.Refusals[0].Code})
			}
		}
		s.exec(t, s.db, `DROP TRIGGER frozen ON people`)
		s.exec(t, s.db, `UPDATE people SET mail_idx = 0`)
		frozen(at, "42501")
		var left *jobs.RefusedError
		report, err := table.Rebuild(t.Context(), s.db, tenant)
		require.ErrorAs(t, err, &left)
		require.Equal(t, []int{3, 1}, []int{report.Corrected, report.Refused})
		require.ErrorAs(t, table.ClearRows(s.db)(t.Context(), tenant, "p1"), &left)
		require.Equal(t, 1, left.Count)
		require.NotContains(t, left.Error(), "secret")
	})
}

// A column that cannot hold every value of its index is refused before a search
// misses what the database has cut.
func TestAnIndexColumnThatIsTooNarrowIsRefused(t *testing.T) {
	type column struct {
		typ   string
		bits  int
		takes bool
	}
	both := []column{{"SMALLINT", 16, false}, {"SMALLINT", 15, true}, {"INT", 32, false}, {"INT", 31, true}, {"BIGINT", 63, true}}
	of := map[testdb.Name][]column{
		testdb.PostgresC: append(both, column{"bytea", 128, true}, column{"text", 128, false}, column{"numeric", 63, true}, column{"numeric(30,3)", 32, false},
			column{"numeric(30)", 63, true}, column{"double precision", 32, false}, column{"money", 32, false}),
		testdb.SQLite: {
			{"DOUBLE", 54, false},
			{"FLOAT", 54, false},
			{"REAL", 62, false},
			{"REAL", 53, true},
			{"REAL", 128, true},
			{"INTEGER", 63, true},
			{"TEXT", 63, true},
			{"NUMERIC", 63, true},
			{"BLOB", 63, true},
			{"", 63, true},
			{"DOUBLE_POINT", 63, true},
		},
		testdb.MariaDB: append(both, column{"INT UNSIGNED", 32, true}, column{"MEDIUMINT", 24, false}, column{"DECIMAL(9)", 32, false}, column{"DECIMAL(12, 2)", 32, false}, column{"DECIMAL(10)", 32, true}, column{"DOUBLE", 32, false},
			column{"ENUM('1111111111111')", 32, false}, column{"SET('1111111111111')", 32, false}, column{"VARBINARY(20)", 32, false}, column{"VARCHAR(10)", 32, true},
			column{"VARCHAR(9)", 32, false}, column{"FLOAT", 32, false}, column{"VARBINARY(15)", 128, false}, column{"VARBINARY(40)", 128, true},
			column{"BINARY(16)", 128, true}, column{"BINARY(20)", 128, false}, column{"VARCHAR(200)", 128, false}),
	}
	for name, columns := range of {
		t.Run(string(name), func(t *testing.T) {
			s := newTwo(t, testdb.New(t, name))
			for i, c := range columns {
				table, err := s.a.Table(encryption.Table{Name: fmt.Sprint("people", i), Columns: []encryption.Column{{Name: "mail", Index: []encryption.Index{{Column: "mail_idx", As: encryption.Email, Bits: c.bits}}}}})
				require.NoError(t, err)
				s.exec(t, s.db, `CREATE TABLE `+fmt.Sprint("people", i)+` (id VARCHAR(40) NOT NULL PRIMARY KEY, person VARCHAR(40) NOT NULL, mail `+bytesOf(name)+`, mail_idx `+c.typ+`)`)
				err = table.CheckIn(t.Context(), s.db, tenant)
				if c.takes {
					require.NoError(t, err, c.typ)
					continue
				}
				require.ErrorIs(t, err, encryption.ErrDefinition, c.typ)
				require.ErrorContains(t, err, "does not hold every value", c.typ)
				require.NoError(t, table.ClearRows(s.db)(t.Context(), tenant, "p1"), "what is erased is cleared all the same")
			}
		})
	}
}
