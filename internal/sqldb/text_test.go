package sqldb

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPlaceholdersStandOnlyInCode(t *testing.T) {
	for query, want := range map[string]string{
		`a = ? AND b = ?`:                       `a = $1 AND b = $2`,
		`a = '?' AND b = ?`:                     `a = '?' AND b = $1`,
		`a = 'it''s ?' AND b = ?`:               `a = 'it''s ?' AND b = $1`,
		`a = '\' AND b = ?`:                     `a = '\' AND b = $1`,
		`a = E'\'?' AND b = ?`:                  `a = E'\'?' AND b = $1`,
		`"a?" = ? AND "b""?" = ?`:               `"a?" = $1 AND "b""?" = $2`,
		"a = ? -- ?\nAND b = ?":                 "a = $1 -- ?\nAND b = $2",
		`a = /* ? /* ? */ ? */ ?`:               `a = /* ? /* ? */ ? */ $1`,
		`a = $$?$$ AND b = $x$ ? $$ ? $x$ || ?`: `a = $$?$$ AND b = $x$ ? $$ ? $x$ || $1`,
		`a$b$c = ?`:                             `a$b$c = $1`,
		`a = $1`:                                `a = $1`,
		`a = '?`:                                `a = '?`,
		`tags ?? ? AND tags ??| ?`:              `tags ? $1 AND tags ?| $2`,
		`a @?? ? AND tags ??& array[?,?]`:       `a @? $1 AND tags ?& array[$2,$3]`,
		`?||'??'||?`:                            `$1||'??'||$2`,
		``:                                      ``,
	} {
		require.Equal(t, want, Dialect{Kind: Postgres}.Bind(query))
		require.Equal(t, query, Dialect{Kind: SQLite}.Bind(query))
		require.Equal(t, query, Dialect{Kind: MariaDB}.Bind(query))
	}
}

func TestStatementsEndAtTheSemicolonsOfCode(t *testing.T) {
	text := "-- +goose Up\nCREATE TABLE a (b TEXT DEFAULT ';'); -- ;\n/* ; */ INSERT INTO a VALUES ('x;y');\n;\n-- end;\n"
	for _, kind := range []Kind{SQLite, Postgres, MariaDB} {
		require.Equal(t, []string{
			"-- +goose Up\nCREATE TABLE a (b TEXT DEFAULT ';')",
			"-- ;\n/* ; */ INSERT INTO a VALUES ('x;y')",
		}, Dialect{Kind: kind}.statements(text))
	}
	function := "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $f$ BEGIN RETURN 1; END; $f$; SELECT 1"
	require.Len(t, Dialect{Kind: Postgres}.statements(function), 2)
	require.Equal(t, []string{`SELECT '\';', "x\";"`, "SELECT 2 # ;"}, Dialect{Kind: MySQL}.statements(`SELECT '\';', "x\";"; SELECT 2 # ;`))
}

func TestNamesAreQuotedPartByPart(t *testing.T) {
	for name, want := range map[string][2]string{
		"contacts":     {`"contacts"`, "`contacts`"},
		"crm.contacts": {`"crm"."contacts"`, "`crm`.`contacts`"},
		`a"b`:          {`"a""b"`, "`a\"b`"},
		"a`b":          {"\"a`b\"", "`a``b`"},
	} {
		got, err := Dialect{Kind: Postgres}.Quote(name)
		require.NoError(t, err)
		require.Equal(t, want[0], got)
		got, err = Dialect{Kind: MySQL}.Quote(name)
		require.NoError(t, err)
		require.Equal(t, want[1], got)
	}
	for _, name := range []string{"", "a.b.c", ".a", "a.", "a\x00b"} {
		_, err := Dialect{Kind: SQLite}.Quote(name)
		require.Error(t, err, "%q", name)
	}
}

func TestVersionsAreRead(t *testing.T) {
	for text, want := range map[string]Kind{
		"PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu, compiled by gcc": Postgres,
		"PostgreSQL 13.0":                          Postgres,
		"10.11.14-MariaDB-0+deb12u2":               MariaDB,
		"5.5.5-10.11.14-MariaDB-log":               MariaDB,
		"8.0.36":                                   MySQL,
		"8.4.0-commercial":                         MySQL,
		"PostgreSQL 12.9":                          "",
		"PostgreSQL 11.2-YB-2.19 on x86_64":        "",
		"PostgreSQL 8.0.2 on i686, Redshift 1.0.1": "",
		"CockroachDB CCL v23.1.11":                 "",
		"8.0.11-TiDB-v7.5.0":                       "",
		"10.4.1-MariaDB":                           "",
		"5.7.44":                                   "",
		"":                                         "",
		"Oracle Database 19c":                      "",
	} {
		got, err := dialectOf(text)
		require.Equal(t, want, got.Kind, text)
		if want == "" {
			require.ErrorIs(t, err, errors.ErrUnsupported)
			require.ErrorContains(t, err, firstWords(text), "the error names what was found")
		}
	}
}

type numbered struct{ Number uint16 }

func (e *numbered) Error() string { return fmt.Sprint("Error ", e.Number) }

type stated string

func (e stated) Error() string    { return string(e) }
func (e stated) SQLState() string { return string(e) }

func TestFaultsThatPassAreTold(t *testing.T) {
	for err, want := range map[error]bool{
		&numbered{1213}: true, &numbered{1205}: true, &numbered{1062}: false,
		stated("40001"): true, stated("40P01"): true, stated("23505"): false,
		errors.New("x"): false,
	} {
		require.Equal(t, want, passing(err))
		require.Equal(t, want, passing(fmt.Errorf("a: %w", err)))
		require.Equal(t, want, passing(errors.Join(errors.New("b"), fmt.Errorf("a: %w", err))))
	}
	require.False(t, passing(nil))
}

// A name of one thing is never parted at a point.
func TestANameIsQuotedAsAWhole(t *testing.T) {
	for name, want := range map[string]string{"addr.zip": "`addr.zip`", "a.b.c": "`a.b.c`", "a`b": "`a``b`"} {
		got, err := Dialect{Kind: MariaDB}.QuoteName(name)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, name := range []string{"", "a\x00b", strings.Repeat("a", 129)} {
		_, err := Dialect{Kind: Postgres}.QuoteName(name)
		require.Error(t, err)
	}
}
