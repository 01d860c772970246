package sqlcond

import (
	"slices"
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

// exists writes that there are rows of the joins for which body holds, in a
// subquery that is asked for each record. A join that an enclosing one has opened
// stays the row that it is there; one that starts at another stands behind it.
func (w *Writer) exists(joins []*Join, body func()) {
	opened := w.enter(joins)
	if len(opened) == 0 {
		body()
		return
	}
	w.correlated(opened, body)
}

func (w *Writer) correlated(opened []*Join, body func()) {
	w.Raw("EXISTS (SELECT 1 FROM ")
	w.tables(opened)
	for _, j := range opened {
		w.equal(j.Key, j.From)
		w.Raw(" AND ")
	}
	if w.dialect == MySQL {
		w.Raw(uncached + " AND ")
	}
	w.leave(opened, body)
	w.Raw(")")
}

// MariaDB keeps what a subquery answers by the columns outside of it that it
// reads, and takes those for equal that their collation does: the answer about
// "A" would be that about "a". It keeps nothing that it may not.
const uncached = "RAND() IS NOT NULL"

// within writes the same so that a database may begin with the other table, by
// an index of its own. MariaDB does with IN, and keeps answers by the bytes that
// stand beside it. So does SQLite, which works the subquery out once: where alone
// says that body reads nothing outside of it, or it would do so for each record.
func (w *Writer) within(joins []*Join, alone bool, body func()) {
	opened := w.enter(joins)
	starts := slices.DeleteFunc(slices.Clone(opened), func(j *Join) bool { return slices.Contains(opened, j.From.Via) })
	switch {
	case len(opened) == 0:
		body()
		return
	case w.dialect == PostgreSQL, w.dialect == SQLite && (!alone || len(starts) > 1):
		w.correlated(opened, body)
		return
	}
	outer, inner := []func(){}, []func(){}
	for _, j := range starts {
		switch {
		case w.dialect == SQLite:
			outer, inner = append(outer, func() { w.member(j.From) }), append(inner, func() { w.name(j.Key) })
		case j.Key.byBytes():
			outer, inner = append(outer, func() { w.bytes(j.From) }), append(inner, func() { w.bytes(j.Key) })
			fallthrough
		default:
			outer, inner = append(outer, func() { w.name(j.From) }), append(inner, func() { w.name(j.Key) })
		}
	}
	level := len(w.levels) - 1
	w.levels = w.levels[:level]
	w.Raw("(")
	w.listed(outer)
	w.levels = append(w.levels, scope{joins: opened})
	w.Raw(") IN (SELECT ")
	w.listed(inner)
	w.Raw(" FROM ")
	w.tables(opened)
	for _, j := range opened {
		if slices.Contains(opened, j.From.Via) {
			w.equal(j.Key, j.From)
			w.Raw(" AND ")
		}
	}
	w.leave(opened, func() {
		body()
		if w.levels[level].reads {
			w.Raw(" AND " + uncached)
		}
	})
	w.Raw(")")
}

// scope is a subquery that is being written.
type scope struct {
	joins []*Join
	reads bool // texts of columns outside of it, but for those that joins start at
}

// enter opens those joins that are not open.
func (w *Writer) enter(joins []*Join) (opened []*Join) {
	for _, j := range joins {
		if w.aliases[j] == "" {
			opened = append(opened, j)
			w.opens(j)
		}
	}
	if len(opened) > 0 {
		w.levels = append(w.levels, scope{joins: opened})
	}
	return opened
}

// leave writes the rest of a subquery and closes it.
func (w *Writer) leave(opened []*Join, body func()) {
	for _, j := range opened {
		w.fence(j)
		w.Raw(" AND ")
	}
	body()
	for _, j := range opened {
		delete(w.aliases, j)
	}
	w.levels = w.levels[:len(w.levels)-1]
}

// tables writes the tables of joins, and WHERE.
func (w *Writer) tables(joins []*Join) {
	parts := make([]func(), len(joins))
	for i, j := range joins {
		parts[i] = func() {
			w.tableName(j.Table)
			w.Raw(" AS ")
			w.quote(w.aliases[j])
		}
	}
	w.listed(parts)
	w.Raw(" WHERE ")
}

func (w *Writer) listed(parts []func()) {
	for i, part := range parts {
		if i > 0 {
			w.Raw(", ")
		}
		part()
	}
}

// notes that a column is read, by each subquery that it stands outside of.
func (w *Writer) notes(c *Column) {
	if w.dialect != MySQL || !c.byBytes() {
		return
	}
	for i := len(w.levels) - 1; i >= 0 && !slices.Contains(w.levels[i].joins, c.Via); i-- {
		w.levels[i].reads = true
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
