package gormfield

import (
	"maps"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// sealConflict holds an upsert to what the values of the INSERT are sealed for:
// a row that is there already may have another owner, another tenant or another
// id, for which the sealed values would open never. It says whether the statement
// may touch rows that keep what they are bound to, whatever it is.
func (p *Plugin) sealConflict(stmt *gorm.Statement, t *sealedTable, values clause.Values, empty []emptyCell) (met bool, err error) {
	c, ok := stmt.Clauses["ON CONFLICT"]
	if !ok {
		return false, nil
	}
	onConflict, ok := c.Expression.(clause.OnConflict)
	if !ok {
		return false, t.fail("", "an upsert that cannot be looked into", ErrValue)
	}
	if err := p.checkConflict(stmt, t, onConflict); err != nil {
		return false, err
	}
	if onConflict.DoNothing {
		return stmt.Name() == "mysql", nil // where it is an UPDATE of nothing
	}
	inserted := map[string]bool{}
	for _, column := range values.Columns {
		inserted[bare(column.Name)] = true
	}
	var kept, moves clause.Set
	sealed := map[string]bool{}
	for _, a := range onConflict.DoUpdates {
		name := bare(a.Column.Name)
		switch {
		case t.columns[name] != nil:
			if !excluded(a, name) || !inserted[name] {
				return false, t.fail(name, "an upsert takes a sealed value from its INSERT: clause.AssignmentColumns", ErrValue)
			}
			sealed[name] = true
			kept = append(kept, a)
		case t.indexes[name] != nil: // goes with its column
		case slices.Contains(t.keysByRow(), name):
			if stmt.Name() == "mysql" || !excluded(a, name) || !slices.ContainsFunc(onConflict.Columns, func(c clause.Column) bool { return bare(c.Name) == name }) {
				return false, t.fail(name, "it would change while sealed values stay that are bound to it", ErrOwner)
			} // it is what it was
		case t.streams[name]:
			return false, t.fail(name, streamSays, ErrValue)
		case name == t.owner && t.owner != "", name == t.tenant && t.tenant != "":
			if !excluded(a, name) {
				return false, t.fail(name, "an upsert takes the owner from its INSERT: clause.AssignmentColumns", ErrOwner)
			}
			moves = append(moves, a)
		default:
			if err := p.checkComputed(stmt, t, []clause.Column{a.Column}, []any{a.Value}); err != nil {
				return false, err
			}
			kept = append(kept, a)
		}
	}
	for index, col := range t.indexes {
		if name := bare(col.SQL); sealed[name] {
			column := t.indexColumn(col, index)
			kept = append(kept, clause.Assignment{Column: clause.Column{Name: column}, Value: clause.Column{Table: "excluded", Name: column}})
		}
	}
	whole := t.whole(slices.Collect(maps.Keys(sealed))) && len(moves) == len(t.binds())
	if whole {
		kept = append(kept, moves...) // all of it goes over; otherwise the row stays whose it is
	}
	if len(sealed) > 0 {
		if err := p.guardConflict(stmt, t, &onConflict, values, whole); err != nil {
			return false, err
		}
		empty = slices.DeleteFunc(empty, func(cell emptyCell) bool { return !sealed[cell.column] })
		if t.unopened.Load() {
			if err := p.keepMet(stmt, t, onConflict, values, empty); err != nil {
				return false, err
			}
		}
	}
	onConflict.DoUpdates = kept
	onConflict.DoNothing = len(kept) == 0
	c.Expression = onConflict
	stmt.Clauses["ON CONFLICT"] = c
	return len(sealed) == 0, nil
}

// checkConflict looks at all of an upsert that is no assignment.
func (p *Plugin) checkConflict(stmt *gorm.Statement, t *sealedTable, c clause.OnConflict) error {
	for _, column := range c.Columns {
		if err := p.checkText(stmt, t, "", column); err != nil {
			return err
		}
	}
	for _, expr := range slices.Concat(c.TargetWhere.Exprs, c.Where.Exprs) {
		if err := p.checkText(stmt, t, "", expr); err != nil {
			return err
		}
	}
	return p.checkText(stmt, t, "", clause.Expr{SQL: c.OnConstraint})
}

func excluded(a clause.Assignment, name string) bool {
	column, ok := a.Value.(clause.Column)
	return ok && column.Table == "excluded" && bare(column.Name) == name
}

func (p *Plugin) guardConflict(stmt *gorm.Statement, t *sealedTable, onConflict *clause.OnConflict, values clause.Values, whole bool) error {
	mysql := stmt.Name() == "mysql"
	if t.byRow {
		target := map[string]bool{}
		for _, column := range onConflict.Columns {
			target[bare(column.Name)] = true
		}
		known := len(target) == len(t.keys) && onConflict.OnConstraint == ""
		for _, key := range t.keys {
			known = known && target[key]
		}
		if mysql || !known {
			return t.fail(t.keys[0], "an upsert of values that are bound to their row must find rows by the key alone (on MySQL it finds them by every unique index)", ErrOwner)
		}
	}
	if mysql && whole {
		return nil
	}
	if mysql {
		return t.fail("", "on MySQL an upsert updates all sealed columns and the owner, or none", ErrOwner)
	}
	same := t.keysByRow() // a key that a collation takes for equal is another row
	if !whole {
		same = append(same, t.binds()...)
	}
	exprs := append([]clause.Expression(nil), onConflict.Where.Exprs...)
	if len(same) > 0 && len(exprs) > 0 {
		exprs = []clause.Expression{clause.And(exprs...)}
	}
	for _, column := range same {
		exprs = append(exprs, sameAsInserted(stmt, column, column != t.tenant && allUUIDs(values, column))...)
	}
	onConflict.Where.Exprs = exprs
	return nil
}
