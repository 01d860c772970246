package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

var person = datamap.Column{Name: "person", Category: "id", Erase: datamap.Retain}

// changing is a table whose rows stay, and in which one column changes.
func changing(table string, c datamap.Column) datamap.Table {
	if c.Category = "contact"; c.Name == "" {
		c.Name = "v"
	}
	return datamap.Table{Name: table, Key: []string{"id"}, Person: "person", Erase: datamap.Null, Columns: []datamap.Column{person, c}}
}

// What the map says of a column is what stands there afterwards, and the store knows
// it for done; of every other row nothing changes.
func TestWhatBecomesOfAColumn(t *testing.T) {
	typed := func(sqlite, postgres, mariadb string) map[sqldb.Kind]string {
		return map[sqldb.Kind]string{sqldb.SQLite: sqlite, sqldb.Postgres: postgres, sqldb.MariaDB: mariadb}
	}
	text := typed("TEXT", "text", "VARCHAR(80)")
	cases := map[string]struct {
		types  map[sqldb.Kind]string
		stored string // SQL
		column datamap.Column
		want   string // as text
	}{
		"null":                 {text, `'Ann'`, datamap.Column{Erase: datamap.Null}, "NULL"},
		"redact":               {text, `'Ann'`, datamap.Column{Erase: datamap.Redact}, "[redacted]"},
		"redact to":            {text, `'Ann'`, datamap.Column{Erase: datamap.Redact, To: "gone@erased.invalid"}, "gone@erased.invalid"},
		"unique":               {typed("TEXT NOT NULL UNIQUE", "text NOT NULL UNIQUE", "VARCHAR(80) NOT NULL UNIQUE"), `'Ann'`, datamap.Column{Erase: datamap.Redact, To: "gone-{row}@erased.invalid"}, "gone-0000000000000000@erased.invalid"},
		"char":                 {typed("TEXT", "char(20)", "CHAR(20)"), `'Ann'`, datamap.Column{Erase: datamap.Redact, To: "gone"}, "gone"},
		"without case":         {typed("TEXT COLLATE NOCASE", "text", "VARCHAR(80)"), `'Ann'`, datamap.Column{Erase: datamap.Redact}, "[redacted]"},
		"number":               {typed("INTEGER", "bigint", "BIGINT"), `1980`, datamap.Column{Erase: datamap.Redact, To: "1900"}, "1900"},
		"decimal":              {typed("NUMERIC", "numeric(8,2)", "DECIMAL(8,2)"), `1980.5`, datamap.Column{Erase: datamap.Redact, To: "0"}, "0"},
		"date":                 {typed("DATE", "date", "DATE"), `'1980-05-17'`, datamap.Column{Erase: datamap.Redact, To: "1900-01-01"}, "1900-01-01"},
		"uuid":                 {typed("TEXT", "uuid", "UUID"), `'01900000-0000-7000-8000-00000000000a'`, datamap.Column{Erase: datamap.Redact, To: "00000000-0000-0000-0000-000000000000"}, "00000000-0000-0000-0000-000000000000"},
		"enum":                 {typed("TEXT", "stage", "ENUM('open', 'won')"), `'won'`, datamap.Column{Erase: datamap.Redact, To: "open"}, "open"},
		"year of a date":       {typed("DATE", "date", "DATE"), `'1987-05-17'`, datamap.Column{Erase: datamap.Generalise, To: datamap.ToYear}, "1987-01-01"},
		"decade of a date":     {typed("DATE", "date", "DATE"), `'1987-05-17'`, datamap.Column{Erase: datamap.Generalise, To: datamap.ToDecade}, "1980-01-01"},
		"month of a time":      {typed("DATETIME", "timestamp", "DATETIME"), `'1987-05-17 10:11:12'`, datamap.Column{Erase: datamap.Generalise, To: datamap.ToMonth}, "1987-05-01 00:00:00"},
		"year of a text":       {text, `'1987-05-17T10:11:12Z'`, datamap.Column{Erase: datamap.Generalise, To: datamap.ToYear}, "1987-01-01T00:00:00Z"},
		"year of microseconds": {typed("INTEGER", "bigint", "BIGINT"), `1714557600000000`, datamap.Column{Erase: datamap.Generalise, To: datamap.ToYear}, "1704067200000000"},
		"no date":              {text, `'last May'`, datamap.Column{Erase: datamap.Generalise, To: datamap.ToYear}, "NULL"},
		"first of a text":      {text, `'东京都 123-4567'`, datamap.Column{Erase: datamap.Generalise, To: "first:2"}, "东京"},
		"pseudonym":            {text, `'Ann'`, datamap.Column{Erase: datamap.Pseudonymise}, "…code"},
		"pseudonym in a text":  {text, `'Ann'`, datamap.Column{Erase: datamap.Pseudonymise, To: "p-{code}@erased.invalid"}, "…code"},
		"scrub":                {text, `'met Ann twice, Ann said'`, datamap.Column{Erase: datamap.Scrub}, "met … twice, … said"},
	}
	on(t, func(t *testing.T, db *sql.DB, kind sqldb.Kind) {
		if kind == sqldb.Postgres {
			exec(t, db, `CREATE TYPE stage AS ENUM ('open', 'won')`)
		}
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				table := tableOf("people", name)
				run := func(query string) { run(t, db, strings.ReplaceAll(query, "people", table)) }
				texts := func(query string) []string { return texts(t, db, strings.ReplaceAll(query, "people", table)) }
				run(`CREATE TABLE people (id VARCHAR(20) PRIMARY KEY, person VARCHAR(20), v ` + c.types[kind] + `)`)
				unique := strings.Contains(c.types[kind], "UNIQUE")
				other := c.stored
				if unique {
					other = `'Bob'`
				}
				run(`INSERT INTO people VALUES ('c2', 'p2', ` + other + `)`)
				before := texts(`SELECT v FROM people`)
				run(`INSERT INTO people VALUES ('c1', 'p1', ` + c.stored + `)`)
				if !unique {
					run(`INSERT INTO people VALUES ('c0', 'p1', NULL)`)
				}
				s := storeOf(t, db, changing(table, c.column))
				erased(t, s, "p1")
				shown := map[sqldb.Kind]string{sqldb.SQLite: `+v`, sqldb.Postgres: `CAST(v AS text)`, sqldb.MariaDB: `CAST(v AS CHAR)`}[kind]
				got := texts(`SELECT ` + shown + ` FROM people WHERE id = 'c1'`)[0]
				switch {
				case c.want == "…code":
					require.NotContains(t, got, "Ann")
					require.GreaterOrEqual(t, len(got), 32)
				case strings.Contains(c.want, "{row}"), unique:
					require.Regexp(t, `^gone-[0-9a-f]{16}@erased\.invalid$`, got)
				case name == "decimal":
					require.Equal(t, c.want, strings.TrimSuffix(got, ".00"))
				default:
					require.Equal(t, c.want, strings.TrimRight(got, " "))
				}
				require.Equal(t, before, texts(`SELECT v FROM people WHERE id = 'c2'`))
				rows, err := s.Find(t.Context(), scopeOf("p1"))
				require.NoError(t, err)
				for _, r := range rows {
					require.True(t, r.Clean)
				}
				run(`UPDATE people SET v = (SELECT v FROM (SELECT v FROM people WHERE id = 'c2') AS x) WHERE id = 'c1' AND v IS NULL`)
				erased(t, s, "p2")
			})
		}
	})
}

