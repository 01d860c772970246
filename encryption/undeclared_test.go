package encryption_test

import (
	"database/sql"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/internal/testdb/stranger"
)

// listed is what a search found, a line for each column.
func listed(columns []jobs.UndeclaredColumn, name map[uint32]string) (out []string) {
	for _, c := range columns {
		_, table, _ := strings.Cut(c.Table, ".")
		var line strings.Builder
		line.WriteString(table + "." + c.Column)
		for version, count := range c.KeyVersions {
			fmt.Fprintf(&line, " %s:%d", name[version], count)
		}
		if c.Unread != nil {
			line.WriteString(" unread")
		}
		out = append(out, line.String())
	}
	slices.Sort(out)
	return out
}

// What an application has sealed into columns that no definition names keeps the
// key version from going, wherever it stands.
func TestSealedValuesAreFoundWhereNothingDeclaresThem(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, 1)
		db := d.Open(t)
		blob, document, mark := "BLOB", "TEXT", "?"
		switch d.Name {
		case testdb.SQLite:
		case testdb.MariaDB:
			document = "JSON"
		case testdb.PostgresC, testdb.PostgresICU:
			blob, document, mark = "BYTEA", "JSONB", "$1"
		}
		exec := func(query string, args ...any) {
			_, err := db.ExecContext(t.Context(), query, args...)
			require.NoError(t, err, query)
		}
		exec(`CREATE TABLE contacts (id INTEGER NOT NULL PRIMARY KEY, person VARCHAR(20), email ` + blob + `, note ` + blob + `, phone VARCHAR(255), email_idx BIGINT, extra ` + document + `)`)
		exec(`CREATE TABLE sheet (line VARCHAR(2000), content ` + blob + `)`)                                       // without a key
		exec(`CREATE TABLE pairs (a INTEGER NOT NULL, b VARCHAR(20) NOT NULL, c ` + blob + `, PRIMARY KEY (a, b))`) // with one of two columns
		def := contactsTable
		def.Columns = slices.DeleteFunc(slices.Clone(def.Columns), func(c encryption.Column) bool { return c.Name == "note" }) // forgotten
		vault := e.another(t)
		contacts := e.table(t, vault, def)
		w, err := e.contacts.Writer(t.Context(), tenant, "p1")
		require.NoError(t, err)
		w, err = w.Row("1")
		require.NoError(t, err)
		note, phone := w.Text("note", "n"), w.Text("phone", "+41")
		text, err := sealedvalue.FormatText(phone.Bytes())
		require.NoError(t, err)
		first, err := sealedvalue.KeyVersion(note.Bytes())
		require.NoError(t, err)
		name := map[uint32]string{first: "1"}

		for id := range 3 {
			exec(strings.NewReplacer("?", mark).Replace(fmt.Sprintf(`INSERT INTO contacts (id, person, email) VALUES (%d, 'p1', ?)`, id)), note.Bytes())
		}
		found, err := vault.Undeclared(t.Context(), db, tenant)
		require.NoError(t, err)
		require.Empty(t, listed(found, name), "the table declares the column")

		exec(`UPDATE contacts SET note = `+mark+` WHERE id < 2`, note.Bytes())
		exec(`UPDATE contacts SET extra = `+mark+` WHERE id = 1`, `{"a": [{"phone": "`+text+`"}]}`)
		exec(`INSERT INTO sheet (line) VALUES (`+mark+`)`, "pasted: "+text+" and "+text)
		exec(`INSERT INTO sheet (content) VALUES (`+mark+`)`, []byte(text))
		exec(`INSERT INTO pairs VALUES (1, 'x', `+mark+`)`, note.Bytes())
		var empty []string
		for i := range 1100 { // three pages
			if i%100 == 0 {
				exec(fmt.Sprintf(`INSERT INTO pairs VALUES (%d, 'y', `+mark+`)`, i+2), note.Bytes())
				continue
			}
			empty = append(empty, fmt.Sprintf(`(%d, 'y', NULL)`, i+2))
		}
		exec(`INSERT INTO pairs VALUES ` + strings.Join(empty, ", "))
		// What only looks so: another mark, another key version, the form cut off.
		other := slices.Clone(note.Bytes())
		other[4] ^= 1
		exec(`INSERT INTO sheet (content) VALUES (`+mark+`)`, other)
		exec(`INSERT INTO sheet (line) VALUES (`+mark+`)`, text[:12])
		exec(`INSERT INTO sheet (line) VALUES (`+mark+`)`, strings.ToUpper(text))
		exec(`INSERT INTO sheet (content) VALUES (`+mark+`)`, append([]byte{0}, note.Bytes()...))
		want := []string{"contacts.extra 1:1", "contacts.note 1:2", "pairs.c 1:12", "sheet.content 1:1", "sheet.line 1:1"}
		for _, driver := range d.Name.Drivers() {
			found, err = vault.Undeclared(t.Context(), d.OpenWith(t, driver), tenant)
			require.NoError(t, err)
			require.Equal(t, want, listed(found, name), driver)
		}
		found, err = vault.Undeclared(t.Context(), db, tenant, "pairs.c", "sheet.content", "contacts.extra", "sheet.line")
		require.NoError(t, err)
		require.Equal(t, []string{"contacts.note 1:2"}, listed(found, name), "others count what is named")

		// The key version does not go.
		require.NoError(t, e.vault.AddTenant(t.Context(), "t2"))
		found, err = vault.Undeclared(t.Context(), db, "t2")
		require.NoError(t, err)
		require.Empty(t, found, "another tenant has none of these keys")
		exec(`UPDATE contacts SET email = NULL`)
		second, err := vault.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		name[second] = "2"
		known := []string{"pairs.c", "sheet.content", "contacts.extra", "sheet.line"}
		holders := []jobs.Holder{contacts.Holder(db), vault.UndeclaredHolder(db, known...)}
		err = vault.DestroyKeyVersion(t.Context(), tenant, first, holders...)
		var used *jobs.InUseError
		require.ErrorAs(t, err, &used)
		require.Equal(t, 2, used.Count)
		require.Contains(t, used.Where, "contacts.note")
		exec(`UPDATE contacts SET note = NULL`)
		require.NoError(t, vault.DestroyKeyVersion(t.Context(), tenant, first, holders...))
		found, err = vault.Undeclared(t.Context(), db, tenant)
		require.NoError(t, err)
		require.Empty(t, found, "what was destroyed is needed no more")
		_, err = vault.Undeclared(t.Context(), nil, tenant)
		require.ErrorIs(t, err, encryption.ErrDefinition)
	})
}

