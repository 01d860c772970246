package accesscontrol_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Schemas at random: entity types, their attributes, and the tables that they
// are bound to, under names that mean something to Cedar, SQL or this package.

var (
	plainAttrs   = []string{"order", "Order", "ORDER", "select", "stage", "owner", "value", "tenant", "id", "null", "group", "Set", "permit", "when", "context"}
	hostileAttrs = []string{"if", "in", "has", "is", "like", "true", "then", "else", "principal", "resource", "order by", "it's", `quo"te`, `back\slash`, "ti`ck", "se;--", "北京", "ünï", "$1", "?", "%s", "a.b", "{x}", "line\nbreak"}
	hostileNames = []string{
		"select", "order", "Group", "value", "key", "c", "crmguard_1", "bytes", "depth", "true", "NULL", "user", "_", "x9", "json_each", "current_user", "default", "check", "from", "WHERE",
		"Value", "GROUP", "User", "table", "Primary", strings.Repeat("n", 63), "end", "Case", "when", "desc", "Limit", "cast", "binary", "collate",
	}
	drawnTypes = []string{"Item", "Select", "Table_0"}
)

// drawnAttr is an attribute and the column, or the set of pairs, that it is
// bound to.
type drawnAttr struct {
	name string
	// kind is String, Long, Bool or datetime, or the entity type that it refers to.
	kind           string
	set, required  bool
	like, join     bool
	column, ddl    string
	as             accesscontrol.ColumnType
	labels         []string // of an enumeration
	pairs          string   // the table of a set
	pairsOnly      bool     // which belongs to one tenant
	values, wanted []string // what rows hold, and what policies ask beside that
}

// access is how a policy writes the attribute of a record, and word how it
// asks whether it is there.
func (a drawnAttr) access(base string) string {
	if slices.Contains(plainAttrs, a.name) {
		return base + "." + a.name
	}
	return base + "[" + quote(a.name) + "]"
}

func (a drawnAttr) word() string {
	if slices.Contains(plainAttrs, a.name) {
		return a.name
	}
	return quote(a.name)
}

// literal is one of its values as a policy writes it.
func (a drawnAttr) literal(g generator) string {
	v := pick(g.Rand, a.values)
	if len(a.wanted) > 0 && g.IntN(4) == 0 {
		v = pick(g.Rand, a.wanted)
	}
	switch a.kind {
	case "String":
		return quote(v)
	case "Long", "Bool", "datetime":
		return v
	default:
		return a.kind + "::" + quote(v)
	}
}

// drawnTable is an entity type and its table.
type drawnTable struct {
	entity, name, key, tenant string
	keyAs, tenantAs           accesscontrol.ColumnType
	only                      string
	ids                       []string
	attrs                     []drawnAttr
	groups                    bool
}

func (t drawnTable) resource() string { return strings.ToLower(t.entity) }

// schemaWorld is one schema on one database.
type schemaWorld struct {
	generator
	database testdb.Name
	round    uint64
	// idText is the type of the columns of texts that are linked, which have one
	// collation.
	idText  string
	tenants []string
	// tenantAs are the types that a column of tenants may have.
	tenantAs []accesscontrol.ColumnType
	tables   []drawnTable
	types    []string // enumerations of PostgreSQL, to be dropped
	ddl      []string
}

func (w *schemaWorld) postgres() bool { return strings.HasPrefix(string(w.database), "postgres") }

func (w *schemaWorld) quoted(name string) string {
	if w.postgres() {
		return `"` + name + `"`
	}
	return "`" + name + "`"
}

// on is what stands for this database.
func on[T any](w *schemaWorld, sqlite, postgres, maria []T) T {
	switch {
	case w.database == testdb.SQLite:
		return pick(w.Rand, sqlite)
	case w.postgres():
		return pick(w.Rand, postgres)
	default:
		return pick(w.Rand, maria)
	}
}

func newSchemaWorld(g generator, name testdb.Name, round uint64) *schemaWorld {
	w := &schemaWorld{generator: g, database: name, round: round}
	w.idText = on(w, []string{"TEXT", "TEXT COLLATE NOCASE", "TEXT COLLATE RTRIM"}, []string{"text", "varchar(60)", `text COLLATE "C"`},
		[]string{"VARCHAR(60) COLLATE utf8mb4_general_ci", "VARCHAR(60) COLLATE utf8mb4_bin", "VARBINARY(60)", "CHAR(60) COLLATE utf8mb4_unicode_ci"})
	uuid := accesscontrol.UUID
	if name == testdb.SQLite {
		uuid = ""
	}
	switch g.IntN(4) {
	case 0:
		w.tenants, w.tenantAs = []string{"7", "8", "-1"}, []accesscontrol.ColumnType{"", accesscontrol.Integer}
	case 1:
		w.tenants, w.tenantAs = nativeUUIDs[:3], []accesscontrol.ColumnType{"", uuid}
	default:
		w.tenants, w.tenantAs = []string{"main", "other", "Main", "main ", "máin"}, []accesscontrol.ColumnType{""}
	}
	for i := range 1 + g.IntN(3) {
		w.tables = append(w.tables, w.table(i))
	}
	for i := range w.tables {
		w.attributes(&w.tables[i])
		w.create(w.tables[i])
	}
	return w
}

