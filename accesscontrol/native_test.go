package accesscontrol_test

import (
	"database/sql"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Items with columns of each database's own types, and texts under collations
// that take different ones for equal.

var nativeDDL = map[testdb.Name]string{
	testdb.SQLite: "CREATE TABLE items (id TEXT PRIMARY KEY COLLATE NOCASE, tenant TEXT NOT NULL COLLATE NOCASE, owner TEXT NOT NULL COLLATE RTRIM, `order` TEXT, backup TEXT, stage TEXT NOT NULL COLLATE NOCASE, region TEXT," +
		" amount INTEGER NOT NULL, score INTEGER, flag INTEGER NOT NULL, blocked INTEGER, uid TEXT, kind TEXT, small INTEGER, day TEXT, until TEXT COLLATE RTRIM) STRICT",
	testdb.PostgresC: `CREATE TYPE kind AS ENUM ('', 'new', 'Won', 'won ', '北京', 'it''s'); CREATE TABLE items (id text PRIMARY KEY, tenant text NOT NULL, owner text NOT NULL, "order" varchar(60), backup text, stage varchar(60) NOT NULL, region text,
		amount bigint NOT NULL, score integer, flag boolean NOT NULL, blocked boolean, uid uuid, kind kind, small smallint, day date, until date, due timestamptz)`,
	testdb.MariaDB: "CREATE TABLE items (id VARCHAR(60) COLLATE utf8mb4_general_ci PRIMARY KEY, tenant VARCHAR(60) COLLATE utf8mb4_general_ci NOT NULL, owner CHAR(40) COLLATE utf8mb4_unicode_ci NOT NULL, `order` VARCHAR(60) COLLATE utf8mb4_bin, backup VARBINARY(255)," +
		" stage VARCHAR(60) COLLATE utf8mb4_general_ci NOT NULL, region TEXT COLLATE utf8mb4_unicode_ci, amount BIGINT NOT NULL, score INT, flag BOOLEAN NOT NULL, blocked BOOLEAN," +
		" uid UUID, kind ENUM('', 'new', 'Won', '北京', 'it''s') COLLATE utf8mb4_bin, small BIT(1), day DATE, until DATE, due DATETIME(6))",
}

// nativeDB has n such items, and a table of their ids and of one that is none.
func nativeDB(t *testing.T, d testdb.Database, g generator, n int) *sql.DB {
	t.Helper()
	drivers := d.Name.Drivers()
	db := d.OpenWith(t, drivers[0])
	if d.Name == testdb.PostgresICU { // the two databases of PostgreSQL take a driver each
		db = d.OpenWith(t, drivers[len(drivers)-1])
	}
	ddl := nativeDDL[d.Name]
	if d.Name == testdb.PostgresICU {
		ddl = nativeDDL[testdb.PostgresC]
	}
	exec := func(query string, args ...any) {
		_, err := db.ExecContext(t.Context(), query, args...)
		require.NoError(t, err, query)
	}
	for statement := range strings.SplitSeq(ddl, "; ") {
		exec(statement)
	}
	orNull := func(v any) any {
		if g.IntN(3) == 0 {
			return nil
		}
		return v
	}
	postgres := strings.HasPrefix(string(d.Name), "postgres")
	columns := []string{"id", "tenant", "owner", "order", "backup", "stage", "region", "amount", "score", "flag", "blocked", "uid", "kind", "small", "day", "until", "due"}
	if d.Name == testdb.SQLite {
		columns = columns[:len(columns)-1]
	}
	places := make([]string, len(columns))
	for i, c := range columns {
		places[i] = "?"
		columns[i] = "`" + c + "`"
		if postgres {
			places[i], columns[i] = "$"+strconv.Itoa(i+1), `"`+c+`"`
		}
	}
	insert := "INSERT INTO items (" + strings.Join(columns, ", ") + ") VALUES (" + strings.Join(places, ", ") + ")"
	for i := range n {
		tenant := "main"
		if g.IntN(10) == 0 {
			tenant = pick(g.Rand, []string{"Main", "main ", "other", "máin"})
		}
		var small, flag any = g.IntN(2), g.IntN(2)
		if postgres {
			flag = flag == 1
		}
		if d.Name == testdb.MariaDB {
			small = []byte{byte(small.(int))}
		}
		var blocked any = g.IntN(2) == 0
		score := any(int32(pick(g.Rand, []int64{0, 1, -1, 7, 42, 1<<31 - 1, -1 << 31})))
		args := []any{
			"i" + strconv.Itoa(i), tenant, pick(g.Rand, users), orNull(pick(g.Rand, teams)), orNull(pick(g.Rand, users)), pick(g.Rand, edgeTexts), orNull(pick(g.Rand, edgeTexts)),
			pick(g.Rand, edgeInts), orNull(score), flag, orNull(blocked), orNull(pick(g.Rand, nativeUUIDs[:3])), orNull(pick(g.Rand, nativeKinds[:5])), orNull(small), orNull(pick(g.Rand, nativeDays)), orNull(pick(g.Rand, nativeDays)), orNull(pick(g.Rand, nativeTimes).Format("2006-01-02 15:04:05.000000")),
		}
		exec(insert, args[:len(columns)]...)
	}
	exec("CREATE TABLE ids AS SELECT id FROM items UNION ALL SELECT 'none'")
	return db
}

var (
	nativeUUIDs = []string{"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-4000-8000-000000000000", "ffffffff-0000-4000-8000-00000000000f", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "ann", ""}
	nativeKinds = []string{"", "new", "Won", "北京", "it's", "won", "new ", "no label", "1", "0"}
	nativeTimes = []time.Time{
		time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 22, 0, 0, 0, 999e3, time.UTC), time.Date(2026, 11, 22, 0, 0, 0, 1e6, time.UTC),
		time.Date(2026, 11, 21, 23, 59, 59, 999_999e3, time.UTC), time.Date(1969, 12, 31, 23, 59, 59, 999_500e3, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999_999e3, time.UTC), time.Date(1000, 1, 1, 0, 0, 0, 0, time.UTC),
	}
)

