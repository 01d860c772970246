package adoption_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// uniqueDef has an index that may take the place of UNIQUE in the clear.
var uniqueDef = encryption.Table{Name: "contacts", Columns: []encryption.Column{{
	Name: "email", SQL: "email_sealed", Find: encryption.Email, Index: []encryption.Index{{Column: "email_unique", As: encryption.Email, Bits: 128, Unique: true}},
}}}

// refused is a move that is not made, with what stands in its way.
func (e *env) refused(t *testing.T, to adoption.Stage, options adoption.MoveOptions) *adoption.NotReadyError {
	t.Helper()
	var detail *adoption.NotReadyError
	require.ErrorAs(t, e.a.Move(t.Context(), tenant, to, options), &detail)
	require.NotEmpty(t, detail.Obstacles)
	for _, one := range detail.Obstacles {
		require.Equal(t, to, one.Before)
	}
	return detail
}

var gone = adoption.MoveOptions{OldReleaseGone: true}

// What takes the place of UNIQUE in the clear is a whole and valid unique index over
// the wide column: none over parts of the rows or more columns, no expression.
func TestOnlyAWholeIndexTakesThePlaceOfUnique(t *testing.T) {
	halves := map[testdb.Name]map[string]string{
		testdb.PostgresC: {
			"partial":    `CREATE UNIQUE INDEX half ON contacts (email_unique) WHERE seen > 5`,
			"more":       `CREATE UNIQUE INDEX half ON contacts (email_unique, seen)`,
			"expression": `CREATE UNIQUE INDEX half ON contacts ((email_unique || '\x00'::bytea))`,
			"late":       `ALTER TABLE contacts ADD CONSTRAINT half UNIQUE (email_unique) DEFERRABLE INITIALLY DEFERRED`,
			"invalid":    `CREATE UNIQUE INDEX half ON contacts (email_unique)`,
		},
		testdb.MariaDB: {
			"more": `CREATE UNIQUE INDEX half ON contacts (email_unique, seen)`,
			"part": `CREATE UNIQUE INDEX half ON contacts (email_unique(8))`,
		},
		testdb.SQLite: {
			"partial":    `CREATE UNIQUE INDEX half ON contacts (email_unique) WHERE seen > 5`,
			"more":       `CREATE UNIQUE INDEX half ON contacts (email_unique, seen)`,
			"expression": `CREATE UNIQUE INDEX half ON contacts (hex(email_unique))`,
		},
	}
	for name, all := range halves {
		t.Run(string(name), func(t *testing.T) {
			e := newEnv(t, testdb.New(t, name), uniqueDef, emailColumn, strings.Replace(contactsSQL, "email VARCHAR(200)", "email VARCHAR(200) UNIQUE", 1))
			e.old(t, "1", "p1", "ann@b.example")
			e.to(t, adoption.ReadSealed)
			require.True(t, e.backfill(t).Clean)
			for kind, statement := range all {
				e.exec(t, statement)
				if kind == "invalid" {
					e.exec(t, `UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'half'::regclass`)
				}
				if name == testdb.SQLite {
					require.True(t, e.backfill(t).Clean, "the schema was changed there")
				}
				e.refused(t, adoption.SealedOnly, gone)
				switch {
				case kind == "late":
					e.exec(t, `ALTER TABLE contacts DROP CONSTRAINT half`)
				case name == testdb.MariaDB:
					e.exec(t, `DROP INDEX half ON contacts`)
				default:
					e.exec(t, `DROP INDEX half`)
				}
			}
			if name == testdb.SQLite {
				require.True(t, e.backfill(t).Clean)
			}
			detail := e.refused(t, adoption.SealedOnly, gone)
			require.Len(t, detail.SQL, 1, "%v", detail)
			e.exec(t, detail.SQL[0])
			if name == testdb.SQLite {
				require.True(t, e.backfill(t).Clean)
			}
			e.move(t, adoption.SealedOnly, gone)
		})
	}
}