// ids are those of keys of a type.
func (w *schemaWorld) ids(as accesscontrol.ColumnType, prefix string) (out []string) {
	for i := range 18 {
		switch as {
		case accesscontrol.Integer:
			out = append(out, strconv.Itoa(i-2))
		case accesscontrol.UUID:
			out = append(out, fmt.Sprintf("a0eebc99-9c0b-4ef8-bb6d-%012x", i*7919))
		default:
			out = append(out, prefix+strconv.Itoa(i))
		}
	}
	if as == "" {
		out = append(out, "it's", "李", "7")
	}
	return out
}

func (w *schemaWorld) keyTypes() []accesscontrol.ColumnType {
	if w.database == testdb.SQLite {
		return []accesscontrol.ColumnType{"", "", accesscontrol.Integer}
	}
	return []accesscontrol.ColumnType{"", "", accesscontrol.Integer, accesscontrol.UUID}
}

func (w *schemaWorld) table(i int) drawnTable {
	t := drawnTable{entity: drawnTypes[i], groups: w.IntN(3) == 0}
	t.name = pick(w.Rand, []string{"order", "Select", "c", "crmguard_1", "from"}) + strconv.FormatUint(w.round, 10) + "_" + strconv.Itoa(i)
	if first := pick(w.Rand, hostileNames[:18]); w.round < 4 && first != "json_each" { // which SQLite would not call any more; no name twice in a database, or a driver remembers the other table
		t.name = first + strings.Repeat("_", int(w.round)*3+i)
	}
	t.keyAs, t.tenantAs = pick(w.Rand, w.keyTypes()), pick(w.Rand, w.tenantAs)
	t.ids = w.ids(t.keyAs, strings.ToLower(t.entity[:1]))
	t.key, t.tenant = pick(w.Rand, []string{"id", "ID", "index", "unique"}), pick(w.Rand, []string{"tenant", "TENANT", "grant", "tenant_id"})
	if w.IntN(4) == 0 {
		t.only, t.tenant, t.tenantAs = w.tenants[0], "", ""
	}
	return t
}

// attributes draws those of a table.
func (w *schemaWorld) attributes(t *drawnTable) {
	names := slices.Concat(plainAttrs, hostileAttrs)
	if w.IntN(2) == 0 {
		names = plainAttrs
	}
	columns := map[string]bool{}
	for _, c := range []string{"rownr", t.key, t.tenant} {
		columns[strings.ToLower(c)] = true
	}
	taken := map[string]bool{}
	for range 1 + w.IntN(8) {
		a := drawnAttr{name: pick(w.Rand, names), required: w.IntN(2) == 0}
		if taken[a.name] {
			continue
		}
		taken[a.name] = true
		a.column = pick(w.Rand, hostileNames)
		if plain := a.name; slices.Contains(plainAttrs, plain) && w.IntN(3) == 0 {
			a.column = plain
		}
		fold := strings.ToLower(a.column)
		if w.postgres() { // which tells names by their case
			fold = a.column
		}
		if columns[fold] || columns[strings.ToLower(fold)] && !w.postgres() {
			continue
		}
		columns[fold] = true
		w.typed(t, &a)
		t.attrs = append(t.attrs, a)
	}
}

