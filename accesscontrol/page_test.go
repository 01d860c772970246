package accesscontrol_test

import (
	"cmp"
	"database/sql"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/internal/value"
)

// paged reads one page of items: the rows, as an application reads them.
func paged(t *testing.T, db *sql.DB, d testdb.Database, where accesscontrol.Where, page accesscontrol.Page, size int) []accesscontrol.Resource {
	t.Helper()
	condition, args := rendered(d, where, "c")
	behind, order, more := page.Postgres("c", 1+len(args))
	switch d.Name {
	case testdb.SQLite:
		behind, order, more = page.SQLite("c")
	case testdb.MariaDB:
		behind, order, more = page.MySQL("c")
	default:
	}
	return nativeRows(t, db, "SELECT c.* FROM items c WHERE "+condition+" AND "+behind+" ORDER BY "+order+" LIMIT "+strconv.Itoa(size), append(args, more...)...)
}

// orders of all fields, each of another type.
func (g generator) orders() (out []accesscontrol.Order) {
	fields := []string{"owner", "team", "backup", "stage", "region", "amount", "score", "flag", "blocked", "uid", "kind", "small", "day", "until"}
	if g.times {
		fields = append(fields, "due")
	}
	g.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	for _, field := range fields[:g.IntN(4)] {
		out = append(out, accesscontrol.Order{Field: field, Desc: g.IntN(2) == 0})
	}
	return out
}

// place is a value as it is ordered: nil before false before true, numbers by
// number, texts by their bytes.
func place(t *testing.T, field string, v any) any {
	t.Helper()
	read, err := value.Of(v)
	require.NoError(t, err)
	if read.IsNull() {
		return nil
	}
	var n int64
	switch field {
	case "amount", "score":
		n, err = read.Integer()
	case "flag", "blocked", "small":
		var yes bool
		if yes, err = read.Boolean(); yes {
			n = 1
		}
	case "due":
		var at time.Time
		at, err = read.Time(time.UTC)
		n = at.UnixMicro()
	case "day", "until":
		var text string
		text, err = read.Date()
		require.NoError(t, err)
		return text
	case "uid":
		var id string
		id, err = read.ID()
		require.NoError(t, err)
		return strings.ToLower(id)
	default:
		var text string
		text, err = read.Text()
		require.NoError(t, err)
		return text
	}
	require.NoError(t, err)
	return n
}

func inOrder(t *testing.T, by []accesscontrol.Order, a, b accesscontrol.Resource) int {
	t.Helper()
	for _, o := range by {
		x, y := place(t, o.Field, a.Attrs[o.Field]), place(t, o.Field, b.Attrs[o.Field])
		c := 0
		switch x := x.(type) {
		case nil:
			if y != nil {
				c = -1
			}
		case int64:
			if c = 1; y != nil {
				c = cmp.Compare(x, y.(int64))
			}
		case string:
			if c = 1; y != nil {
				c = cmp.Compare(x, y.(string))
			}
		}
		if o.Desc {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(a.ID, b.ID)
}

// Pages of any size hold each row that the filter permits once, in an order
// that is the same on every database; rows that come and go meanwhile make none
// be skipped, or shown twice, that stayed.
func TestPagesHoldEachRowOnce(t *testing.T) {
	rounds := number(t, "CRMGUARD_RANDOM_ROUNDS", 90) / 6
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		g := generator{Rand: rand.New(rand.NewPCG(number(t, "CRMGUARD_SEED", 20261128), 7)), times: d.Name != testdb.SQLite}
		db := nativeDB(t, d, g, 60)
		policy, err := accesscontrol.Load(t.Context(), nativeConfig(d.Name, `@id("all") permit (principal, action, resource); @id("lead") forbid (principal, action, resource) when { resource.stage == "lead" };`))
		require.NoError(t, err)
		actor, err := policy.For(nativePrincipals()[0])
		require.NoError(t, err)
		where, err := actor.Filter(t.Context(), "read", "item")
		require.NoError(t, err)
		exec := func(query string, args ...any) {
			_, err := db.ExecContext(t.Context(), query, args...)
			require.NoError(t, err, query)
		}
		added := 0
		for round := range rounds {
			by := g.orders()
			var want []accesscontrol.Resource
			for _, r := range nativeRecords(t, db, d.Name) {
				if actor.Check(t.Context(), "read", r) == nil {
					want = append(want, r)
				}
			}
			slices.SortFunc(want, func(a, b accesscontrol.Resource) int { return inOrder(t, by, a, b) })
			changing, gone := round%2 == 1, map[string]bool{}
			seen, size, after := []string{}, 1+g.IntN(13), ""
			for {
				page, err := actor.Page(t.Context(), "item", by, after)
				require.NoError(t, err)
				rows := paged(t, db, d, where, page, size)
				for _, r := range rows {
					seen = append(seen, r.ID)
				}
				if len(rows) < size {
					break
				}
				require.Less(t, len(seen), 1000, "%v by %d", by, size)
				after, err = page.Cursor(rows[len(rows)-1])
				require.NoError(t, err)
				if changing {
					victim := pick(g.Rand, want).ID
					if g.IntN(3) > 0 { // the row that the next page begins behind
						victim = seen[len(seen)-1]
					}
					gone[victim] = true
					exec("DELETE FROM items WHERE id = '" + victim + "'")
					added++
					exec(fmt.Sprintf("INSERT INTO items (id, tenant, owner, stage, amount, flag) SELECT 'n%d', tenant, owner, stage, amount, flag FROM items WHERE id = '%s'", added, pick(g.Rand, want).ID))
				}
			}
			var expected []string
			for _, r := range want {
				if !gone[r.ID] {
					expected = append(expected, r.ID)
				}
			}
			stayed := slices.DeleteFunc(slices.Clone(seen), func(id string) bool {
				return gone[id] || !slices.ContainsFunc(want, func(r accesscontrol.Resource) bool { return r.ID == id })
			})
			require.Equal(t, expected, stayed, "%v by %d", by, size)
			slices.Sort(seen)
			require.Len(t, slices.Compact(slices.Clone(seen)), len(seen), "a row is shown twice")
		}
	})
}

