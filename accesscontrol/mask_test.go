package accesscontrol_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

func TestMasks(t *testing.T) {
	none := (*string)(nil)
	for _, c := range []struct {
		mask     accesscontrol.Mask
		in, want any
	}{
		{accesscontrol.MaskEmail, "ann@example.com", "a***@example.com"},
		{accesscontrol.MaskEmail, []byte("李@例え.jp"), "李***@例え.jp"},
		{accesscontrol.MaskEmail, "e\u0301va@x", "e***@x"},
		{accesscontrol.MaskEmail, " ann@x ", "a***@x"},
		{accesscontrol.MaskEmail, "a@", "a***@"},
		{accesscontrol.MaskEmail, "@x", "***"},
		{accesscontrol.MaskEmail, "a@b@c", "***"},
		{accesscontrol.MaskEmail, "ann", "***"},
		{accesscontrol.MaskEmail, "", "***"},
		{accesscontrol.MaskEmail, "a\x00@b", "***"},
		{accesscontrol.MaskEmail, "a\xff@b", "***"},
		{accesscontrol.MaskEmail, 1.5, "***"},
		{accesscontrol.MaskEmail, struct{}{}, "***"},
		{accesscontrol.MaskEmail, nil, nil},
		{accesscontrol.MaskEmail, none, nil},
		{accesscontrol.MaskEmail, sql.NullString{}, nil},
		{accesscontrol.MaskEmail, []byte(nil), nil},
		{accesscontrol.MaskYear, "1987-05-03", "1987"},
		{accesscontrol.MaskYear, "1987-05-03 10:00", "1987"},
		{accesscontrol.MaskYear, "1987-05-03T10:00:00Z", "1987"},
		{accesscontrol.MaskYear, "1987-05-03\n", "****"},
		{accesscontrol.MaskYear, "1987-05-03 BC", "****"},
		{accesscontrol.MaskYear, "0987-05-03", "****"},
		{accesscontrol.MaskYear, "1987-00-00", "****"},
		{accesscontrol.MaskYear, "19870503", "****"},
		{accesscontrol.MaskYear, "03.05.1987", "****"},
		{accesscontrol.MaskYear, 1987, "****"},
		{accesscontrol.MaskYear, nil, nil},
		{accesscontrol.MaskYear, time.Date(1987, 1, 1, 0, 30, 0, 0, time.FixedZone("", 3600)), "1986"},
		{accesscontrol.MaskYear, time.Time{}, "****"},
		{accesscontrol.MaskYear, time.Date(999, 12, 31, 0, 0, 0, 0, time.UTC), "****"},
		{accesscontrol.MaskYear, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), "****"},
		{accesscontrol.MaskLast4, "DE89 3704", "***3704"},
		{accesscontrol.MaskLast4, "12345678", "***5678"},
		{accesscontrol.MaskLast4, "1234567", "***"},
		{accesscontrol.MaskLast4, "    1234", "***"},
		{accesscontrol.MaskLast4, "北京北京北京北京", "***北京北京"},
		{accesscontrol.MaskLast4, int64(491701234), "***1234"},
		{accesscontrol.MaskLast4, true, "***"},
		{accesscontrol.MaskLast4, nil, nil},
		{accesscontrol.MaskAll, "x", "***"},
		{accesscontrol.MaskAll, false, "***"},
		{accesscontrol.MaskAll, nil, nil},
		{"", "ann@example.com", "***"},
	} {
		require.Equal(t, c.want, c.mask.Apply(c.in), "%s of %q", c.mask, c.in)
	}
}

// maskTypes are the columns that hold a value as a text, or as much of it as
// they take.
var maskTypes = map[testdb.Name][]string{
	testdb.SQLite:    {"TEXT", "TEXT COLLATE NOCASE", "TEXT COLLATE RTRIM"},
	testdb.PostgresC: {"text", "varchar(40)", "char(40)", "citext", "text COLLATE loose"},
	testdb.MariaDB:   {"LONGTEXT COLLATE utf8mb4_unicode_ci", "VARCHAR(40) COLLATE utf8mb4_general_ci", "CHAR(40) COLLATE utf8mb4_bin", "VARBINARY(200)"},
}

