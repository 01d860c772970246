package gormfield

import (
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// sealConflict holds an upsert to what the values of the INSERT are sealed for:
// a row that is there already may have another owner, another tenant or another
// id, for which the sealed values would open never.
func (p *Plugin) sealConflict(stmt *gorm.Statement, t *sealedTable, values clause.Values) error {
	c, ok := stmt.Clauses["ON CONFLICT"]
	if !ok {
		return nil
	}
	onConflict, ok := c.Expression.(clause.OnConflict)
	if !ok {
		return t.fail("", "an upsert that cannot be looked into", ErrValue)
	}
	if onConflict.DoNothing {
		return nil
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
				return t.fail(name, "an upsert takes a sealed value from its INSERT: clause.AssignmentColumns", ErrValue)
			}
			sealed[name] = true
			kept = append(kept, a)
		case t.indexes[name] != nil: // goes with its column
		case name == t.owner && t.owner != "", name == t.tenant && t.tenant != "":
			if !excluded(a, name) {
				return t.fail(name, "an upsert takes the owner from its INSERT: clause.AssignmentColumns", ErrOwner)
			}
			moves = append(moves, a)
		default:
			if err := p.checkComputed(stmt, t, []clause.Column{a.Column}, []any{a.Value}); err != nil {
				return err
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
	whole := len(sealed) == len(t.columns) && len(moves) == len(t.binds())
	if whole {
		kept = append(kept, moves...) // all of it goes over; otherwise the row stays whose it is
	}
	if len(sealed) > 0 {
		if err := p.guardConflict(stmt, t, &onConflict, whole); err != nil {
			return err
		}
	}
	onConflict.DoUpdates = kept
	onConflict.DoNothing = len(kept) == 0
	c.Expression = onConflict
	stmt.Clauses["ON CONFLICT"] = c
	return nil
}

func excluded(a clause.Assignment, name string) bool {
	column, ok := a.Value.(clause.Column)
	return ok && column.Table == "excluded" && bare(column.Name) == name
}

func (p *Plugin) guardConflict(stmt *gorm.Statement, t *sealedTable, onConflict *clause.OnConflict, whole bool) error {
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
	if whole {
		return nil
	}
	if mysql {
		return t.fail("", "on MySQL an upsert updates all sealed columns and the owner, or none", ErrOwner)
	}
	for _, column := range t.binds() {
		onConflict.Where.Exprs = append(onConflict.Where.Exprs, clause.Expr{SQL: "? = ?", Vars: []any{
			clause.Column{Table: clause.CurrentTable, Name: column}, clause.Column{Table: "excluded", Name: column},
		}})
	}
	return nil
}
