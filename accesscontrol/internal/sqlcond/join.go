package sqlcond

import (
	"strconv"
	"strings"
)

// Join leads from a record to rows of a table beside its own: those whose Key
// is what From holds, and that are the tenant's.
type Join struct {
	// From is the column that is looked up: one of the record's own, or one of
	// another Join.
	From *Column
	// Table is the other table, behind its schema where it has one.
	Table string
	// Key is the column of the other table that equals From, and Tenant that of
	// its tenant, nil where the whole table belongs to one. Both stand Via this
	// Join.
	Key, Tenant *Column
	// Owns says whether any row of the table may be the tenant's.
	Owns func(tenant string) bool
}

// Own says what the conditions are about: the table of the records, whose own
// name stands for them inside of a subquery where they have no alias, and the
// tenant to whom every other row that is looked at must belong.
func (w *Writer) Own(table, tenant string) {
	w.table, w.tenant = table[strings.LastIndexByte(table, '.')+1:], tenant
}

// exists writes that there are rows of the joins for which body holds. A join
// that an enclosing exists has opened stays the row that it is there; one that
// starts at another stands behind it.
func (w *Writer) exists(joins []*Join, body func()) {
	var opened []*Join
	for _, j := range joins {
		if w.aliases[j] == "" {
			opened = append(opened, j)
			w.opens(j)
		}
	}
	if len(opened) == 0 {
		body()
		return
	}
	w.Raw("EXISTS (SELECT 1 FROM ")
	for i, j := range opened {
		if i > 0 {
			w.Raw(", ")
		}
		w.tableName(j.Table)
		w.Raw(" AS ")
		w.quote(w.aliases[j])
	}
	w.Raw(" WHERE ")
	for _, j := range opened {
		w.equal(j.Key, j.From)
		w.Raw(" AND ")
		w.fence(j)
		w.Raw(" AND ")
	}
	body()
	w.Raw(")")
	for _, j := range opened {
		delete(w.aliases, j)
	}
}

// opens gives a join an alias that nothing else in the statement has.
func (w *Writer) opens(j *Join) {
	if w.aliases == nil {
		w.aliases = map[*Join]string{}
	}
	w.aliases[j] = w.fresh()
}

// fresh is an alias that this writer has not given yet, and that is not the
// record's: databases differ in whether names are one that differ in case.
func (w *Writer) fresh() string {
	for {
		w.inner++
		alias := "crmguard_" + strconv.Itoa(w.inner)
		if !strings.EqualFold(alias, w.alias) && !strings.EqualFold(alias, w.table) {
			return alias
		}
	}
}

// fence writes that a row of a join is the tenant's. The tenant is an argument:
// compared with another row's column, one fence missing would be two.
func (w *Writer) fence(j *Join) {
	switch {
	case !j.Owns(w.tenant):
		w.Raw("1 = 0")
	case j.Tenant == nil:
		w.Raw("1 = 1") // the whole table is the tenant's
	default:
		w.compare(j.Tenant, Equal, TextOf(w.tenant))
	}
}

// equal writes that the key of another table holds the bytes of a column, in a
// form that asks the index of the key, as [Comparison] does. PostgreSQL compares
// both under the collation that they have in common; it is deterministic.
func (w *Writer) equal(key, column *Column) {
	switch {
	case w.dialect == MySQL && key.byBytes():
		w.Raw("(")
		w.name(key)
		w.Raw(" = ")
		w.name(column)
		w.Raw(" AND ")
		w.bytes(key)
		w.Raw(" = ")
		w.bytes(column)
		w.Raw(")")
	case w.dialect == SQLite && key.byBytes():
		w.name(key)
		w.Raw(" = ")
		w.name(column)
		w.Raw(" COLLATE BINARY")
	default:
		w.name(key)
		w.Raw(" = ")
		w.name(column)
		if w.dialect == PostgreSQL && key.byBytes() {
			w.Raw("::text") // citext would be compared as such
		}
	}
}

// tableName writes a table, behind its schema where it has one.
func (w *Writer) tableName(name string) {
	schema, table, qualified := strings.Cut(name, ".")
	w.quote(schema)
	if qualified {
		w.Raw(".")
		w.quote(table)
	}
}

// chain are the joins that lead to a column, the first one first.
func (c *Column) chain() []*Join {
	if c == nil || c.Via == nil {
		return nil
	}
	return append(c.Via.From.chain(), c.Via)
}