// nativeConfig binds them.
func nativeConfig(name testdb.Name, policies string) accesscontrol.Config {
	config := itemConfig(policies)
	config.Texts["item.cedarschema"] = strings.Replace(itemSchema, "secret?: String,", "uid?: User, kind?: String, small?: Bool, day?: datetime, until?: datetime, secret?: String,", 1)
	table := &config.Tables[0]
	table.Columns = table.Columns[:9]
	table.Columns[3].Like, table.Columns[4].Like = true, true
	uid, kind, small := accesscontrol.Column{Attr: "uid", As: accesscontrol.UUID}, accesscontrol.Column{Attr: "kind", As: accesscontrol.Enum}, accesscontrol.Column{Attr: "small", As: accesscontrol.Integer}
	switch name {
	case testdb.SQLite:
		uid.As = ""
	case testdb.MariaDB:
		small.As = "" // BIT(1)
	default:
	}
	table.Columns = append(table.Columns, uid, kind, small, accesscontrol.Column{Attr: "day", As: accesscontrol.Date}, accesscontrol.Column{Attr: "until", As: accesscontrol.Date})
	if name != testdb.SQLite {
		table.Columns = append(table.Columns, accesscontrol.Column{Attr: "due", As: accesscontrol.Timestamp})
	}
	return config
}

// nativeRecords reads the items as an application does, into any: what each
// driver makes of a column.
func nativeRecords(t *testing.T, db *sql.DB, name testdb.Name) []accesscontrol.Resource {
	t.Helper()
	return nativeRows(t, db, "SELECT * FROM items")
}

