package gormfield

import (
	"cmp"
	"database/sql"
	"slices"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/value"
)

// An upsert writes over rows that nobody has named: those that it meets. Which they
// are is known where it meets them by plain columns whose values are given. MySQL
// meets by every uniqueness of the table, whatever the statement names.

// emptyCell is a sealed column without a value in a row of an INSERT.
type emptyCell struct {
	row    int
	column string
}

// meeting is what a row that is there already is met by: all of these columns, ""
// for what is no plain column.
type meeting []string

// keepMet is keep for the rows that an upsert meets. Where they cannot be told, an
// empty value does not go.
func (p *Plugin) keepMet(stmt *gorm.Statement, t *sealedTable, c clause.OnConflict, values clause.Values, empty []emptyCell) error {
	if len(empty) == 0 || stmt.DryRun {
		return nil
	}
	meetings, err := meetingsOf(stmt, c)
	if err != nil {
		return t.fail("", "the unique indexes of the table", err)
	}
	made, err := storesOf(stmt)
	if err != nil {
		return t.fail("", "what the database stores in the table", err)
	}
	at := map[string]int{}
	for i, column := range values.Columns {
		at[bare(column.Name)] = i
	}
	drawn := false
	for chunk := range slices.Chunk(empty, pageSize) {
		var rows []clause.Expression
		var columns []string
		for _, cell := range chunk {
			for _, m := range meetings {
				row, draws, known := m.rows(t, made, at, values.Columns, values.Values[cell.row])
				if !known {
					return t.fail(cell.column, "an empty value in an upsert whose rows cannot be told beforehand: have it meet them by plain columns (Columns), with values that these store as they are", ErrLost)
				}
				drawn = drawn || draws
				if len(row) > 0 {
					rows = append(rows, clause.Or(clause.And(row...)))
				}
			}
			if !slices.Contains(columns, cell.column) {
				columns = append(columns, cell.column)
			}
		}
		if drawn {
			ahead, ordered, err := aheadOfSequence(stmt, t)
			if err != nil {
				return t.fail(t.keys[0], "its sequence", err)
			}
			if !ordered {
				return t.fail(columns[0], "an empty value in an upsert without an id, whose sequence (CACHE, INCREMENT, CYCLE) may draw those of rows that are there", ErrLost)
			}
			rows = append(rows, ahead...)
		}
		if len(rows) == 0 {
			continue
		}
		if err := p.keepAt(stmt, t, columns, clause.Where{Exprs: rows}); err != nil {
			return err
		}
	}
	return nil
}

// rows are the conditions that the rows which one of an INSERT meets have in common;
// none where it meets none. drawn is one whose key a sequence draws.
func (m meeting) rows(t *sealedTable, made stores, at map[string]int, columns []clause.Column, row []any) (exprs []clause.Expression, drawn, known bool) {
	for _, column := range m {
		i, given := at[column]
		var cell any
		if given {
			cell = row[i]
		}
		if e, ok := cell.(clause.Expr); ok { // as GORM has what is not given in a list
			if strings.EqualFold(e.SQL, "DEFAULT") {
				given, cell = false, nil
			} else if strings.EqualFold(e.SQL, "NULL") {
				cell = nil
			}
		}
		is := made[column]
		switch {
		case !given && is.fresh, given && is.null && isNull(cell):
			return nil, false, true
		case !given && is.drawn && len(t.keys) == 1 && t.keys[0] == column:
			return nil, true, true
		case t.columns[column] != nil:
			return nil, false, true // no two cells are sealed alike
		case !given, computed(cell), !is.keeps(cell):
			continue // the other columns leave more rows, of which it is one
		}
		exprs = append(exprs, clause.Eq{Column: clause.Column{Table: clause.CurrentTable, Name: columns[i].Name}, Value: cell})
	}
	return exprs, false, len(exprs) > 0
}

// isNull holds for what the driver writes as NULL.
func isNull(given any) bool {
	said, err := value.Resolve(given)
	return err == nil && said == nil
}