// UNIQUE of other forms than over the column alone is seen, and replaced by one of
// the same form.
func TestUniqueInTheClearIsReplacedAsItIs(t *testing.T) {
	for _, one := range []struct {
		name             testdb.Name
		clear, suggested string
	}{
		{testdb.PostgresC, `CREATE UNIQUE INDEX old ON contacts (lower(email))`, `("email_unique")`},
		{testdb.PostgresC, `CREATE UNIQUE INDEX old ON contacts (email) WHERE seen = 0`, `("email_unique") WHERE (seen = 0)`},
		{testdb.PostgresC, `CREATE UNIQUE INDEX old ON contacts (email) WHERE email <> ''`, `("email_unique")`},
		{testdb.PostgresC, `ALTER TABLE contacts ADD CONSTRAINT old EXCLUDE USING btree (email WITH =)`, `("email_unique")`},
		{testdb.PostgresC, `CREATE UNIQUE INDEX old ON contacts (seen, email)`, `("seen", "email_unique")`},
		{testdb.MariaDB, `CREATE UNIQUE INDEX old ON contacts (seen, email)`, "(`seen`, `email_unique`)"},
		{testdb.SQLite, `CREATE UNIQUE INDEX old ON contacts (seen, lower(email))`, `("seen", "email_unique")`},
		{testdb.SQLite, `CREATE UNIQUE INDEX old ON contacts (email) WHERE seen = 0`, `("email_unique")`},
	} {
		t.Run(string(one.name)+" "+one.clear, func(t *testing.T) {
			e := newEnv(t, testdb.New(t, one.name), uniqueDef, emailColumn, contactsSQL)
			e.exec(t, one.clear)
			e.old(t, "1", "p1", "ann@b.example")
			e.to(t, adoption.ReadSealed)
			require.True(t, e.backfill(t).Clean)
			detail := e.refused(t, adoption.SealedOnly, gone)
			require.Len(t, detail.SQL, 1, "%v", detail)
			require.True(t, strings.HasSuffix(detail.SQL[0], one.suggested), detail.SQL[0])
			e.exec(t, detail.SQL[0])
			if one.name == testdb.SQLite {
				require.True(t, e.backfill(t).Clean)
			}
			e.move(t, adoption.SealedOnly, gone)
		})
	}
}

// Rows that a unique index by the normaliser would refuse are found before it is
// built, at Plain and before SealedOnly, and listed by their keys.
func TestRowsThatUniqueWouldRefuseAreListed(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, uniqueDef, emailColumn, strings.Replace(contactsSQL, "email VARCHAR(200)", "email VARCHAR(200) UNIQUE", 1))
		twin := map[testdb.Name]string{testdb.MariaDB: "\u200btwin@b.example"}[d.Name] // general_ci takes the case for equal
		if twin == "" {
			twin = "Twin@b.example"
		}
		e.old(t, "1", "p1", "ann@b.example")
		e.old(t, "2", "p2", "twin@b.example")
		e.old(t, "3", "p3", twin)
		collides := func(all []adoption.Obstacle) {
			t.Helper()
			require.Len(t, all, 1, "%v", all)
			require.Equal(t, "LoseUnique", all[0].Option)
			require.EqualValues(t, 2, all[0].Rows)
			require.ElementsMatch(t, []string{"2", "3"}, []string{all[0].Listed[0].Row, all[0].Listed[1].Row})
			require.Empty(t, all[0].SQL)
			require.NotContains(t, all[0].String(), "twin")
		}
		all, err := e.a.Obstacles(t.Context(), tenant)
		require.NoError(t, err)
		collides(all)
		e.to(t, adoption.ReadSealed)
		require.True(t, e.backfill(t).Clean)
		collides(e.refused(t, adoption.SealedOnly, gone).Obstacles)
		e.write(t, e.a, "4", "p4", "cid@b.example")
		e.exec(t, `DELETE FROM contacts WHERE id = '3'`)
		e.exec(t, e.refused(t, adoption.SealedOnly, gone).SQL[0])
		if d.Name == testdb.SQLite {
			require.True(t, e.backfill(t).Clean)
		}
		e.move(t, adoption.SealedOnly, gone)
	})
}

