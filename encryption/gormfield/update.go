package gormfield

import (
	"errors"
	"reflect"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/callbacks"
	"gorm.io/gorm/clause"

	"github.com/crmguard/crmguard/encryption/internal/format"
)

// sealUpdate makes the SET of an UPDATE, whatever it was given as, with sealed
// values. The clause is then its own, to be taken away afterwards.
func (p *Plugin) sealUpdate(db *gorm.DB, r *record) error {
	stmt, t := db.Statement, r.primary
	if err := errors.Join(p.checkModel(stmt.Schema, t), t.checkNames(stmt)); err != nil {
		return err
	}
	set, given := stmt.Clauses["SET"].Expression.(clause.Set)
	if !given {
		if c := stmt.Clauses["SET"]; c.Expression != nil {
			return t.fail("", "a SET that cannot be looked into", ErrValue)
		}
	}
	// Before the conversion, which sets the fields of the model to what is new.
	was := map[string]any{}
	for _, column := range append(t.binds(), t.keys...) {
		was[column] = modelValue(stmt, column)
	}
	if !given {
		set = callbacks.ConvertToAssignments(stmt)
	}
	if db.Error != nil || len(set) == 0 {
		return nil
	}
	set, err := p.sealSet(stmt, r, set, was)
	if err != nil || len(set) == 0 {
		return err
	}
	if given {
		delete(stmt.Clauses, "SET")
	}
	stmt.AddClause(set)
	r.own = true
	return nil
}

func (p *Plugin) sealSet(stmt *gorm.Statement, r *record, set clause.Set, was map[string]any) (clause.Set, error) {
	t := r.primary
	given := map[string]any{}
	var columns []string
	var others clause.Set
	for _, a := range set {
		name := bare(a.Column.Name)
		if err := p.checkComputed(stmt, t, []clause.Column{a.Column}, []any{a.Value}); err != nil {
			return nil, err
		}
		switch {
		case t.columns[name] != nil:
			if _, twice := given[name]; twice {
				return nil, t.fail(name, "given twice", ErrValue)
			}
			columns = append(columns, name)
		case t.indexes[name] != nil:
			if fromMap(stmt) {
				return nil, t.fail(name, "an index column is filled from the column that it indexes", ErrValue)
			}
			continue
		case t.streams[name]:
			return nil, t.fail(name, streamSays, ErrValue)
		default:
			others = append(others, a)
		}
		given[name] = a.Value
	}
	whole := t.whole(columns) && movable(stmt, t, was)
	if err := checkMove(t, given, was, columns, whole); err != nil {
		return nil, err
	}
	said := func(column string) any {
		if v, ok := given[column]; ok {
			return v
		}
		return was[column]
	}
	if len(columns) == 0 {
		return others, guardMove(stmt, t, given)
	}
	if stmt.ReflectValue.Kind() == reflect.Slice && stmt.ReflectValue.Len() > 1 && t.byRow {
		return nil, t.fail("", "one value for several rows that are bound to their ids", ErrOwner)
	}
	b, err := p.bind(stmt.Context, t, columns, said)
	if err != nil {
		return nil, err
	}
	sealing := p.sealing(stmt)
	if err := sealing.take(t, b, columns); err != nil {
		return nil, err
	}
	var empty []string
	for _, name := range columns {
		plain, null, err := fieldPlain(stmt.Context, stmt.Schema, lookUp(stmt.Schema, name), given[name])
		if err != nil {
			return nil, t.fail(name, "", err)
		}
		sealed, indexes, err := sealing.seal(t, name, b, plain, null)
		if err != nil {
			return nil, err
		}
		if len(plain) == 0 && !alone(stmt, stmt.Schema, name) {
			empty = append(empty, name)
		}
		others = append(others, clause.Assignment{Column: clause.Column{Name: t.columns[name].SQL}, Value: sealed})
		for index, x := range indexes {
			others = append(others, clause.Assignment{Column: clause.Column{Name: t.indexColumn(t.columns[name], index)}, Value: x})
			fill(stmt, 0, index, x)
		}
	}
	moves := slices.ContainsFunc(t.binds(), func(column string) bool { return given[column] != nil })
	if whole && moves {
		if r.bound = newBound(stmt, t, []binding{b}); r.bound != nil {
			r.bound.alike = true
			r.bound.again = lookAgain(stmt, t, r.bound, said)
		}
	}
	if err := guard(stmt, t, b, given, said, whole); err != nil {
		return nil, err
	}
	if t.unopened.Load() {
		return others, p.keep(stmt, t, empty)
	}
	return others, nil
}

// movable says whether a row may go over to another owner: on MySQL and MariaDB,
// which do not say what an UPDATE has written, one that can be found again.
func movable(stmt *gorm.Statement, t *sealedTable, was map[string]any) bool {
	return stmt.Name() != "mysql" || !slices.ContainsFunc(t.keys, func(key string) bool {
		text, err := idText(was[key])
		return err != nil || text == ""
	})
}

