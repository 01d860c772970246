package wholedb_test

import (
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/internal/wholedb"
)

func each(t *testing.T, f func(t *testing.T, d wholedb.DB)) {
	t.Helper()
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		f(t, wholedb.DB{Name: d.Name, SQL: d.Open(t)})
	})
}

func exec(t *testing.T, d wholedb.DB, query string, args ...any) {
	t.Helper()
	_, err := d.SQL.ExecContext(t.Context(), query, args...)
	require.NoError(t, err, query)
}

// types are the words of each database for what the tests need.
func types(d wholedb.DB, query string) string {
	words := map[testdb.Name][]string{
		testdb.SQLite:  {"{bytes}", "BLOB", "{json}", "TEXT", "{serial}", "INTEGER PRIMARY KEY AUTOINCREMENT", "{?}", "?"},
		testdb.MariaDB: {"{bytes}", "LONGBLOB", "{json}", "JSON", "{serial}", "BIGINT AUTO_INCREMENT PRIMARY KEY", "{?}", "?"},
	}[d.Name]
	if words == nil {
		words = []string{"{bytes}", "BYTEA", "{json}", "JSONB", "{serial}", "BIGSERIAL PRIMARY KEY", "{?}", "$1"}
	}
	return strings.NewReplacer(words...).Replace(query)
}

const hidden = "Jürgen Größe/Søren+<7>"

func utf16Of(text string) []byte {
	var out []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		out = append(out, byte(unit), byte(unit>>8))
	}
	return out
}

// Whatever an application has made of a text, it is found.
func TestATextIsFoundInEverySpelling(t *testing.T) {
	sum := sha256.Sum256([]byte(strings.ToLower(hidden)))
	ascii := ""
	for _, unit := range utf16.Encode([]rune(hidden)) {
		if ascii += string(rune(unit)); unit > 0x7e {
			ascii = strings.TrimSuffix(ascii, string(rune(unit))) + fmt.Sprintf(`\u%04X`, unit)
		}
	}
	quoted, err := json.Marshal(hidden)
	require.NoError(t, err)
	spelt := map[string][]byte{
		"plain":             []byte(hidden),
		"other case":        []byte(strings.ToUpper(hidden)),
		"other Unicode":     []byte(norm.NFD.String(hidden)),
		"UTF-16":            utf16Of(hidden),
		"JSON":              quoted,
		"JSON in ASCII":     []byte(ascii),
		"HTML":              []byte("J\u00fcrgen Gr\u00f6\u00dfe/S\u00f8ren+&lt;7&gt;"),
		"URL":               []byte("name=J%C3%BCrgen+Gr%C3%B6%C3%9Fe%2FS%C3%B8ren%2B%3C7%3E"),
		"hexadecimal":       []byte(strings.ToUpper(hex.EncodeToString([]byte(hidden)))),
		"SHA-256":           []byte(hex.EncodeToString(sum[:])),
		"SHA-256 in bytes":  sum[:],
		"base64":            []byte(base64.StdEncoding.EncodeToString([]byte(hidden))),
		"base64 one in":     []byte(base64.StdEncoding.EncodeToString([]byte("a" + hidden + "b"))),
		"base64 two in":     []byte(base64.StdEncoding.EncodeToString([]byte("aa" + hidden))),
		"base64 of headers": []byte(base64.URLEncoding.EncodeToString([]byte("To: " + hidden + "\r\n"))),
	}
	each(t, func(t *testing.T, d wholedb.DB) {
		exec(t, d, types(d, `CREATE TABLE papers (id {serial}, paper {bytes})`))
		insert := types(d, `INSERT INTO papers (paper) VALUES ({?})`)
		needle := []wholedb.Needle{{Name: "papers.paper", Text: hidden}}
		require.Empty(t, d.Search(t, needle))
		for form, paper := range spelt {
			exec(t, d, insert, append([]byte("\x00\xff before "), paper...))
			found := d.Search(t, needle)
			require.NotEmpty(t, found, form)
			require.Empty(t, wholedb.Lost(found, needle), form)
			exec(t, d, `DELETE FROM papers`)
			exec(t, d, insert, append(paper[:len(paper)/2:len(paper)/2], "of another"...))
			for _, w := range d.Search(t, needle) {
				require.NotEmpty(t, w.File, "%s: half of it is not it: %s", form, w)
			}
			exec(t, d, `DELETE FROM papers`)
		}
	})
}

// A number is found however it is grouped, behind whatever prefix.
func TestAPhoneNumberIsFoundByItsDigits(t *testing.T) {
	needle := []wholedb.Needle{{Name: "papers.paper", Text: "+49 301 234 567 8", Phone: true}}
	each(t, func(t *testing.T, d wholedb.DB) {
		exec(t, d, types(d, `CREATE TABLE papers (id {serial}, paper VARCHAR(80), number BIGINT)`))
		for _, paper := range []string{"tel:+4930/1234-5678", "0049 (30) 123 45 678", "030.1234.5678 ext 9", "030\u00a01234\u00a05678", "00493012345678"} {
			exec(t, d, types(d, `INSERT INTO papers (paper) VALUES ({?})`), paper)
			require.Empty(t, wholedb.Lost(d.Search(t, needle), needle), paper)
			exec(t, d, `DELETE FROM papers`)
		}
		exec(t, d, types(d, `INSERT INTO papers (number) VALUES ({?})`), 493012345678)
		require.Equal(t, "number", d.Search(t, needle)[0].Column)
		exec(t, d, `DELETE FROM papers`)
		exec(t, d, types(d, `INSERT INTO papers (paper) VALUES ({?})`), "30 1234 and 5678, two numbers")
		for _, w := range d.Search(t, needle) {
			require.NotEmpty(t, w.File)
		}
	})
}

