package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"slices"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// People lists the persons of every column that names them, page by page, so
// that no connection is held between two persons; one who stands in several is
// listed as often. Rows that name a person and no tenant are nobody's: see
// [Store.Undecided]. A page is read in the order of the column's index: without
// one, each page reads the table.
func (s *Store) People(ctx context.Context) iter.Seq2[datastore.Person, error] {
	return func(yield func(datastore.Person, error) bool) {
		for _, e := range s.entities {
			for _, n := range s.namings(e) {
				if !s.peopleOf(ctx, n, yield) {
					return
				}
			}
		}
	}
}

// A naming is a column that names persons.
type naming struct {
	e      *entity
	person field
	from   string
	when   []datamap.When
}

func (s *Store) namings(e *entity) (all []naming) {
	from := s.table(e.Name) + " t0"
	for _, w := range slices.Concat(e.ways, e.cuts) {
		if w.Names() {
			all = append(all, naming{e, w.fields[0], from, w.When})
		}
	}
	if j := e.Link; j != nil {
		from += fmt.Sprintf(" JOIN %s l ON %s", s.table(j.Table), same(s.at("l", j.Table, j.Record), s.at("t0", e.Name, e.Key[0])))
		all = append(all, naming{e, s.at("l", j.Table, j.Person), from, nil})
	}
	return all
}

// tenant is the column with the tenant of the persons that are named.
func (s *Store) tenant(n naming) (f field, ok bool) {
	switch j := n.e.Link; {
	case n.e.Tenant != "":
		return s.at("t0", n.e.Name, n.e.Tenant), true
	case j != nil && j.Tenant != "":
		return s.at("l", j.Table, j.Tenant), true
	}
	return field{}, false
}

// Undecided counts, by table, the rows that name a person, or a row of another
// table that leads to one, and no tenant: nobody
// can tell whose they are, so that no erasure touches them and none is complete
// in their sight. Give them a tenant.
func (s *Store) Undecided(ctx context.Context) (rows []datastore.Row, err error) {
	for _, e := range s.entities {
		for _, n := range s.namings(e) {
			tenant, ok := s.tenant(n)
			if !ok {
				continue
			}
			where := condition{parts: []string{n.person.name + " IS NOT NULL", tenant.name + " IS NULL"}}
			for _, when := range n.when {
				s.is(&where, s.at("t0", e.Name, when.Column), when.Is)
			}
			if rows, err = s.undecided(ctx, rows, e, n.from, where, "names a person and no tenant"); err != nil {
				return nil, err
			}
		}
		for _, w := range slices.Concat(e.ways, e.cuts) {
			if w.Table == "" || e.Tenant == "" {
				continue
			}
			where := condition{parts: []string{s.at("t0", e.Name, e.Tenant).name + " IS NULL"}}
			for _, f := range w.fields {
				if f.name != s.at("t0", e.Name, e.Tenant).name {
					where.add(f.name + " IS NOT NULL")
				}
			}
			s.when(&where, e, &w)
			if rows, err = s.undecided(ctx, rows, e, s.table(e.Name)+" t0", where, "names a row of "+w.Table+" and no tenant"); err != nil {
				return nil, err
			}
		}
	}
	return rows, nil
}

func (s *Store) undecided(ctx context.Context, rows []datastore.Row, e *entity, from string, where condition, because string) ([]datastore.Row, error) {
	var count int
	query := fmt.Sprintf("SELECT COUNT(*) FROM %s WHERE %s", from, where)
	if err := sqldb.One(ctx, s.db, []any{&count}, s.db.Bind(query), where.args...); err != nil {
		return nil, dbError("people", e.Name, err)
	}
	if count > 0 {
		rows = append(rows, datastore.Row{Table: e.Name, Count: count, Because: because})
	}
	return rows, nil
}

func (s *Store) peopleOf(ctx context.Context, n naming, yield func(datastore.Person, error) bool) bool {
	tenants := []string{s.cfg.Map.Tenant}
	if tenant, ok := s.tenant(n); ok {
		var err error
		tenants, err = s.texts(ctx, "people", n.e.Name, fmt.Sprintf("SELECT DISTINCT %s FROM %s WHERE %s IS NOT NULL ORDER BY 1", tenant.distinct(), n.from, tenant.name))
		if err != nil {
			return yield(datastore.Person{}, err) && false
		}
	}
	for _, tenant := range tenants {
		for p := (page{full: true}); p.full; {
			var err error
			if p, err = s.pageAfter(ctx, n, tenant, p.last); err != nil {
				yield(datastore.Person{}, err)
				return false
			}
			for _, id := range p.ids {
				if !yield(datastore.Person{Tenant: tenant, ID: id}, nil) {
					return false
				}
			}
		}
	}
	return true
}

// A page is some of the ids in a column: those in so many rows.
type page struct {
	ids  []string
	last any  // where it ends, as a value to compare with
	full bool // more may follow
}

const pageRows = 10_000