// lookAgain is the query that reads what an UPDATE has written, where the
// database does not return it.
func lookAgain(stmt *gorm.Statement, t *sealedTable, b *bound, said func(column string) any) *gorm.Statement {
	if stmt.Name() != "mysql" {
		return nil
	}
	var exprs []clause.Expression
	for _, key := range t.keys {
		exprs = append(exprs, exactly(stmt, t, key, said(key))...)
	}
	query := &gorm.Statement{DB: stmt.DB, Table: stmt.Table, TableExpr: stmt.TableExpr, Schema: stmt.Schema, Context: stmt.Context, Clauses: map[string]clause.Clause{}}
	query.SQL.WriteString("SELECT " + b.list + " FROM ")
	query.WriteQuoted(clause.Table{Name: clause.CurrentTable})
	query.SQL.WriteString(" WHERE ")
	clause.Where{Exprs: exprs}.Build(query)
	return query
}

// guard keeps an UPDATE to rows of the owner, tenant and id that the values are
// sealed for: a model that says another owner than its row touches no row,
// instead of leaving a value that opens for nobody.
func guard(stmt *gorm.Statement, t *sealedTable, b binding, given map[string]any, said func(column string) any, whole bool) error {
	var exprs []clause.Expression
	equal := func(column string, value any) {
		exprs = append(exprs, exactly(stmt, t, column, value)...)
	}
	for _, column := range t.binds() {
		if _, set := given[column]; set && whole {
			continue // the row goes over to the new owner with all that it has
		}
		if column == t.owner && b.owner == "" {
			continue
		}
		equal(column, said(column))
	}
	if b.row != "" {
		for _, key := range t.keys {
			equal(key, said(key))
		}
	}
	return addGuard(stmt, exprs)
}

// guardMove is guard for an UPDATE of nothing sealed that names the owner,
// the tenant or the id: another spelling would be another one.
func guardMove(stmt *gorm.Statement, t *sealedTable, given map[string]any) error {
	var exprs []clause.Expression
	for _, column := range t.bound() {
		if v, set := given[column]; set {
			exprs = append(exprs, exactly(stmt, t, column, v)...)
		}
	}
	return addGuard(stmt, exprs)
}

// addGuard adds conditions, but is not the condition that GORM insists on.
func addGuard(stmt *gorm.Statement, exprs []clause.Expression) error {
	if len(exprs) == 0 {
		return nil
	}
	if _, conditions := stmt.Clauses["WHERE"]; !conditions && !stmt.AllowGlobalUpdate {
		return gorm.ErrMissingWhereClause
	}
	stmt.AddClause(clause.Where{Exprs: exprs})
	return nil
}

// checkMove refuses to give a row to another owner, tenant or id while sealed
// values stay that are bound to the old one.
func checkMove(t *sealedTable, given, was map[string]any, columns []string, whole bool) error {
	for _, column := range t.bound() {
		v, set := given[column]
		if !set {
			continue
		}
		if isBind := column == t.owner || column == t.tenant; whole && isBind {
			continue
		}
		after, err := idText(v)
		if err != nil || after == "" {
			return t.fail(column, "it would change while sealed values stay that are bound to it", ErrOwner)
		}
		before, err := idText(was[column])
		if column != t.tenant {
			before, after = format.Fold(before), format.Fold(after)
		}
		// Where the model does not say whose the row is, the update says it, and
		// the guard holds it to that.
		if err != nil || (before != after && (before != "" || len(columns) == 0)) {
			return t.fail(column, "it would change while sealed values stay that are bound to it: change all of them in the same call, as Save does", ErrOwner)
		}
	}
	return nil
}

// fromMap holds where an UPDATE was given as a map or a column, so by name.
func fromMap(stmt *gorm.Statement) bool {
	rv := reflect.Indirect(reflect.ValueOf(stmt.Dest))
	return !rv.IsValid() || rv.Kind() == reflect.Map
}

// modelValue is what the model says of a column; nil where it is zero, or where
// several models differ.
func modelValue(stmt *gorm.Statement, column string) any {
	field := lookUp(stmt.Schema, column)
	if field == nil {
		return nil
	}
	row := reflect.Indirect(stmt.ReflectValue)
	switch row.Kind() {
	case reflect.Struct:
		if v, zero := field.ValueOf(stmt.Context, row); !zero {
			return v
		}
	case reflect.Slice, reflect.Array:
		var first any
		for i := range row.Len() {
			v, zero := field.ValueOf(stmt.Context, reflect.Indirect(row.Index(i)))
			if zero || (i > 0 && !reflect.DeepEqual(first, v)) {
				return nil
			}
			first = v
		}
		return first
	default:
	}
	return nil
}
