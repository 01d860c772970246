package gormfield

import (
	"slices"
	"strings"
	"unicode"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"
)

// checkNames looks at the names that a statement was given in maps and
// assignments. GORM hands one that it does not know on as a column: a sealed
// column or field in another spelling would carry its value past the plugin, into
// a statement that fails in the database and is logged with it.
func (t *sealedTable) checkNames(stmt *gorm.Statement) error {
	for _, names := range mapsOf(stmt.Dest) {
		for name := range names {
			if err := t.checkName(stmt.Schema, name, true); err != nil {
				return err
			}
		}
	}
	assigned, _ := stmt.Clauses["SET"].Expression.(clause.Set)
	if c, ok := stmt.Clauses["ON CONFLICT"].Expression.(clause.OnConflict); ok {
		assigned = slices.Concat(assigned, c.DoUpdates)
	}
	for _, a := range assigned {
		if err := t.checkName(stmt.Schema, a.Column.Name, false); err != nil {
			return err
		}
	}
	return nil
}

// checkName lets a name pass that is a sealed column as it is spelled, one that
// the model knows, and one that is like none of them. Fields stand for their
// columns in maps, where GORM looks them up, and not in assignments.
func (t *sealedTable) checkName(s *schema.Schema, name string, looksUp bool) error {
	if s != nil {
		if field := s.LookUpField(name); field != nil && (looksUp || field.DBName == name || t.columns[bare(field.DBName)] == nil) {
			return nil
		}
	}
	like := []string{letters(name), letters(bare(name))}
	refused := ""
	for column, col := range t.columns {
		if name == col.SQL {
			return nil
		}
		if slices.Contains(like, letters(col.SQL)) {
			refused = column
		}
	}
	if s != nil {
		for _, field := range s.Fields {
			if column := bare(field.DBName); t.columns[column] != nil &&
				(slices.Contains(like, letters(field.Name)) || slices.Contains(like, letters(strings.Join(field.BindNames, "")))) {
				refused = column
			}
		}
	}
	if refused == "" {
		return nil
	}
	return t.fail(refused, "it is named in another spelling: write the column as it is, or the field", ErrValue)
}

// letters is what the spellings of a name have in common.
func letters(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, name)
}
