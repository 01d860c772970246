package gormfield

import (
	"errors"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"

	"github.com/crmguard/crmguard/encryption"
)

// A value that did not open is an empty field, and whoever saves the row as a whole
// would write that over the cell: which may open again once its key is repaired. No
// struct of a stranger has a place for a mark that lives through copies, so the cell
// itself is asked: from the first value on that this process could not open, an
// empty one goes only where what stands there opens, or nothing does.

// OnUnopened returns a session whose reads tell f of rows with values that do not
// open, instead of ending in a RowsError: FindInBatches and Preload go on. f may
// be called several times a statement.
func OnUnopened(db *gorm.DB, f func(*encryption.RowsError)) *gorm.DB {
	return db.Set(onUnopenedKey, f).Session(&gorm.Session{})
}

// onUnopenedKey is where a session keeps the function of OnUnopened.
const onUnopenedKey = "crmguard:on unopened"

// alone says whether a statement names a column in a way that nobody does without
// thinking of it: as the only one of a map or of Update, or by Select.
func alone(stmt *gorm.Statement, s *schema.Schema, column string) bool {
	if maps := mapsOf(stmt.Dest); len(maps) == 1 && len(maps[0]) == 1 {
		return true
	}
	return slices.ContainsFunc(stmt.Selects, func(name string) bool { return columnOf(s, name) == column })
}

// keep refuses an UPDATE that would empty cells which do not open. It has its own
// conditions by then, so that it is asked about the rows that it would write.
func (p *Plugin) keep(stmt *gorm.Statement, t *sealedTable, empty []string) error {
	where, _ := stmt.Clauses["WHERE"].Expression.(clause.Where)
	return p.keepAt(stmt, t, empty, where)
}

func (p *Plugin) keepAt(stmt *gorm.Statement, t *sealedTable, columns []string, where clause.Where) error {
	if stmt.DryRun {
		return nil
	}
	for _, column := range columns {
		var names []string
		for _, name := range append(t.bound(), t.columns[column].SQL) {
			names = append(names, stmt.Quote(clause.Column{Name: name}))
		}
		tx := stmt.DB.Session(&gorm.Session{NewDB: true}).Table(stmt.Table)
		tx.Statement.TableExpr = stmt.TableExpr
		var rows []map[string]any
		err := tx.Select(names).Clauses(where).Find(&rows).Error
		var some *encryption.RowsError
		if err != nil && !errors.As(err, &some) {
			return err
		}
		if some == nil {
			continue
		}
		for _, reason := range some.Rows {
			if !errors.Is(reason, encryption.ErrErased) {
				return t.fail(column, "an empty value", errors.Join(ErrLost, reason))
			}
		}
	}
	return nil
}