// Texts that begin alike are told apart, or, where the database does not sort
// by all of them, ordered by what stands behind.
func TestPagesOfLongTexts(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		ddl := "CREATE TABLE deals (id VARCHAR(20) PRIMARY KEY, tenant VARCHAR(20) NOT NULL, stage TEXT NOT NULL, other TEXT)"
		_, err := db.ExecContext(t.Context(), ddl)
		require.NoError(t, err)
		var want []string
		for i := range 40 {
			id := fmt.Sprintf("d%02d", i)
			want = append(want, id)
			_, err := db.ExecContext(t.Context(), "INSERT INTO deals VALUES ('"+id+"', 'main', '"+strings.Repeat("é", 600)+fmt.Sprintf("%02d", (40-i)*7%40)+"', NULL)")
			require.NoError(t, err)
		}
		policy, err := accesscontrol.Load(t.Context(), likeConfig(`@id("all") permit (principal, action, resource);`))
		require.NoError(t, err)
		actor, err := policy.For(accesscontrol.Principal{Tenant: "main", ID: "ann"})
		require.NoError(t, err)
		var seen []string
		for after := ""; ; {
			page, err := actor.Page(t.Context(), "deal", []accesscontrol.Order{{Field: "stage"}}, after)
			require.NoError(t, err)
			behind, order, args := page.Postgres("", 1)
			switch d.Name {
			case testdb.SQLite:
				behind, order, args = page.SQLite("")
			case testdb.MariaDB:
				behind, order, args = page.MySQL("")
			default:
			}
			require.LessOrEqual(t, len(seen), len(want), "a row is shown twice")
			var id, stage string
			err = db.QueryRowContext(t.Context(), "SELECT id, stage FROM deals WHERE "+behind+" ORDER BY "+order+" LIMIT 1", args...).Scan(&id, &stage)
			if err != nil {
				require.ErrorIs(t, err, sql.ErrNoRows)
				break
			}
			seen = append(seen, id)
			after, err = page.Cursor(accesscontrol.Resource{Type: "deal", ID: id, Attrs: map[string]any{"stage": stage}})
			require.NoError(t, err)
		}
		slices.Sort(seen)
		require.Equal(t, want, seen)
	})
}