// typed draws the type of an attribute and of its column.
func (w *schemaWorld) typed(t *drawnTable, a *drawnAttr) {
	sqlite := w.database == testdb.SQLite
	switch w.IntN(12) {
	case 0, 1, 2:
		a.kind = "String"
		a.values, a.wanted, a.like = edgeTexts, []string{"nowhere", "A "}, w.IntN(2) == 0
		a.ddl = on(w, []string{"TEXT", "TEXT COLLATE NOCASE", "TEXT COLLATE RTRIM"}, []string{"text", "varchar(60)", `text COLLATE "C"`},
			[]string{"VARCHAR(60) COLLATE utf8mb4_general_ci", "VARBINARY(90)", "TEXT COLLATE utf8mb4_unicode_ci", "CHAR(40) COLLATE utf8mb4_general_ci", "VARCHAR(60) COLLATE utf8mb4_bin"})
		switch {
		case !sqlite && w.IntN(5) == 0:
			w.uuid(a)
			a.like = false
		case !sqlite && w.IntN(5) == 0:
			w.enum(a, []string{"", "new", "Won", "北京", "it's"})
		}
	case 3, 4:
		a.kind = "Long"
		a.ddl = on(w, []string{"INTEGER", "INT"}, []string{"bigint", "integer", "smallint"}, []string{"BIGINT", "INT", "MEDIUMINT", "SMALLINT", "TINYINT"})
		bounds := map[string]int64{"BIGINT": 1 << 62, "INTEGER": 1 << 62, "INT": 1 << 31, "integer": 1 << 31, "smallint": 1 << 15, "SMALLINT": 1 << 15, "TINYINT": 1 << 7, "MEDIUMINT": 1 << 23, "bigint": 1 << 62}
		for _, n := range edgeInts {
			a.wanted = append(a.wanted, strconv.FormatInt(n, 10))
			if bound := bounds[a.ddl]; bound == 1<<62 || -bound <= n && n < bound {
				a.values = append(a.values, strconv.FormatInt(n, 10))
			}
		}
	case 5, 6:
		a.kind, a.values = "Bool", []string{"true", "false"}
		a.ddl = on(w, []string{"INTEGER", "INT"}, []string{"boolean"}, []string{"BOOLEAN", "BIT(1)", "TINYINT"})
		if w.IntN(3) == 0 {
			a.as = accesscontrol.Integer
			a.ddl = on(w, []string{"INTEGER"}, []string{"smallint", "integer", "bigint"}, []string{"TINYINT", "INT", "BIGINT"})
		}
	case 7:
		a.kind, a.as, a.ddl = "datetime", accesscontrol.Date, on(w, []string{"TEXT", "TEXT COLLATE RTRIM"}, []string{"date"}, []string{"DATE"})
		if !sqlite && w.IntN(2) == 0 {
			a.as, a.ddl = accesscontrol.Timestamp, on(w, []string{""}, []string{"timestamptz"}, []string{"DATETIME(6)", "DATETIME(3)", "DATETIME"})
		}
		for _, text := range []string{"2026-11-22", "2026-11-21T23:59:59.999Z", "2026-11-22T00:00:00.001Z", "2026-11-22T01:00:00+0100", "1970-01-01", "9999-12-31T23:59:59.999Z", "0001-01-02", "0000-01-01"} {
			a.values = append(a.values, `datetime("`+text+`")`)
		}
		a.wanted = []string{`datetime("9999-12-31T23:59:59.999Z").offset(duration("1ms"))`, "principal.clock"}
	case 8, 9, 10:
		w.reference(a)
	default:
		w.setOf(t, a)
	}
}

func (w *schemaWorld) uuid(a *drawnAttr) {
	a.as, a.ddl, a.values, a.wanted = accesscontrol.UUID, on(w, []string{""}, []string{"uuid"}, []string{"UUID"}), nativeUUIDs[:3], nativeUUIDs[3:]
}

func (w *schemaWorld) enum(a *drawnAttr, labels []string) {
	a.as, a.values, a.labels, a.wanted = accesscontrol.Enum, labels, labels, []string{"won", "new ", "no label", "1", "0"}
	list := make([]string, len(labels))
	for i, label := range labels {
		list[i] = "'" + strings.ReplaceAll(label, "'", "''") + "'"
	}
	a.ddl = "ENUM(" + strings.Join(list, ", ") + ") COLLATE utf8mb4_bin"
	if w.postgres() {
		a.ddl = "labels" + strconv.FormatUint(w.round, 10) + "_" + strconv.Itoa(len(w.types))
		w.types = append(w.types, a.ddl)
		w.ddl = append(w.ddl, "CREATE TYPE "+a.ddl+" AS ENUM ("+strings.Join(list, ", ")+")")
	}
}

func (w *schemaWorld) reference(a *drawnAttr) {
	if n := w.IntN(len(w.tables) + 2); n < len(w.tables) || w.IntN(2) == 0 {
		to := pick(w.Rand, w.tables)
		a.kind, a.as, a.join = to.entity, to.keyAs, w.IntN(4) > 0
		a.values, a.wanted = to.ids, []string{"07", "nobody", ""}
		a.ddl = w.keyType(a.as)
		return
	}
	a.kind, a.values, a.wanted, a.ddl = "User", users, []string{"nobody", "Ann "}, w.idText
	if w.IntN(2) == 0 {
		a.kind, a.values, a.wanted = "Team", setTeams, []string{"T2", "t2 "}
	}
	switch w.IntN(5) {
	case 0:
		a.as, a.ddl = accesscontrol.Integer, on(w, []string{"INTEGER"}, []string{"bigint", "integer"}, []string{"BIGINT", "INT"})
		a.values, a.wanted = []string{"7", "0", "-1", "42"}, []string{"07", "+7", "ann", ""}
	case 1:
		if w.database != testdb.SQLite {
			w.uuid(a)
		}
	case 2:
		if w.database != testdb.SQLite {
			w.enum(a, []string{"ann", "t1", "t2", "李", "7"})
		}
	}
}