// pageAfter reads the next page of a column: the rows behind a position in the
// order of its index, as far as a page goes, and of these each id once. The limit
// stands innermost, so that no plan sorts or groups the table for the sake of one
// page, whatever the database knows of it. Ids that the column takes for equal and
// bytes do not (p1 and P1) are two persons: those that a page would part are read
// behind it.
func (s *Store) pageAfter(ctx context.Context, n naming, tenant string, after any) (p page, err error) {
	k := n.person.walk()
	where := condition{parts: []string{n.person.name + " IS NOT NULL"}}
	if after != nil {
		where = condition{parts: []string{k.position + " > " + k.mark}, args: []any{after}}
	}
	s.whose(&where, n, tenant)
	rows := 0
	var end any
	err = sqldb.Each(ctx, s.db, func(r *sql.Rows) (err error) {
		var stored any
		var alike int
		if err := r.Scan(&end, &stored, &alike); err != nil {
			return err
		}
		id, err := n.person.spelled(stored)
		if rows += alike; !slices.Contains(p.ids[max(0, len(p.ids)-2):], id) { // two at one position: see alike
			p.ids = append(p.ids, id)
		}
		return err
	}, s.db.Bind(k.page(n.from, where, s.pageRows)), where.args...)
	if err != nil || rows < s.pageRows {
		return p, dbError("people", n.e.Name, err)
	}
	p.full = true
	if p.last, err = n.person.end(end, p.ids[len(p.ids)-1]); err == nil && n.person.alike(end) {
		err = s.alikeAt(ctx, n, tenant, &p)
	}
	return p, dbError("people", n.e.Name, err)
}

// alikeAt adds the ids that the column takes for the last one of the page.
func (s *Store) alikeAt(ctx context.Context, n naming, tenant string, p *page) error {
	k := n.person.walk()
	where := condition{parts: []string{k.position + " = " + k.mark}, args: []any{p.last}}
	s.whose(&where, n, tenant)
	known := map[string]bool{}
	for _, id := range p.ids {
		known[id] = true
	}
	return sqldb.Each(ctx, s.db, func(r *sql.Rows) error {
		var stored any
		if err := r.Scan(&stored); err != nil {
			return err
		}
		id, err := n.person.spelled(stored)
		if !known[id] {
			p.ids = append(p.ids, id)
		}
		return err
	}, s.db.Bind(fmt.Sprintf("SELECT DISTINCT %s FROM %s WHERE %s", n.person.bytes(), n.from, where)), where.args...)
}

// whose asks that a row names a person of the tenant.
func (s *Store) whose(where *condition, n naming, tenant string) {
	if f, ok := s.tenant(n); ok {
		s.is(where, f, tenant)
	}
	for _, when := range n.when {
		s.is(where, s.at("t0", n.e.Name, when.Column), when.Is)
	}
}

// A walk is the order in which the ids of a column are listed.
type walk struct {
	position string // what is in order: the column itself, where it has an index
	mark     string // a placeholder for a position
	id       string // the text of the id at the position p; empty: one position may have several
	bytes    string // the text of the id of a row
	each     bool   // rows are read one by one: SQLite would build an index to tell them apart
}

func (f field) walk() walk {
	at := f
	at.name = "p"
	switch {
	case f.on == sqldb.SQLite:
		// Numbers come before texts, and those before blobs, so that only a value
		// of its own type continues the list.
		return walk{position: f.name + " COLLATE BINARY", mark: "?", bytes: f.text(), each: true}
	case f.kind == other:
		return walk{position: f.bytes(), mark: f.byteMark(), id: "p"}
	case f.loose:
		return walk{position: f.name, mark: f.mark(), bytes: f.bytes()}
	}
	return walk{position: f.name, mark: f.mark(), id: at.text()}
}

// page is the statement for one page: positions, ids, and how many rows have each.
func (k walk) page(from string, where condition, rows int) string {
	if k.each {
		return fmt.Sprintf("SELECT %s, %s, 1 FROM %s WHERE %s ORDER BY 1 LIMIT %d", k.position, k.bytes, from, where, rows)
	}
	read, group, id, order := k.position+" AS p", "p", k.id, "1"
	if id == "" {
		read, group, id, order = read+", "+k.bytes+" AS b", "p, b", "b", "1, 2"
	}
	return fmt.Sprintf("SELECT p, %s, n FROM (SELECT %s, COUNT(*) AS n FROM (SELECT %s FROM %s WHERE %s ORDER BY %s LIMIT %d) x GROUP BY %[2]s) y ORDER BY %[8]s",
		id, group, read, from, where, k.position, rows, order)
}

// end is a position as a value to compare with.
func (f field) end(position any, id string) (any, error) {
	switch {
	case f.on == sqldb.SQLite:
		return position, nil
	case f.kind == textual, f.kind == other:
		return f.spelled(position)
	}
	v, _ := f.value(id) // the database has written it
	return v, nil
}

// alike reports whether one position may have several ids: on SQLite 1 and 1.0.
func (f field) alike(position any) bool {
	if f.on == sqldb.SQLite {
		switch position.(type) {
		case int64, float64:
			return true
		}
		return false
	}
	return f.loose && f.kind == textual
}

// texts reads a result of one text column.
func (s *Store) texts(ctx context.Context, op, table, query string, args ...any) (list []string, err error) {
	err = sqldb.Each(ctx, s.db, func(rows *sql.Rows) error {
		var text string
		err := rows.Scan(&text)
		list = append(list, text)
		return err
	}, s.db.Bind(query), args...)
	return list, dbError(op, table, err)
}