// meetingsOf is all that an upsert may meet a row by.
func meetingsOf(stmt *gorm.Statement, c clause.OnConflict) ([]meeting, error) {
	if stmt.Name() == "mysql" {
		return uniqueIndexes(stmt)
	}
	var m meeting
	if c.OnConstraint == "" {
		for _, column := range c.Columns {
			if column.Raw {
				return []meeting{nil}, nil
			}
			m = append(m, bare(column.Name))
		}
	}
	return []meeting{m}, nil
}

// uniqueIndexes are those of a table of MySQL or MariaDB.
func uniqueIndexes(stmt *gorm.Statement) ([]meeting, error) {
	indexes, err := shownRows(stmt, "SHOW INDEX FROM "+stmt.Quote(stmt.Table))
	if err != nil {
		return nil, err
	}
	var names []string
	byName := map[string]meeting{}
	for _, i := range indexes {
		if i["non_unique"].String != "0" {
			continue
		}
		name := i["key_name"].String
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		column := ""
		if !i["sub_part"].Valid {
			column = bare(i["column_name"].String)
		}
		byName[name] = append(byName[name], column)
	}
	if len(indexes) == 0 {
		return []meeting{nil}, nil // of a view, or none that is shown
	}
	out := make([]meeting, len(names))
	for i, name := range names {
		out[i] = byName[name]
	}
	return out, nil
}

// shownRows reads what SHOW or the catalogue returns, by the names of its columns in
// small letters.
func shownRows(stmt *gorm.Statement, query string, args ...any) (out []map[string]sql.NullString, err error) {
	rows, err := beneath(stmt).QueryContext(stmt.Context, query, args...)
	if err != nil {
		return nil, sqldb.Safe(err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, sqldb.Safe(err)
	}
	for rows.Next() {
		values, targets := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, sqldb.Safe(err)
		}
		row := map[string]sql.NullString{}
		for i, name := range names {
			row[strings.ToLower(name)] = values[i]
		}
		out = append(out, row)
	}
	if err := rows.Err(); err != nil {
		return nil, sqldb.Safe(err)
	}
	return out, nil
}

// beneath is the connection of a statement without the plugin.
func beneath(stmt *gorm.Statement) gorm.ConnPool {
	if ours, ok := stmt.ConnPool.(*pool); ok {
		return ours.ConnPool
	}
	return stmt.ConnPool
}

// aheadOfSequence is the condition of the rows that a sequence of PostgreSQL which
// is behind them (a restore, ids that were given) may still come upon. Of a sequence
// that the account may not use, as that of an identity column, nothing is known. One
// that is not ordered gives ids that are behind its last one.
func aheadOfSequence(stmt *gorm.Statement, t *sealedTable) (ahead []clause.Expression, ordered bool, err error) {
	var from sql.NullInt64
	err = beneath(stmt).QueryRowContext(stmt.Context, `SELECT min(CASE WHEN pg_catalog.has_sequence_privilege(s.seqrelid, 'USAGE') THEN COALESCE(pg_catalog.pg_sequence_last_value(s.seqrelid) + 1, s.seqmin) END),
			COALESCE(bool_and(s.seqcache = 1 AND s.seqincrement > 0 AND NOT s.seqcycle), false) FROM pg_catalog.pg_sequence s
		WHERE s.seqrelid IN (
			SELECT d.objid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
			WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype = 'i'
				AND d.refobjid = pg_catalog.to_regclass($1) AND lower(a.attname) = $2
			UNION ALL
			SELECT d.refobjid FROM pg_catalog.pg_attrdef f JOIN pg_catalog.pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
			JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass
			WHERE f.adrelid = pg_catalog.to_regclass($1) AND lower(a.attname) = $2)`, stmt.Quote(stmt.Table), t.keys[0]).Scan(&from, &ordered)
	if err != nil || !from.Valid {
		return nil, ordered, sqldb.Safe(err)
	}
	return []clause.Expression{clause.Or(clause.Gte{Column: clause.Column{Table: clause.CurrentTable, Name: cmp.Or(t.def.Key, "id")}, Value: from.Int64})}, ordered, nil
}
