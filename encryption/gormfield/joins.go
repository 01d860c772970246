package gormfield

import (
	"context"
	"reflect"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/schema"
)

// dropEmptyJoins makes relations nil that a left join has not found. GORM knows
// that by NULL columns, but takes a column with a serializer for one that is
// there, and would leave an empty struct.
func (p *Plugin) dropEmptyJoins(db *gorm.DB) {
	stmt := db.Statement
	if stmt.Schema == nil || len(stmt.Joins) == 0 {
		return
	}
	for _, join := range stmt.Joins {
		path := strings.Split(join.Name, ".")
		rows := reflect.Indirect(stmt.ReflectValue)
		switch rows.Kind() {
		case reflect.Slice, reflect.Array:
			for i := range rows.Len() {
				p.dropEmpty(stmt.Context, stmt.Schema, rows.Index(i), path)
			}
		case reflect.Struct:
			p.dropEmpty(stmt.Context, stmt.Schema, rows, path)
		default:
		}
	}
}

func (p *Plugin) dropEmpty(ctx context.Context, s *schema.Schema, row reflect.Value, path []string) {
	for _, part := range path {
		for row.Kind() == reflect.Pointer {
			row = row.Elem()
		}
		rel := s.Relationships.Relations[part]
		if rel == nil || row.Kind() != reflect.Struct || row.Type() != s.ModelType {
			return
		}
		row, s = rel.Field.ReflectValueOf(ctx, row), rel.FieldSchema
		if row.Kind() != reflect.Pointer || row.IsNil() || s.PrioritizedPrimaryField == nil {
			continue
		}
		if _, zero := s.PrioritizedPrimaryField.ValueOf(ctx, row); zero && p.tables[bare(s.Table)] != nil {
			row.SetZero()
			return
		}
	}
}