func (w *schemaWorld) keyType(as accesscontrol.ColumnType) string {
	switch as {
	case accesscontrol.Integer:
		return on(w, []string{"INTEGER"}, []string{"bigint"}, []string{"BIGINT"})
	case accesscontrol.UUID:
		return "uuid"
	default:
		return w.idText
	}
}

func (w *schemaWorld) setOf(t *drawnTable, a *drawnAttr) {
	switch w.IntN(4) {
	case 0:
		a.kind, a.values, a.ddl = "String", edgeTexts[:9], w.idText
	case 1:
		a.kind, a.values, a.ddl = "Long", []string{"0", "1", "7", "42", "-1"}, on(w, []string{"INTEGER"}, []string{"bigint", "smallint"}, []string{"BIGINT", "INT"})
	default:
		w.reference(a)
		a.join = false
	}
	a.set, a.required = true, true
	a.pairs = fmt.Sprintf("pairs%d_%s_%d", w.round, t.resource(), len(t.attrs))
	a.pairsOnly = w.IntN(4) == 0
}

// create writes the statements that make the tables.
func (w *schemaWorld) create(t drawnTable) {
	tail := ""
	if w.database == testdb.SQLite {
		tail = " STRICT"
	}
	columns := []string{"rownr " + w.keyType(accesscontrol.Integer) + " NOT NULL", w.quoted(t.key) + " " + w.keyType(t.keyAs) + " NOT NULL"}
	unique := w.quoted(t.key)
	if t.tenant != "" {
		columns = append(columns, w.quoted(t.tenant)+" "+w.keyType(t.tenantAs)+" NOT NULL")
		unique = w.quoted(t.tenant) + ", " + unique
	}
	for _, a := range t.attrs {
		if a.set {
			pairs := "rownr " + w.keyType(accesscontrol.Integer) + ", " + w.quoted("Match") + " " + w.keyType(t.keyAs) + ", " + w.quoted("value") + " " + a.ddl
			if !a.pairsOnly {
				pairs += ", tenant " + w.keyType(w.tenantAs[0])
			}
			w.ddl = append(w.ddl, "CREATE TABLE "+a.pairs+" ("+pairs+")"+tail)
			continue
		}
		null := ""
		if a.required {
			null = " NOT NULL"
		}
		columns = append(columns, w.quoted(a.column)+" "+a.ddl+null)
	}
	w.ddl = append(w.ddl, "CREATE TABLE "+w.quoted(t.name)+" ("+strings.Join(columns, ", ")+", UNIQUE ("+unique+"))"+tail)
}

// config binds the schema.
func (w *schemaWorld) config(policies string) accesscontrol.Config {
	head, _, _ := strings.Cut(itemSchema, "entity Item")
	var schema strings.Builder
	schema.WriteString(head)
	var types []string
	config := accesscontrol.Config{}
	for _, t := range w.tables {
		types = append(types, t.entity)
		table := accesscontrol.Table{Resource: t.resource(), Entity: t.entity, Name: t.name, Key: t.key, KeyAs: t.keyAs, Tenant: t.tenant, TenantAs: t.tenantAs, OnlyTenant: t.only, Read: "read", Update: "write"}
		schema.WriteString("entity " + t.entity + " = {")
		for i, a := range t.attrs {
			typ, optional := a.kind, "?"
			if a.set {
				typ = "Set<" + typ + ">"
			}
			if a.required {
				optional = ""
			}
			fmt.Fprintf(&schema, " %s%s: %s,", quote(a.name), optional, typ)
			if a.set {
				step := accesscontrol.Step{Name: a.pairs, Tenant: "tenant", TenantAs: w.tenantAs[0], Match: "Match", MatchAs: t.keyAs, Value: "value", ValueAs: a.as}
				if a.pairsOnly {
					step.Tenant, step.TenantAs, step.OnlyTenant = "", "", w.tenants[0]
				}
				table.Sets = append(table.Sets, accesscontrol.Set{Attr: a.name, Steps: []accesscontrol.Step{step}})
			} else {
				table.Columns = append(table.Columns, accesscontrol.Column{Attr: a.name, Name: a.column, Required: a.required, As: a.as, Like: a.like, Join: a.join})
			}
			if t.groups && i == 0 {
				table.Groups = []accesscontrol.Group{{Name: "first", Action: "write", Fields: []string{a.name}}}
			}
		}
		schema.WriteString(" };\n")
		config.Tables = append(config.Tables, table)
	}
	schema.WriteString("action any;\naction read, write in [any] appliesTo { principal: [User], resource: [" + strings.Join(types, ", ") + "], context: { now: Long, purpose?: String } };\n")
	config.Texts = map[string]string{"drawn.cedarschema": schema.String(), "drawn.cedar": policies}
	return config
}