// Types, schemas and tables that only one database has.
func TestSealedValuesAreFoundInTypesOfPostgreSQL(t *testing.T) {
	e := newEnv(t, 1)
	d := testdb.New(t, testdb.PostgresC)
	db := d.Open(t)
	w, err := e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	sealed := w.Text("email", "x").Bytes()
	text, err := sealedvalue.FormatText(sealed)
	require.NoError(t, err)
	version, err := sealedvalue.KeyVersion(sealed)
	require.NoError(t, err)
	for _, statement := range []string{
		`CREATE SCHEMA "of.others"`, `CREATE DOMAIN raw AS bytea`, `CREATE DOMAIN rawer AS raw CHECK (length(value) > 3)`,
		`CREATE TABLE "of.others"."a b""c" (id text PRIMARY KEY, "v w" rawer)`,
		`CREATE TABLE lists (id uuid PRIMARY KEY, raws bytea[], words text[], doc xml, letter char(200))`,
		`CREATE TABLE contacts (id int, person text, email bytea, note bytea, phone text, email_idx bigint, PRIMARY KEY (id)) PARTITION BY RANGE (id)`,
		`CREATE TABLE contacts_1 PARTITION OF contacts FOR VALUES FROM (0) TO (10)`,
		`CREATE TABLE parent (id int PRIMARY KEY, v text)`, `CREATE TABLE child () INHERITS (parent)`,
		`CREATE VIEW seen AS SELECT * FROM parent`,
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	for statement, arg := range map[string]any{
		`INSERT INTO "of.others"."a b""c" VALUES ('x', $1)`:                                                         sealed,
		`INSERT INTO lists (id, raws) VALUES ('0190a0a0-0000-7000-8000-000000000001', ARRAY[NULL, $1::bytea])`:      sealed,
		`INSERT INTO lists (id, words) VALUES ('0190a0a0-0000-7000-8000-000000000002', ARRAY['a', $1])`:             text,
		`INSERT INTO lists (id, doc) VALUES ('0190a0a0-0000-7000-8000-000000000003', xmlelement(name a, $1::text))`: text,
		`INSERT INTO lists (id, letter) VALUES ('0190a0a0-0000-7000-8000-000000000004', $1)`:                        text,
		`INSERT INTO contacts (id, email) VALUES (1, $1)`:                                                           sealed,
		`INSERT INTO contacts (id, phone) VALUES (2, $1)`:                                                           text,
		`INSERT INTO child VALUES (1, $1)`:                                                                          text,
	} {
		_, err := db.ExecContext(t.Context(), statement, arg)
		require.NoError(t, err, statement)
	}
	found, err := e.vault.Undeclared(t.Context(), db, tenant)
	require.NoError(t, err)
	name := map[uint32]string{version: "1"}
	require.Equal(t, []string{"child.v 1:1", "lists.doc 1:1", "lists.letter 1:1", "lists.raws 1:1", "lists.words 1:1", "others.a b\"c.v w 1:1"}, listed(found, name), "parts of a declared table are declared")

	// Who may not read a table cannot say that it needs nothing.
	_, as := d.Role(t)
	role := as.Open(t)
	found, err = e.vault.Undeclared(t.Context(), role, tenant)
	require.NoError(t, err)
	require.Len(t, found, 5)
	for _, c := range found {
		require.ErrorIs(t, c.Unread, fs.ErrPermission, c.Table)
	}
	_, _, err = e.vault.UndeclaredHolder(role)(t.Context(), tenant, version)
	require.ErrorIs(t, err, fs.ErrPermission)
}

// A schema that other people made is searched whole: nothing in it is taken for
// sealed, and one value in a column of theirs is found.
func TestAStrangersSchemaIsSearched(t *testing.T) {
	stranger.Each(t, func(t *testing.T, c *stranger.CRM) {
		e := newEnv(t, 1)
		w, err := e.contacts.Writer(t.Context(), tenant, "p1")
		require.NoError(t, err)
		text, err := sealedvalue.FormatText(w.Text("email", "x").Bytes())
		require.NoError(t, err)
		found, err := e.vault.Undeclared(t.Context(), c.DB, tenant)
		require.NoError(t, err)
		require.Empty(t, found)
		activities := c.Table(t, "activities")
		result, err := c.DB.ExecContext(t.Context(), `UPDATE `+activities.SQL+` SET body = '`+text+`'`)
		require.NoError(t, err)
		n, err := result.RowsAffected()
		require.NoError(t, err)
		found, err = e.vault.Undeclared(t.Context(), c.DB, tenant)
		require.NoError(t, err)
		require.Len(t, found, 1)
		require.Equal(t, "body", found[0].Column)
		for _, count := range found[0].KeyVersions {
			require.Equal(t, n, count)
		}
	})
}

// On SQLite a column holds what it was given, whatever its type says, and a key may
// be NULL.
func TestSealedValuesAreFoundInAnyClassOfSQLite(t *testing.T) {
	e := newEnv(t, 1)
	w, err := e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	sealed := w.Text("email", "x").Bytes()
	version, err := sealedvalue.KeyVersion(sealed)
	require.NoError(t, err)
	db := testdb.New(t, testdb.SQLite).Open(t)
	for _, statement := range []string{
		`CREATE TABLE loose (k TEXT PRIMARY KEY, n INTEGER, b)`, `CREATE TABLE tight (k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID`, `CREATE TABLE "odd.name" (v)`, `CREATE TABLE CONTACTS (id, person, Email)`,
		`CREATE VIRTUAL TABLE texts USING fts5(body)`,
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	for _, statement := range []string{`INSERT INTO loose VALUES (NULL, ?, 1)`, `INSERT INTO loose VALUES ('a', 1, ?)`, `INSERT INTO tight VALUES ('x', ?)`, `INSERT INTO "odd.name" VALUES (?)`, `INSERT INTO contacts (email) VALUES (?)`} {
		_, err := db.ExecContext(t.Context(), statement, sealed)
		require.NoError(t, err, statement)
	}
	found, err := e.vault.Undeclared(t.Context(), db, tenant)
	require.NoError(t, err)
	require.Equal(t, []string{"loose.b 1:1", "loose.n 1:1", "odd.name.v 1:1", "tight.v 1:1"}, listed(found, map[uint32]string{version: "1"}))
}

// A page comes from the key's own index, also where it is the last one.
func TestAPageOfASearchIsReadInTheOrderOfTheKey(t *testing.T) {
	db := testdb.New(t, testdb.PostgresICU).Open(t)
	for _, statement := range []string{
		`CREATE TABLE large (id text PRIMARY KEY, a bytea, b text)`,
		`INSERT INTO large SELECT md5(n::text), sha256(n::text::bytea), md5(n::text) FROM generate_series(1, 50000) n`, `ANALYZE large`,
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	queries, args, err := encryption.SearchPages(t.Context(), db, "large", []any{"f0000000000000000000000000000000"}, 1, 2, 3)
	require.NoError(t, err)
	require.Len(t, queries, 2)
	for i, query := range queries {
		plan := explained(t, db, query, args[i])
		require.NotContains(t, plan, "Sort")
		require.NotContains(t, plan, "Seq Scan")
		require.Contains(t, plan, "Index Scan using")
	}
}

func explained(t *testing.T, db *sql.DB, query string, args []any) (plan string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "EXPLAIN "+query, args...)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var line string
		require.NoError(t, rows.Scan(&line))
		plan += line + "\n"
	}
	require.NoError(t, rows.Err())
	return plan
}

// A file of SQLite may hold its text in UTF-16, and bytes that are text of another
// encoding: sealed values in the text form are found in all of them.
func TestSealedTextIsFoundWhateverTheEncodingOfTheFile(t *testing.T) {
	for _, encoding := range []string{"UTF-8", "UTF-16le", "UTF-16be"} {
		e := newEnv(t, 1)
		db := openDB(t, filepath.Join(t.TempDir(), "app.db"), 1)
		text, err := func() (string, error) {
			w, err := e.contacts.Writer(t.Context(), tenant, "p1")
			require.NoError(t, err)
			return sealedvalue.FormatText(w.Text("phone", "+41").Bytes())
		}()
		require.NoError(t, err)
		for _, query := range []string{`PRAGMA encoding = '` + encoding + `'`, `CREATE TABLE extra (id INTEGER PRIMARY KEY, t TEXT, b BLOB)`} {
			_, err = db.ExecContext(t.Context(), query)
			require.NoError(t, err)
		}
		_, err = db.ExecContext(t.Context(), `INSERT INTO extra VALUES (1, ?, NULL), (2, NULL, ?), (3, 'ä', x'00'), (4, ?, NULL)`, text, []byte("in "+text), `{"ä": "`+text+`"}`)
		require.NoError(t, err)
		var real string
		require.NoError(t, db.QueryRowContext(t.Context(), `PRAGMA encoding`).Scan(&real))
		require.Equal(t, encoding, real)

		version, err := sealedvalue.KeyVersion([]byte(text))
		require.NoError(t, err)
		found, err := e.vault.Undeclared(t.Context(), db, tenant)
		require.NoError(t, err)
		require.Equal(t, []string{"extra.b 1:1", "extra.t 1:2"}, listed(found, map[uint32]string{version: "1"}), encoding)
		held, _, err := e.vault.UndeclaredHolder(db)(t.Context(), tenant, version)
		require.NoError(t, err)
		require.Equal(t, 3, held)
	}
}