// hostile are texts that something in the way of a mask takes for others.
func hostile(r *rand.Rand, n int) []string {
	out := []string{
		"", " ", "@", "@@", "a@", "@a", "a@b", "ann@example.com", "ANN@EXAMPLE.COM", " a@b ", "a b@c", "a@b@c", "a＠b", "＠＠＠＠＠＠＠＠＠", "e\u0301@x", "\u0301@x", "\U0001F468\u200d\U0001F469@x", "ß@x", "İ@x", "\u200b@x", "\ufeff@x", "\u3000a@b\u3000",
		"a'@b", `a\@b`, "a?@b", "$1@b", "%@_", "a\n@b", "\t@b", "NULL", "***", "a***@b", "\U0010FFFF@b", "\ue000@b", "ﬀ@b", "\u202e@b",
		"1234567", "12345678", "123456789", "1234567 ", " 1234567", "   12345   ", "١٢٣٤٥٦٧٨", "１２３４５６７８", "12345é78", "1234567\u0301", "\U0001F600\U0001F600\U0001F600\U0001F600\U0001F600\U0001F600\U0001F600\U0001F600", "00000000", "[1,2,3,4,5]", "{1,2,3,4,5}", "1\n2\n3\n4\n5",
		"1987-05-03", "1987-05-03 ", "1987-05-03 10:00", "1987-05-03T1", "1987-05-03T", "1987-05-03\n", "1987-05-03\n10", "1987-05-03t10", "1987-05-03  1", "1987-05-031", "1987-05-03é", "1987-05-03 BC", "0987-05-03", "0000-00-00", "9999-12-31", "10000-01-01", "-1987-05-03", "1987-5-3", "1987/05/03", "１９８７-05-03", "١٩٨٧-05-03", "1987‑05‑03", "abcd-ef-gh", "infinity", "-infinity", "1987-99-99", "1987-00-03", "1987-13-01", "1987-12-32", "1987-02-31", "1987-12-00", "1987-W05-3", "\n1987-05-03", " 1987-05-03",
		strings.Repeat("x", 100_000) + "@" + strings.Repeat("y", 100_000), strings.Repeat("@", 50_000), strings.Repeat("北", 30_000),
	}
	parts := []string{"@", "@", "@", "a", "Z", "é", "e\u0301", "\u0301", "\u200d", "\U0001F600", "０", "1", "9", "0", "-", "T", " ", " ", "\u3000", "\t", "\n", ".", "＠", "%", "_", "'", `\`, "?", "$1", "{", "ſ", "İ", "ß", "1987-05-03", "1987-1", "2-31", "\u00a0"}
	for range n {
		var b strings.Builder
		for range r.IntN(14) {
			b.WriteString(pick(r, parts))
		}
		out = append(out, b.String())
	}
	return out
}

// tokens are what a select list is made of.
var tokens = regexp.MustCompile("'[^']*'|\"[A-Za-z][a-z0-9_]*\"|`[a-z][a-z0-9_]*`|\\$?[A-Za-z0-9_]+|[ (),.:=<>?+|~\\[\\]-]")

// fixedTokens are those of them that no placeholder and no name of the binding is.
const fixedTokens = ` as case when then else end is null not true false and or in any cast convert using utf8mb4 collate utf8mb4_bin binary char datetime select value from json_each
 text bigint boolean uuid timestamptz integer instr strpos substr trim btrim length char_length right concat year extract at time zone between regexp glob like escape date
 exists from where rand group by having count distinct with recursive union
 "C" 0 1 2 3 4 6 8 9 10 1000 9999`

var fixedLiterals = []string{
	"'!'", "'***'", "'****'", "'@'", "'UTC'", "'01'", "'12'", "'31'", "'^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}'", "'^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}[T ][0-9]'",
	"'[1-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'", "'[1-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9][T ][0-9]*'",
}

// requireFixed holds where nothing but names, fixed words and placeholders
// stands in a select list.
func requireFixed(t *testing.T, text string) {
	t.Helper()
	require.Empty(t, tokens.ReplaceAllString(text, ""))
	fixed := append(strings.Fields(fixedTokens), fixedLiterals...)
	for _, token := range tokens.FindAllString(text, -1) {
		name := strings.ContainsAny(token[:1], "$\"`") || len(token) == 1 && strings.Contains(" (),.:=<>?+|~[]-", token)
		if !name && !slices.Contains(fixed, token) && !slices.Contains(fixed, strings.ToLower(token)) {
			t.Fatalf("%s stands in the list", token)
		}
	}
}

