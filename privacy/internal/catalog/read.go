package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
)

// Read reads the schema: on SQLite the file itself, on PostgreSQL all schemas of
// the database, on MariaDB and MySQL the database in use and those that the map
// names, which may be nil. An error names no value.
func Read(ctx context.Context, db *sqldb.DB, m *datamap.Map) (*Schema, error) {
	r := &reader{ctx: ctx, Schema: &Schema{Kind: db.Kind, byName: map[string]*Table{}, names: map[*Table]string{}}, byID: map[string]*Table{}}
	tables := mapped(m)
	read := map[sqldb.Kind]func([]string) error{sqldb.SQLite: r.sqlite, sqldb.Postgres: r.postgres, sqldb.MariaDB: r.mysql, sqldb.MySQL: r.mysql}[db.Kind]
	err := db.ReadCatalog(ctx, func(q sqldb.Querier) error {
		r.q = q
		return read(schemasOf(tables))
	})
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", sqldb.Safe(err))
	}
	slices.SortStableFunc(r.Tables, func(a, b *Table) int {
		return strings.Compare(a.Schema+"\x00"+a.Name, b.Schema+"\x00"+b.Name)
	})
	for _, t := range r.Tables {
		if r.byName[r.foldTable(t.Schema+"."+t.Name)] = t; t.Default {
			r.byName[r.foldTable(t.Name)] = t
		}
	}
	for _, name := range tables {
		if t := r.Table(name); t != nil {
			r.names[t] = name
		}
	}
	return r.Schema, nil
}

// mapped lists the tables of a map, link tables among them.
func mapped(m *datamap.Map) (names []string) {
	if m == nil {
		return nil
	}
	for _, t := range m.Tables {
		if names = append(names, t.Name); t.Link != nil {
			names = append(names, t.Link.Table)
		}
	}
	return names
}

// schemasOf are the databases of MariaDB's or MySQL's server that the tables
// name besides the one in use. The others are other people's.
func schemasOf(tables []string) (named []string) {
	for _, table := range tables {
		if schema, _, ok := strings.Cut(table, "."); ok && !slices.Contains(named, schema) {
			named = append(named, schema)
		}
	}
	return named
}

type reader struct {
	*Schema
	ctx  context.Context // of one call of Read
	q    sqldb.Querier
	byID map[string]*Table // by schema and name
}

// each reads the rows of a question into the same places.
func (r *reader) each(query string, args []any, into []any, row func()) error {
	return sqldb.Each(r.ctx, r.q, func(rows *sql.Rows) error {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		row()
		return nil
	}, query, args...)
}

func (r *reader) id(schema, name string) string {
	return r.foldTable(schema) + "\x00" + r.foldTable(name)
}

// table is the table of that name, which is made where it is not yet known; nil
// for the library's own.
func (r *reader) table(schema, name string) *Table {
	if Ours(name) {
		return nil
	}
	id := r.id(schema, name)
	if r.byID[id] == nil {
		r.byID[id] = &Table{Schema: schema, Name: name, Form: Plain, Atomic: true}
		r.Tables = append(r.Tables, r.byID[id])
	}
	return r.byID[id]
}

// index adds a column to an index of the table, which is the last one where it
// has that name.
func (t *Table) index(name, column string, unique, partial bool) *Index {
	if n := len(t.Indexes); n == 0 || t.Indexes[n-1].Name != name {
		t.Indexes = append(t.Indexes, Index{Name: name, Unique: unique, Partial: partial})
	}
	last := &t.Indexes[len(t.Indexes)-1]
	last.Columns = append(last.Columns, column)
	return last
}

// foreign adds a column to a foreign key.
func (r *reader) foreign(key ForeignKey, column, to string) {
	n := len(r.Foreign)
	if n == 0 || r.Foreign[n-1].Name != key.Name || r.Foreign[n-1].Child != key.Child || r.Foreign[n-1].Parent != key.Parent {
		r.Foreign = append(r.Foreign, key)
		n++
	}
	last := &r.Foreign[n-1]
	last.Columns, last.To = append(last.Columns, column), append(last.To, to)
	if last.OnDelete == SetNull || last.OnDelete == SetDefault {
		last.Empties = last.Columns
	}
}