func nativeRows(t *testing.T, db *sql.DB, query string, args ...any) []accesscontrol.Resource {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
	require.NoError(t, err, query)
	defer func() { require.NoError(t, rows.Close()) }()
	columns, err := rows.Columns()
	require.NoError(t, err)
	var out []accesscontrol.Resource
	for rows.Next() {
		values := make([]any, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(t, rows.Scan(into...))
		r := accesscontrol.Resource{Type: "item", Attrs: map[string]any{}}
		for i, column := range columns {
			switch column {
			case "id":
				r.ID = fmt.Sprintf("%s", values[i])
			case "tenant":
				r.Tenant = fmt.Sprintf("%s", values[i])
			case "order":
				r.Attrs["team"] = values[i]
			default:
				r.Attrs[column] = values[i]
			}
		}
		out = append(out, r)
	}
	require.NoError(t, rows.Err())
	return out
}

// forCedar is a record as Cedar takes it, which knows no time without a zone.
func forCedar(r accesscontrol.Resource) accesscontrol.Resource {
	attrs := map[string]any{}
	maps.Copy(attrs, r.Attrs)
	if text, is := attrs["due"].([]byte); is {
		at, err := time.Parse("2006-01-02 15:04:05.000000", string(text))
		if err != nil {
			panic(err)
		}
		attrs["due"] = at
	}
	r.Attrs = attrs
	return r
}

// nativeAtom is a condition about what the databases have types of their own
// for.
func (g generator) nativeAtom() string {
	if g.IntN(6) == 0 {
		return pick(g.Rand, []func() string{g.likeAtom, g.dayAtom})()
	}
	n := 7
	if g.times {
		n = 11
	}
	datetime := func() string {
		return pick(g.Rand, []string{"principal.clock", "principal.clock", `datetime("2026-11-21T23:59:59.999Z")`, `datetime("1969-12-31T23:59:59.999Z")`, `datetime("9999-12-31T23:59:59.999Z")`, `datetime("0000-01-01")`, `datetime("9999-12-31T23:59:59.999Z").offset(duration("1ms"))`})
	}
	switch g.IntN(n) {
	case 0:
		return g.guarded("uid", "resource.uid "+g.equal()+" User::"+quote(pick(g.Rand, nativeUUIDs)))
	case 1:
		return g.guarded("uid", "[User::"+quote(pick(g.Rand, nativeUUIDs))+", principal, User::"+quote(nativeUUIDs[g.IntN(2)])+"].contains(resource.uid)")
	case 2:
		return g.guarded("kind", "resource.kind "+g.equal()+" "+quote(pick(g.Rand, nativeKinds)))
	case 3:
		return g.guarded("kind", pick(g.Rand, []string{g.set(literalText(g)), "principal.tags", `["new", "Won", "no label"]`})+".contains(resource.kind)")
	case 4:
		return g.guarded("kind", "resource.kind "+g.equal()+" resource.stage")
	case 5:
		return g.guarded("small", "resource.small")
	case 6:
		return g.guarded("small", "resource.small "+g.equal()+" "+pick(g.Rand, []string{"resource.flag", "true", "false"}))
	case 7:
		return g.guarded("due", "["+datetime()+", principal.clock].contains(resource.due)")
	case 8:
		return g.guarded("due", datetime()+" "+g.ordered()+" resource.due")
	default:
		return g.guarded("due", "resource.due "+g.ordered()+" "+datetime())
	}
}

// nativePrincipals have lists that are longer than what stands as single
// arguments.
func nativePrincipals() []accesscontrol.Principal {
	out := itemPrincipals()
	long := &out[2]
	tags, nums, groups := append([]string{}, edgeTexts...), append([]int64{}, edgeInts...), append([]string{}, teams...)
	for i := range 60 {
		tags = append(tags, "tag "+strconv.Itoa(i)+` {},"\`)
		nums = append(nums, int64(1000+i))
		groups = append(groups, "g"+strconv.Itoa(i))
	}
	long.Attrs["tags"], long.Attrs["nums"], long.Attrs["teams"] = tags[3:], nums[2:], groups[2:]
	return out
}