// Members of a JSON document go each their own way; the others stay as they were
// written, numbers with all their digits.
func TestMembersOfAJSONColumn(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, kind sqldb.Kind) {
		for _, typ := range map[sqldb.Kind][]string{sqldb.SQLite: {"TEXT"}, sqldb.Postgres: {"jsonb", "json", "text"}, sqldb.MariaDB: {"JSON"}}[kind] {
			table := tableOf("people", typ)
			run := func(query string) { run(t, db, strings.ReplaceAll(query, "people", table)) }
			texts := func(query string) []string { return texts(t, db, strings.ReplaceAll(query, "people", table)) }
			run(`CREATE TABLE people (id VARCHAR(20) PRIMARY KEY, person VARCHAR(20), attribs ` + typ + `)`)
			run(`INSERT INTO people VALUES ('c1', 'p1', '{"name": "Ann", "born": "1987-05-17", "plan": {"id": 12345678901234567890.10, "a/b": "Ann <x>"}, "tags": ["Ann", "new"], "note": "met Ann", "ref": 42, "none": null}'), ('c2', 'p1', NULL), ('c3', 'p1', '[1]'), ('c4', 'p2', '{"name": "Bob"}')`)
			declared := changing(table, datamap.Column{Name: "attribs", Path: "/name", Erase: datamap.Null})
			for path, c := range map[string]datamap.Column{
				"/born": {Erase: datamap.Generalise, To: datamap.ToYear}, "/plan/a~1b": {Erase: datamap.Redact}, "/tags/0": {Erase: datamap.Redact, To: "x"},
				"/note": {Erase: datamap.Scrub}, "/ref": {Erase: datamap.Redact, To: "0"}, "/none": {Erase: datamap.Pseudonymise}, "/missing": {Erase: datamap.Redact},
			} {
				c.Name, c.Path, c.Category = "attribs", path, "contact"
				declared.Columns = append(declared.Columns, c)
			}
			s := storeOf(t, db, declared)
			erased(t, s, "p1")
			require.JSONEq(t, `{"name": null, "born": "1987-01-01", "plan": {"id": 12345678901234567890.10, "a/b": "[redacted]"}, "tags": ["x", "new"], "note": "met …", "ref": 0, "none": null}`, texts(`SELECT attribs FROM people WHERE id = 'c1'`)[0])
			require.Contains(t, texts(`SELECT attribs FROM people WHERE id = 'c1'`)[0], "12345678901234567890.10")
			require.Contains(t, texts(`SELECT attribs FROM people WHERE id = 'c4'`)[0], "Bob")
			if typ != "jsonb" && typ != "JSON" {
				run(`INSERT INTO people VALUES ('c5', 'p3', '{"name": "Ann", "name": "Ann"}')`)
				erased(t, s, "p3")
				require.NotContains(t, texts(`SELECT attribs FROM people WHERE id = 'c5'`)[0], "Ann", "a member that stands there twice")
			}
			if typ == "TEXT" || typ == "text" {
				run(`INSERT INTO people VALUES ('c6', 'p4', '{"name": "Ann"')`)
				var refused *sqlstore.ValueError
				require.ErrorAs(t, rehearse(t, s, scopeOf("p4")), &refused)
				require.Equal(t, "attribs/name", refused.Column)
			}
		}
	})
}

