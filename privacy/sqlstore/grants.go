package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/catalog"
)

// Grants lists the GRANT statements, one for each right, that a role needs on
// the tables of the map for all that a [Store] does, and none more; with those
// of privacy.Grants a desk works. They are for the owner of the tables, who has
// to be connected. What the application itself does, in Redaction.Apply too,
// needs rights of its own, and on PostgreSQL a schema other than public USAGE.
//
// A replay moves the counters of numbered ids on, which needs SELECT and UPDATE on
// their sequences, and ALTER on their tables on MariaDB.
//
// Rows are locked before they are erased, which needs the right to UPDATE some
// column also where rows only go, but on MariaDB: it is one that leads to the
// person.
func Grants(ctx context.Context, handle *sql.DB, m *datamap.Map, role string) ([]string, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	db, err := ask(ctx, handle)
	if err != nil {
		return nil, err
	}
	who, err := db.Quote(role)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: grants: the role: %w", err)
	}
	var list []string
	grant := func(table string, rights ...string) error {
		on, err := db.Quote(table)
		for _, right := range rights {
			if statement := "GRANT " + right + " ON " + on + " TO " + who; !slices.Contains(list, statement) { // a link table may be listed, too
				list = append(list, statement)
			}
		}
		return err
	}
	update := func(columns ...string) (rights []string) {
		for _, name := range columns {
			quoted, _ := db.Quote(name) // whose letters the map has checked
			rights = append(rights, "UPDATE ("+quoted+")")
		}
		return rights
	}
	locks := db.Kind != sqldb.MariaDB // which lets whoever reads a row lock it
	for _, t := range reaching(m) {
		columns := changedColumns(t)
		switch {
		case !locks:
			columns = slices.Compact(slices.Sorted(slices.Values(append(columns, loosened(t)...))))
		case len(columns) == 0:
			columns = lockColumn(t)
		}
		rights := append([]string{"SELECT"}, update(columns...)...)
		if slices.Contains(deletedFrom(m), t.Name) {
			rights = append(rights, "DELETE")
		}
		if err := grant(t.Name, rights...); err != nil {
			return nil, fmt.Errorf("sqlstore: grants: %w", err)
		}
		j := t.Link
		if j == nil {
			continue
		}
		rights = []string{"SELECT", "DELETE"}
		if locks {
			rights = append(rights, update(j.Person)...)
		}
		if err := grant(j.Table, rights...); err != nil {
			return nil, fmt.Errorf("sqlstore: grants: %w", err)
		}
	}
	counters, err := countersOf(ctx, db, m)
	if err != nil {
		return nil, err
	}
	for _, c := range counters {
		switch db.Kind {
		case sqldb.Postgres:
			list = append(list, "GRANT SELECT ON SEQUENCE "+c.sequence+" TO "+who, "GRANT UPDATE ON SEQUENCE "+c.sequence+" TO "+who)
		case sqldb.MariaDB, sqldb.MySQL:
			err = errors.Join(err, grant(c.table, "ALTER"))
		case sqldb.SQLite:
		}
	}
	return list, err
}

// countersOf lists the counters that a replay moves on.
func countersOf(ctx context.Context, db *sqldb.DB, m *datamap.Map) ([]counter, error) {
	s := &Store{cfg: Config{Map: m}, db: db}
	if err := s.readRelations(ctx); err != nil {
		return nil, err
	}
	schema, err := catalog.Read(ctx, db, m)
	if err != nil {
		return nil, dbError("grants", "(schema)", err)
	}
	s.readEntities(schema)
	return s.counters(ctx)
}

// changedColumns lists the columns that an erasure changes.
func changedColumns(t datamap.Table) []string {
	var names []string
	stays := t.Stays()
	for _, c := range t.Columns {
		action, changes := stays[c.Where()]
		if action == datamap.Retain && !t.IsPerson(c.Name) {
			action = t.Erase // once the obligation is over
		}
		if changes && action != datamap.Retain && action != datamap.Shred && action != datamap.Delete {
			names = append(names, c.Name)
		}
	}
	for _, e := range t.Edges {
		if e.Unlink == datamap.Null {
			names = append(names, t.Empties(e)...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// loosened are the columns that MariaDB has emptied before rows of a circle go.
func loosened(t datamap.Table) (columns []string) {
	for _, e := range t.Edges {
		if e.Leads() && e.Table == t.Name {
			columns = append(columns, t.Empties(e)...)
		}
	}
	return columns
}

// lockColumn is the one whose right lets a role lock the rows.
func lockColumn(t datamap.Table) []string {
	for _, e := range t.Ways() {
		return e.Columns[:1]
	}
	return t.Key[:1]
}
