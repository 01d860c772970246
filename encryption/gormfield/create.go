package gormfield

import (
	"errors"
	"reflect"

	"gorm.io/gorm"
	"gorm.io/gorm/callbacks"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"
	"gorm.io/gorm/utils"

	"github.com/crmguard/crmguard/encryption"
)

// sealCreate makes the INSERT itself, as the callback of GORM would, but with
// sealed values: that callback leaves alone what is built already.
func (p *Plugin) sealCreate(db *gorm.DB, r *record) error {
	stmt, t := db.Statement, r.primary
	if err := errors.Join(p.checkModel(stmt.Schema, t), t.checkNames(stmt)); err != nil {
		return err
	}
	if err := p.drawIDs(db, t); err != nil {
		return err
	}
	if stmt.Schema != nil && !stmt.Unscoped {
		for _, c := range stmt.Schema.CreateClauses {
			stmt.AddClause(c)
		}
	}
	if stmt.Schema != nil && utils.Contains(stmt.BuildClauses, "RETURNING") {
		if _, asked := stmt.Clauses["RETURNING"]; !asked {
			var columns []clause.Column
			for _, field := range stmt.Schema.FieldsWithDefaultDBValue {
				if field.Readable {
					columns = append(columns, clause.Column{Name: field.DBName})
				}
			}
			if len(columns) > 0 {
				stmt.AddClause(clause.Returning{Columns: columns})
			}
		}
	}
	values := callbacks.ConvertToCreateValues(stmt)
	if db.Error != nil {
		return nil
	}
	values, bindings, empty, err := p.sealValues(db, t, values)
	if err != nil {
		return err
	}
	met, err := p.sealConflict(stmt, t, values, empty)
	if err != nil {
		return err
	}
	// Where the id that was drawn is asked of the result, nothing can be returned.
	_, returns := stmt.Clauses["RETURNING"]
	if !met && utils.Contains(stmt.BuildClauses, "RETURNING") && (returns || stmt.Schema != nil || stmt.Name() == "postgres") {
		r.bound = newBound(stmt, t, bindings)
	}
	stmt.SQL.Grow(180)
	stmt.AddClauseIfNotExists(clause.Insert{})
	stmt.AddClause(values)
	stmt.Build(stmt.BuildClauses...)
	return nil
}

// sealValues seals the values of an INSERT. It returns what the rows are sealed
// for, and which cells hold nothing.
func (p *Plugin) sealValues(db *gorm.DB, t *sealedTable, values clause.Values) (clause.Values, []binding, []emptyCell, error) {
	stmt := db.Statement
	at := map[string]int{}
	for i, column := range values.Columns {
		name := bare(column.Name)
		if _, twice := at[name]; twice {
			return values, nil, nil, t.fail(name, "given twice", ErrValue)
		}
		if t.streams[name] {
			return values, nil, nil, t.fail(name, streamSays, ErrValue)
		}
		at[name] = i
	}
	var columns []string
	var empty []emptyCell
	for _, name := range t.order {
		if _, ok := at[name]; ok {
			columns = append(columns, name)
		}
	}
	for index := range t.indexes {
		if _, ok := at[index]; !ok && len(columns) > 0 {
			at[index] = len(values.Columns)
			values.Columns = append(values.Columns, clause.Column{Name: t.indexColumn(t.indexes[index], index)})
		}
	}
	bindings := make([]binding, len(values.Values))
	sealing := p.sealing(stmt)
	for i, row := range values.Values {
		if err := p.checkComputed(stmt, t, values.Columns, row); err != nil {
			return values, nil, nil, err
		}
		if len(columns) == 0 {
			continue
		}
		var err error
		bindings[i], err = p.bind(stmt.Context, t, columns, func(column string) any {
			if j, ok := at[column]; ok && j < len(row) {
				return row[j]
			}
			return nil
		})
		if err != nil {
			return values, nil, nil, err
		}
	}
	if len(columns) == 0 {
		return values, nil, nil, nil
	}
	p.ensure(stmt.Context, sealing.only, t, bindings)
	for i := range values.Values {
		if err := sealing.take(t, bindings[i], columns); err != nil {
			return values, nil, nil, err
		}
	}
	for i, row := range values.Values {
		for len(row) < len(values.Columns) {
			row = append(row, nil)
		}
		for index := range t.indexes {
			row[at[index]] = nil // of a column that is not written: nothing is indexed
		}
		for _, name := range columns {
			plain, null, err := fieldPlain(stmt.Context, stmt.Schema, lookUp(stmt.Schema, name), row[at[name]])
			if err != nil {
				return values, nil, nil, t.fail(name, "", err)
			}
			sealed, indexes, err := sealing.seal(t, name, bindings[i], plain, null)
			if err != nil {
				return values, nil, nil, err
			}
			if len(plain) == 0 {
				empty = append(empty, emptyCell{i, name})
			}
			row[at[name]] = sealed
			for index, x := range indexes {
				row[at[index]] = x
				fill(stmt, i, index, x)
			}
		}
		values.Values[i] = row
	}
	return values, bindings, empty, nil
}