// What the database shows of a value is what Apply shows of it, whatever the
// value, the type of its column and the collation.
func TestMasksOfTheDatabaseEqualApply(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		db := d.OpenWith(t, driver)
		db.SetMaxOpenConns(1) // the session has a time zone
		exec := func(query string, args ...any) {
			t.Helper()
			_, err := db.ExecContext(t.Context(), query, args...)
			require.NoError(t, err)
		}
		types, place := maskTypes[d.Name], func(int) string { return "?" }
		strict := map[bool]string{true: " STRICT"}[d.Name == testdb.SQLite]
		if strings.HasPrefix(string(d.Name), "postgres") {
			types, place = maskTypes[testdb.PostgresC], func(n int) string { return "$" + strconv.Itoa(n) }
			exec(`CREATE EXTENSION citext`)
			exec(`CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false)`)
			exec(`SET TIME ZONE 'Asia/Shanghai'`)
		}
		ddl, columns := "CREATE TABLE people (id INTEGER PRIMARY KEY, tenant "+types[0]+" NOT NULL", []accesscontrol.Column(nil)
		for i, typ := range types {
			name := "c" + strconv.Itoa(i)
			ddl += ", " + name + " " + typ
			for _, mask := range []accesscontrol.Mask{accesscontrol.MaskEmail, accesscontrol.MaskYear, accesscontrol.MaskLast4, accesscontrol.MaskAll} {
				columns = append(columns, accesscontrol.Column{Attr: name + string(mask), Name: name, Mask: mask})
			}
		}
		exec(ddl + ")" + strict)
		values := hostile(rand.New(rand.NewPCG(20261128, uint64(len(driver)))), 300)
		if !strings.HasPrefix(string(d.Name), "postgres") {
			values = append(values, "\x00", "a\x00@b", "a@b\x00", "\x001987-05-03", "1987-05-03\x00", "12345678\x00")
		}
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		for i, v := range append(values, "a\xff@b", "12345678\xc3", "1987-05-03 1\xff") {
			places, args := []string{place(1), place(2)}, []any{i, "main"}
			for n, typ := range types {
				places = append(places, place(n+3))
				switch fits := !strings.Contains(typ, "40") || len([]rune(v)) <= 40; {
				case strings.HasPrefix(typ, "VARBINARY") && len(v) <= 200:
					args = append(args, []byte(v))
				case !fits || strings.HasPrefix(typ, "VARBINARY") || i >= len(values):
					args = append(args, nil)
				default:
					args = append(args, v)
				}
			}
			_, err := tx.ExecContext(t.Context(), "INSERT INTO people VALUES ("+strings.Join(places, ", ")+")", args...)
			require.NoError(t, err, "%q", v)
		}
		require.NoError(t, tx.Commit())
		list := maskedList(t, columns)
		names := make([]string, 0, len(columns))
		for _, c := range columns {
			names = append(names, c.Name)
		}
		differences, shown := 0, 0
		_, rows := queried(t, db, d, list, "people", names...)
		require.Len(t, rows, len(values)+3)
		for _, row := range rows {
			for i, c := range columns {
				raw, got := row[len(columns)+i], row[i]
				if want := c.Mask.Apply(raw); want != spoken(got) {
					differences++
					t.Errorf("%s of %.60q in %s: Apply %.60q, the database %.60q", c.Mask, raw, types[i/4], want, got)
				}
				if got != nil && strings.Trim(fmt.Sprint(spoken(got)), "*") != "" {
					shown++
				}
			}
		}
		t.Logf("%d values in %d columns, %d of them shown in part", len(values), len(types), shown)
		require.Zero(t, differences)
		require.Greater(t, shown, 300, "the values must have something to show")
	})
}

// maskedList binds columns so that all of them are shown under their masks, but
// for what further policies say.
func maskedList(t *testing.T, columns []accesscontrol.Column, policies ...string) accesscontrol.Columns {
	t.Helper()
	group := accesscontrol.Group{Name: "all", Action: "person.read.pii"}
	for _, c := range columns {
		group.Fields = append(group.Fields, c.Attr)
	}
	policy, err := accesscontrol.Load(t.Context(), accesscontrol.Config{
		Texts: map[string]string{
			"people.cedarschema": `entity User; entity Person = { day_read?: datetime, due?: datetime, n?: Long }; action "person.read", "person.read.pii" appliesTo { principal: User, resource: Person };`,
			"people.cedar":       `@id("all") permit (principal, action == Action::"person.read", resource);` + strings.Join(policies, "\n"),
		},
		Tables: []accesscontrol.Table{{
			Resource: "person", Entity: "Person", Name: "people", Key: "id", KeyAs: accesscontrol.Integer, Tenant: "tenant", Read: "person.read",
			Columns: columns, Groups: []accesscontrol.Group{group},
		}},
	})
	require.NoError(t, err)
	list, err := policy.Columns(t.Context(), accesscontrol.Principal{Tenant: "main", ID: "ann"}, "person")
	require.NoError(t, err)
	return list
}

// queried reads a select list and the columns named, from the rows that the
// list belongs to.
func queried(t *testing.T, db querier, d testdb.Database, list accesscontrol.Columns, table string, names ...string) (columns []string, out [][]any) {
	t.Helper()
	text, args := list.SQLite("c")
	condition, more := list.Where().SQLite("c")
	mark := "`"
	switch {
	case strings.HasPrefix(string(d.Name), "postgres"):
		text, args = list.Postgres("c", 1)
		condition, more = list.Where().Postgres("c", 1+len(args))
		mark = `"`
	case d.Name == testdb.MariaDB:
		text, args = list.MySQL("c")
		condition, more = list.Where().MySQL("c")
	}
	requireFixed(t, text)
	var query strings.Builder
	query.WriteString("SELECT " + text)
	for _, name := range names {
		query.WriteString(", c." + mark + name + mark)
	}
	rows, err := db.QueryContext(t.Context(), query.String()+" FROM "+table+" AS c WHERE "+condition, append(args, more...)...)
	require.NoError(t, err, query.String())
	defer func() { require.NoError(t, rows.Close()) }()
	columns, err = rows.Columns()
	require.NoError(t, err)
	for rows.Next() {
		row, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		require.NoError(t, rows.Scan(into...))
		out = append(out, row)
	}
	require.NoError(t, rows.Err())
	return columns, out
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// spoken is a text as a string, whatever a driver gives it as.
func spoken(v any) any {
	if raw, is := v.([]byte); is {
		return string(raw)
	}
	return v
}