// On SQLite what was deleted stands in the file until it is overwritten.
func TestTheFileOfSQLiteIsSearched(t *testing.T) {
	d := wholedb.DB{Name: testdb.SQLite, SQL: testdb.New(t, testdb.SQLite).Open(t)}
	exec(t, d, `CREATE TABLE papers (paper TEXT)`)
	exec(t, d, `INSERT INTO papers VALUES (?)`, hidden)
	exec(t, d, `DELETE FROM papers`)
	needle := []wholedb.Needle{{Name: "papers.paper", Text: hidden}}
	found := d.Search(t, needle)
	require.Len(t, found, 1, "in the write-ahead log")
	require.Contains(t, found[0].File, "-wal")
	require.NotContains(t, found[0].String(), hidden, "no value in what a test says")
	exec(t, d, `PRAGMA wal_checkpoint(TRUNCATE)`)
	require.Empty(t, d.Search(t, needle), "secure_delete overwrote it")
}

// Every schema and every type is restored to the byte, and so are the numbers that
// come next.
func TestRestoreOnServersPutsBackEveryType(t *testing.T) {
	schema := map[testdb.Name][]string{
		testdb.PostgresC: {
			`CREATE SCHEMA "Other one"`, `CREATE TYPE mood AS ENUM ('a', 'b')`, `CREATE DOMAIN code AS text CHECK (VALUE <> '')`,
			`CREATE TABLE "Other one"."T t" (id bigint GENERATED ALWAYS AS IDENTITY, m mood[], c code, b bytea, n numeric, f float8, ts timestamptz(3), j json, i interval, t text, twice bigint GENERATED ALWAYS AS (id * 2) STORED)`,
			`CREATE TABLE "Other one".log (n bigint)`,
			`CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO "Other one".log VALUES (NEW.id); RETURN NULL; END'`,
			`CREATE TRIGGER noted AFTER INSERT ON "Other one"."T t" FOR EACH ROW EXECUTE FUNCTION note()`,
			`INSERT INTO "Other one"."T t" (m, c, b, n, f, ts, j, i, t) VALUES ('{a,NULL}', 'x', '\x00ff', 1.10, 0.1, '2026-02-03 04:05:06.789+11', '{"b":1, "a":  2}', '1 mon 3 days', E'a\\tb\n'), (NULL, NULL, '', NULL, 'NaN', 'infinity', NULL, NULL, '')`,
		},
		testdb.MariaDB: {
			"CREATE TABLE `T t` (id BIGINT AUTO_INCREMENT PRIMARY KEY, b VARBINARY(20), n DECIMAL(20,4), f DOUBLE, ts DATETIME(6), d DATE, u UUID, i INET6, j JSON, e ENUM ('a', 'b'), t TEXT, l VARCHAR(20) CHARACTER SET latin1, twice BIGINT AS (n * 2) STORED)",
			"CREATE TABLE log (n BIGINT)",
			"CREATE TRIGGER noted AFTER INSERT ON `T t` FOR EACH ROW INSERT INTO log VALUES (NEW.id)",
			"INSERT INTO `T t` (b, n, f, ts, d, u, i, j, e, t, l) VALUES (x'00ff', 1.10, 0.1, '2026-02-03 04:05:06.789001', '2026-02-03', UUID(), '::1', '{\"b\":1, \"a\":  2}', 'b', 'a\\\\tb\\n', 'ü'), (x'', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '', NULL)",
		},
	}
	schema[testdb.PostgresICU] = schema[testdb.PostgresC]
	each(t, func(t *testing.T, d wholedb.DB) {
		if d.Name == testdb.SQLite {
			return // whose file is put back
		}
		for _, statement := range schema[d.Name] {
			exec(t, d, statement)
		}
		table := map[testdb.Name]string{testdb.MariaDB: "`T t`"}[d.Name]
		if table == "" {
			table = `"Other one"."T t"`
		}
		all := func() (out []string) {
			d.Rows(t, func(r wholedb.Row) { out = append(out, r.String()) })
			return out
		}
		before, state := all(), d.Backup(t)
		require.Len(t, before, 4, "two rows, and two that the trigger wrote")
		exec(t, d, `INSERT INTO `+table+` (t) VALUES ('late')`)
		exec(t, d, `UPDATE `+table+` SET b = NULL, t = 'changed'`)
		d.Restore(t, state)
		require.Equal(t, before, all())
		exec(t, d, `INSERT INTO `+table+` (t) VALUES ('late')`)
		var top sql.NullInt64
		require.NoError(t, d.SQL.QueryRowContext(t.Context(), `SELECT max(id) FROM `+table).Scan(&top))
		require.EqualValues(t, 3, top.Int64)
		require.Len(t, all(), 6, "the trigger is there again")
	})
}