// lookUp finds the field of a column, however the column is spelled.
func lookUp(s *schema.Schema, column string) *schema.Field {
	if s == nil {
		return nil
	}
	if field := s.LookUpField(column); field != nil {
		return field
	}
	for name, field := range s.FieldsByDBName {
		if bare(name) == column {
			return field
		}
	}
	return nil
}

// fill puts an index value into the field that is there for it, if any.
func fill(stmt *gorm.Statement, i int, column string, x encryption.IndexValue) {
	field := lookUp(stmt.Schema, column)
	if field == nil || field.FieldType != indexValueType {
		return
	}
	row := stmt.ReflectValue
	switch row.Kind() {
	case reflect.Slice, reflect.Array:
		if i >= row.Len() {
			return
		}
		row = reflect.Indirect(row.Index(i))
	default:
	}
	if row.Kind() == reflect.Struct && row.CanAddr() {
		_ = field.Set(stmt.Context, row, x)
	}
}

// drawIDs gives rows an id that are bound to it and have none yet.
func (p *Plugin) drawIDs(db *gorm.DB, t *sealedTable) error {
	stmt := db.Statement
	if !t.byRow || len(t.keys) != 1 || stmt.Schema == nil || db.DryRun {
		return nil
	}
	field := lookUp(stmt.Schema, t.keys[0])
	if field == nil {
		return nil
	}
	var without []reflect.Value
	add := func(row reflect.Value) {
		row = reflect.Indirect(row)
		if row.Kind() == reflect.Struct && row.CanAddr() {
			if _, zero := field.ValueOf(stmt.Context, row); zero {
				without = append(without, row)
			}
		}
	}
	switch stmt.ReflectValue.Kind() {
	case reflect.Slice, reflect.Array:
		for i := range stmt.ReflectValue.Len() {
			add(stmt.ReflectValue.Index(i))
		}
	case reflect.Struct:
		add(stmt.ReflectValue)
	default:
	}
	if len(without) == 0 {
		return nil
	}
	ids, err := p.ids(db, t, field, len(without))
	if err != nil {
		return t.fail(t.keys[0], "ids", err)
	}
	for i, id := range ids {
		if err := field.Set(stmt.Context, without[i], id); err != nil {
			return t.fail(t.keys[0], "ids", err)
		}
	}
	return nil
}

// ids draws n ids at once: by Config.IDs, or from the sequence of a serial or
// identity column of PostgreSQL. Elsewhere an id is known only after the INSERT.
func (p *Plugin) ids(db *gorm.DB, t *sealedTable, field *schema.Field, n int) ([]any, error) {
	stmt := db.Statement
	if draw := p.config.IDs; draw != nil {
		ids, err := draw(stmt.Context, t.def.Name, n)
		if err == nil && len(ids) != n {
			err = errors.New("Config.IDs returned another number of ids than it was asked for")
		}
		return ids, err
	}
	if db.Name() != "postgres" {
		return nil, nil
	}
	rows, err := stmt.ConnPool.QueryContext(stmt.Context,
		"SELECT nextval(pg_get_serial_sequence($1, $2)) FROM generate_series(1, $3)", stmt.Quote(stmt.Schema.Table), field.DBName, n)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []any
	for rows.Next() {
		var id *int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		if id == nil {
			return nil, nil // no sequence: what is missing is said by bind
		}
		ids = append(ids, *id)
	}
	return ids, rows.Err()
}