// What the schema refuses is said before anything is erased, with table and
// constraint, and without a value.
func TestARehearsalSaysWhatTheSchemaRefuses(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, kind sqldb.Kind) {
		for name, c := range map[string]struct {
			column string
			action datamap.Action
		}{
			"not null": {"VARCHAR(40) NOT NULL", datamap.Null},
			"unique":   {"VARCHAR(40) UNIQUE", datamap.Redact},
			"check":    {"VARCHAR(40) CHECK (v LIKE '%@%')", datamap.Redact},
		} {
			table := tableOf("people", name)
			run(t, db, `CREATE TABLE `+table+` (id VARCHAR(20) PRIMARY KEY, person VARCHAR(20), v `+c.column+`)`)
			run(t, db, `INSERT INTO `+table+` VALUES ('c1', 'p1', 'needle@x'), ('c2', 'p1', 'other@x')`)
			s := storeOf(t, db, changing(table, datamap.Column{Erase: c.action}))
			for _, err := range []error{rehearse(t, s, scopeOf("p1")), s.Erase(t.Context(), scopeOf("p1"), nil)} {
				var refused *sqlstore.DatabaseError
				require.ErrorAs(t, err, &refused, name)
				require.Equal(t, table, refused.Table)
				require.NotContains(t, err.Error(), "needle")
				require.NotContains(t, err.Error(), "c1")
			}
			require.Equal(t, 2, count(t, db, `SELECT COUNT(*) FROM `+table+` WHERE v LIKE '%@x'`), name)
		}
		if kind == sqldb.MariaDB {
			return // it defers nothing
		}
		run(t, db, `CREATE TABLE contacts (id VARCHAR(20) PRIMARY KEY, person VARCHAR(20), email VARCHAR(20))`, `CREATE TABLE notes (id VARCHAR(20), contact VARCHAR(20) REFERENCES contacts(id) DEFERRABLE INITIALLY DEFERRED)`,
			`INSERT INTO contacts VALUES ('c1', 'p1', 'a')`, `INSERT INTO notes VALUES ('n1', 'c1')`)
		s := storeOf(t, db, contacts)
		require.Error(t, rehearse(t, s, scopeOf("p1")), "a deferred constraint")
		require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM contacts`))
		if kind == sqldb.SQLite {
			db.SetMaxOpenConns(1)
			run(t, db, `PRAGMA foreign_keys = OFF`)
			require.NoError(t, rehearse(t, s, scopeOf("p1")), "which nobody enforces")
			run(t, db, `PRAGMA foreign_keys = ON`)
		}
		run(t, db, `DELETE FROM notes`)
		require.NoError(t, rehearse(t, s, scopeOf("p1")))
	})
}

// A type that cannot hold what a redaction writes is refused: at Open where the
// database can be asked, else by the rehearsal.
func TestARedactionThatIsNoValueOfTheType(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, kind sqldb.Kind) {
		strict := map[sqldb.Kind]string{sqldb.SQLite: " STRICT"}[kind]
		run(t, db, `CREATE TABLE people (id `+map[bool]string{true: "TEXT", false: "VARCHAR(20)"}[strict != ""]+` PRIMARY KEY, person `+map[bool]string{true: "TEXT", false: "VARCHAR(20)"}[strict != ""]+`, v INTEGER)`+strict,
			`INSERT INTO people VALUES ('c1', 'p1', 1980)`)
		s, err := sqlstore.Open(t.Context(), handed(db, changing("people", datamap.Column{Erase: datamap.Redact})))
		if kind == sqldb.Postgres {
			require.ErrorIs(t, err, datamap.ErrMap)
			require.ErrorContains(t, err, "column v")
			return
		}
		require.NoError(t, err)
		require.Error(t, rehearse(t, s, scopeOf("p1")))
		require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM people WHERE v = 1980`))
	})
}