// An order is made of declared fields that have one, and a cursor is of that
// order or refused, whatever stands in it.
func TestPagesAreOfDeclaredFieldsAndTheirCursors(t *testing.T) {
	config := nativeConfig(testdb.PostgresC, `@id("all") permit (principal, action, resource);`)
	config.Tables[0].Columns = append(config.Tables[0].Columns, accesscontrol.Column{Attr: "secret", Opaque: true}, accesscontrol.Column{Attr: "labels"}, accesscontrol.Column{Attr: "note"})
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	actor, err := policy.For(nativePrincipals()[0])
	require.NoError(t, err)
	by := func(fields ...string) (out []accesscontrol.Order) {
		for _, field := range fields {
			out = append(out, accesscontrol.Order{Field: field})
		}
		return out
	}
	for want, fields := range map[string][]string{
		"order id: no column of the binding is this field":          {"id"},
		`order stage" DESC: no column of the binding`:               {`stage" DESC`},
		"order unmapped: no column of the binding":                  {"unmapped"},
		"order secret: the column is sealed":                        {"secret"},
		"order labels: the schema gives it no type":                 {"labels"},
		"order note: the schema gives it no type":                   {"note"},
		"order stage: a list is sorted by it twice":                 {"stage", "stage"},
		"order item: a list is sorted by 8 fields at most":          {"owner", "team", "backup", "stage", "region", "amount", "score", "flag", "blocked"},
		"accesscontrol: bad request: resource deal: no table binds": nil,
	} {
		resource := "item"
		if fields == nil {
			resource = "deal"
		}
		_, err := actor.Page(t.Context(), resource, by(fields...), "")
		require.ErrorIs(t, err, accesscontrol.ErrRequest)
		require.ErrorContains(t, err, want)
	}

	order := by("amount", "due", "flag", "uid", "region")
	page, err := actor.Page(t.Context(), "item", order, "")
	require.NoError(t, err)
	record := accesscontrol.Resource{Type: "item", ID: "i1", Attrs: map[string]any{"amount": 7, "due": time.UnixMicro(1_700_000_000_000_001), "flag": true, "uid": strings.ToUpper(annUUID), "region": nil}}
	text, err := page.Cursor(record)
	require.NoError(t, err)
	plain, err := base64.RawURLEncoding.DecodeString(text)
	require.NoError(t, err)
	const written = `{"v":1,"resource":"item","by":["+amount","+due","+flag","+uid","+region"],"at":["7","1700000000000001","1","a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",null,"i1"]}`
	require.JSONEq(t, written, string(plain))
	next, err := actor.Page(t.Context(), "item", order, text)
	require.NoError(t, err)
	_, _, args := next.Postgres("", 1)
	require.Equal(t, []any{int64(7), int64(7), "2023-11-14T22:13:20.000001Z", "2023-11-14T22:13:20.000001Z", true, true, annUUID, annUUID, "i1"}, args)
	_, err = actor.Page(t.Context(), "item", order[:4], text)
	require.ErrorIs(t, err, accesscontrol.ErrCursor)
	order[1].Desc = true
	_, err = actor.Page(t.Context(), "item", order, text)
	require.ErrorIs(t, err, accesscontrol.ErrCursor, "another direction")
	order[1].Desc = false
	for _, change := range [][2]string{
		{`"v":1`, `"v":2`},
		{`"item"`, `"deal"`},
		{`"7"`, `"7.5"`},
		{`"7"`, `7`},
		{`"7"`, `null`},
		{`"7"`, `"9223372036854775808"`},
		{`"1700000000000001"`, `"9223372036854775807"`},
		{`"1","a0`, `"2","a0`},
		{`"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"`, `"A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11"`},
		{`,null`, ``},
		{`null`, `null,null`},
		{`}`, `}}`},
		{`"i1"`, `null`},
	} {
		changed := strings.Replace(written, change[0], change[1], 1)
		require.NotEqual(t, written, changed)
		_, err = actor.Page(t.Context(), "item", order, base64.RawURLEncoding.EncodeToString([]byte(changed)))
		require.ErrorIs(t, err, accesscontrol.ErrCursor, "%v", change)
		require.ErrorIs(t, err, accesscontrol.ErrRequest)
	}
	_, err = actor.Page(t.Context(), "item", by("day"), base64.RawURLEncoding.EncodeToString([]byte(`{"v":1,"resource":"item","by":["+day"],"at":["86400001","i1"]}`)))
	require.ErrorIs(t, err, accesscontrol.ErrCursor, "a time of day is no date")
	for _, cursor := range []string{"!", text + "=", text[:len(text)-3], " ", "bnVsbA"} {
		_, err = actor.Page(t.Context(), "item", order, cursor)
		require.ErrorIs(t, err, accesscontrol.ErrCursor, cursor)
	}
	for name, attrs := range map[string]map[string]any{"amount": {"amount": "x"}, "due": {"amount": 7, "flag": true, "due": "x"}, "flag": {"amount": 7}} {
		_, err = page.Cursor(accesscontrol.Resource{Type: "item", ID: "i1", Attrs: attrs})
		require.ErrorContains(t, err, "resource "+name)
	}
	_, err = page.Cursor(accesscontrol.Resource{Type: "deal", ID: "i1"})
	require.ErrorIs(t, err, accesscontrol.ErrRequest)
	behind, _, _ := accesscontrol.Page{}.SQLite("")
	require.Equal(t, "(1 = 0)", behind)
}