// What a search in the clear takes for equal and the normaliser does not is found
// where rows are such, and stated, or the move to ReadSealed is not made.
func TestSpellingsThatASearchWouldMissAreFound(t *testing.T) {
	for name, one := range map[testdb.Name]struct{ typ, compare string }{
		testdb.SQLite:      {"TEXT COLLATE NOCASE", ""},
		testdb.MariaDB:     {"VARCHAR(200)", ""},
		testdb.PostgresICU: {"TEXT", "lower({column}) = lower({value})"},
		testdb.PostgresC:   {`TEXT COLLATE "nocase"`, ""},
	} {
		t.Run(string(name), func(t *testing.T) {
			d := testdb.New(t, name)
			db := d.Open(t)
			if name == testdb.PostgresC {
				_, err := db.ExecContext(t.Context(), `CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`)
				require.NoError(t, err)
			}
			def := encryption.Table{Name: "contacts", Columns: []encryption.Column{{Name: "email", SQL: "email_sealed", Find: encryption.Exact}}}
			cols := []adoption.Column{{Name: "email", Plain: "email", Compare: one.compare}}
			e := newEnvOn(t, name, db, def, cols, strings.Replace(contactsSQL, "email VARCHAR(200)", "email "+one.typ, 1))
			for i, value := range []string{"meier", "Meier", "meier", "MEIER", "other", "other"} {
				e.old(t, string(rune('1'+i)), "p1", value)
			}
			found := func(all []adoption.Obstacle) {
				t.Helper()
				require.Len(t, all, 1)
				require.Equal(t, "LoseSpellings", all[0].Option)
				require.Equal(t, adoption.ReadSealed, all[0].Before)
				require.Positive(t, all[0].Rows)
				require.Len(t, all[0].Listed, int(all[0].Rows))
				require.NotContains(t, all[0].String(), "eier")
			}
			all, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			found(all)
			e.to(t, adoption.WriteBoth)
			require.True(t, e.backfill(t).Clean)
			require.Len(t, e.find(t, e.a, "meier"), 4)
			found(e.refused(t, adoption.ReadSealed, adoption.MoveOptions{}).Obstacles)
			e.move(t, adoption.ReadSealed, adoption.MoveOptions{LoseSpellings: true})
			require.Len(t, e.find(t, e.a, "meier"), 2)
		})
		t.Run(string(name)+" with a normaliser that takes them for equal", func(t *testing.T) {
			e := newEnv(t, testdb.New(t, name), contactsDef, emailColumn, contactsSQL)
			e.old(t, "1", "p1", "Meier")
			e.old(t, "2", "p1", "meier")
			all, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			require.Empty(t, all)
			e.to(t, adoption.ReadSealed)
		})
	}
}

// A unique index that could not be built leaves an INVALID one of its name: it is
// dropped before it is built again.
func TestAUniqueIndexThatFailedIsBuiltAgain(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.PostgresC), uniqueDef, emailColumn, strings.Replace(contactsSQL, "email VARCHAR(200)", "email VARCHAR(200) UNIQUE", 1))
	e.to(t, adoption.ReadSealed)
	require.True(t, e.backfill(t).Clean)
	create := e.refused(t, adoption.SealedOnly, gone).SQL
	require.Len(t, create, 1)
	e.old(t, "1", "p1", "ann@b.example")
	e.old(t, "2", "p2", "Ann@b.example") // meanwhile
	require.True(t, e.backfill(t).Clean)
	_, err := e.db.ExecContext(t.Context(), create[0])
	require.Error(t, err)
	require.Empty(t, e.refused(t, adoption.SealedOnly, gone).SQL, "first the rows")
	e.exec(t, `DELETE FROM contacts WHERE id = '2'`)
	again := e.refused(t, adoption.SealedOnly, gone).SQL
	require.Len(t, again, 2)
	require.Equal(t, create[0], again[1])
	for _, statement := range again {
		e.exec(t, statement)
	}
	e.move(t, adoption.SealedOnly, gone)
}