// Equal values of a tenant become equal codes, and a code is known for one.
func TestPseudonyms(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		run(t, db, `CREATE TABLE people (id VARCHAR(20) PRIMARY KEY, person VARCHAR(20), v VARCHAR(80))`, `INSERT INTO people VALUES ('c1', 'p1', 'Ann'), ('c2', 'p1', 'Ann'), ('c3', 'p1', 'Bob'), ('c4', 'p1', 'x-0123456789abcdef0123456789abcdef')`)
		s := storeOf(t, db, changing("people", datamap.Column{Erase: datamap.Pseudonymise, To: "x-{code}"}))
		erased(t, s, "p1")
		codes := texts(t, db, `SELECT v FROM people ORDER BY id`)
		require.Equal(t, codes[0], codes[1])
		require.NotEqual(t, codes[0], codes[2])
		require.NotContains(t, codes, "x-0123456789abcdef0123456789abcdef")
		for _, code := range codes {
			require.Regexp(t, `^x-[0-9a-f]{32}$`, code, "also of what only looks like one")
		}
		erased(t, s, "p1")
		require.Equal(t, codes, texts(t, db, `SELECT v FROM people ORDER BY id`))
	})
}

// What the application answers with an error, or what changes behind its back, ends
// the erasure before anything is erased.
func TestHandInsThatFail(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		run(t, db, `CREATE TABLE people (id VARCHAR(20) PRIMARY KEY, person VARCHAR(20), v VARCHAR(80))`, `INSERT INTO people VALUES ('c1', 'p1', 'Ann')`)
		for _, action := range []datamap.Action{datamap.Pseudonymise, datamap.Scrub} {
			cfg := handed(db, changing("people", datamap.Column{Erase: action}))
			cfg.Pseudonym = func(context.Context, string, []byte) ([]byte, error) { return nil, errors.New("secret words") }
			cfg.Scrub = func(context.Context, sqlstore.ScrubText) (string, error) { return "", errors.New("secret words") }
			s, err := sqlstore.Open(t.Context(), cfg)
			require.NoError(t, err)
			err = s.Erase(t.Context(), scopeOf("p1"), nil)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "secret")
			cfg.Pseudonym, cfg.Scrub = nil, nil
			_, err = sqlstore.Open(t.Context(), cfg)
			require.ErrorContains(t, err, "is needed")
		}
		n := 0
		cfg := handed(db, changing("people", datamap.Column{Erase: datamap.Scrub}))
		cfg.Scrub = func(context.Context, sqlstore.ScrubText) (string, error) { // never twice the same
			n++
			run(t, db, fmt.Sprintf(`UPDATE people SET v = 'Ann %d'`, n))
			return "…", nil
		}
		s, err := sqlstore.Open(t.Context(), cfg)
		require.NoError(t, err)
		require.ErrorIs(t, s.Erase(t.Context(), scopeOf("p1"), nil), datastore.ErrLater)
		require.Equal(t, 3, n, "it is prepared anew")
	})
}
