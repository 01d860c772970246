package adoption

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// uniqueness is an index of the table that lets no two rows be equal, or a
// constraint of PostgreSQL that excludes such rows.
type uniqueness struct {
	name      string
	columns   []string // "" is an expression, or a part of a column
	mentions  []string // what expressions and the predicate are about: columns, on SQLite their text
	where     string   // its predicate; "" is none
	enforced  bool     // a valid unique index
	immediate bool     // not only at COMMIT
	equality  bool     // what it refuses are equal rows

	by keyedBy // what it compares, as SQL; without parts where columns say all
}

// uniques lists what is unique in the table.
func (a *Adoption) uniques(ctx context.Context) (out []uniqueness, err error) {
	query, args, err := a.askingUniques()
	if err != nil {
		return nil, err
	}
	err = a.rows(ctx, func(scan func(...any) error) error {
		var u uniqueness
		var key bool
		var n int
		var column string
		if err := scan(&u.name, &u.enforced, &u.immediate, &u.equality, &u.where, &key, &n, &column); err != nil {
			return err
		}
		if len(out) == 0 || out[len(out)-1].name != u.name {
			out = append(out, u)
		}
		last := &out[len(out)-1]
		if key {
			last.columns = append(last.columns, column)
		} else {
			last.mentions = append(last.mentions, column)
		}
		return nil
	}, query, args...)
	return out, err
}

// askingUniques lists the columns of unique indexes: name of the index, whether it
// is whole and valid, whether it is asked at once, its predicate, whether a row is
// about a part of the key or about what expressions and the predicate mention.
func (a *Adoption) askingUniques() (query string, args []any, err error) {
	quoted, err := a.db.Quote(a.def.SQL)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrDefinition, err)
	}
	schema, name := a.parts()
	switch a.db.Kind {
	case sqldb.Postgres:
		const from = ` FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid `
		const these = ` WHERE i.indrelid = to_regclass(?) AND (i.indisunique OR i.indisexclusion) AND i.indisready `
		const equality = `NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint x CROSS JOIN LATERAL unnest(x.conexclop) AS e(oid) JOIN pg_catalog.pg_operator o ON o.oid = e.oid
			WHERE x.conindid = i.indexrelid AND x.contype = 'x' AND NOT (o.oprname = '=' AND (o.oprcanmerge OR o.oprcanhash)))`
		const of = `SELECT CAST(c.relname AS text) AS index_name, i.indisunique AND i.indisvalid, i.indimmediate, ` + equality + `, COALESCE(pg_get_expr(i.indpred, i.indrelid), ''), `
		return of + `true AS of_key, CAST(k.n AS integer) AS place, COALESCE(CAST(a.attname AS text), '')` + from +
			`CROSS JOIN LATERAL generate_series(0, i.indnkeyatts - 1) AS k(n) LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.n]` + these +
			` UNION ALL ` + of + `false, 0, CAST(a.attname AS text)` + from +
			`JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid AND d.refclassid = d.classid AND d.refobjid = i.indrelid
			JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = d.refobjsubid AND a.attnum > 0` + these + ` ORDER BY 1, 6 DESC, 7`, []any{quoted, quoted}, nil
	case sqldb.SQLite:
		master := "sqlite_master"
		if before, _, ok := strings.Cut(quoted, "."); ok {
			master = before + "." + master
		}
		return `SELECT l.name, NOT l.partial, true, true, CASE WHEN l.partial THEN 'partial' ELSE '' END, true, x.seqno, COALESCE(x.name, '')
			FROM pragma_index_list(?1, NULLIF(?2, '')) l, pragma_index_xinfo(l.name, NULLIF(?2, '')) x WHERE l."unique" AND x.key
			UNION ALL SELECT l.name, NOT l.partial, true, true, CASE WHEN l.partial THEN 'partial' ELSE '' END, false, 0, m.sql
			FROM pragma_index_list(?1, NULLIF(?2, '')) l JOIN ` + master + ` m ON m.type = 'index' AND m.name = l.name WHERE l."unique" AND m.sql IS NOT NULL ORDER BY 1, 6 DESC, 7`, []any{name, schema}, nil
	case sqldb.MariaDB, sqldb.MySQL:
	}
	return `SELECT INDEX_NAME, SUM(SUB_PART IS NOT NULL OR COLUMN_NAME IS NULL) OVER (PARTITION BY INDEX_NAME) = 0, true, true, '', true, SEQ_IN_INDEX, COALESCE(COLUMN_NAME, '') FROM information_schema.STATISTICS
		WHERE TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND TABLE_NAME = ? AND NON_UNIQUE = 0 ORDER BY INDEX_NAME, SEQ_IN_INDEX`, []any{schema, name}, nil
}

// about says whether a uniqueness ends with the values of a column: by itself, in an
// expression, or in the predicate.
func (u uniqueness) about(column string) bool {
	return slices.Contains(u.columns, column) || slices.ContainsFunc(u.mentions, func(m string) bool { return m == column || wordIn(m, column) })
}

// replacement is the index over the wide column that keeps what a uniqueness over
// the column in the clear promises: with its other columns, and its predicate where
// that is about others.
func (a *Adoption) replacement(old uniqueness, plain, wide string) wanted {
	var columns []string
	seen := false
	for _, c := range old.columns {
		if c == plain || c == "" {
			if seen {
				continue
			}
			seen, c = true, wide
		} else if other := a.wideOf(c); other != "" {
			c = other
		}
		columns = append(columns, c)
	}
	if !seen {
		columns = append(columns, wide)
	}
	w := wanted{unique: true, where: old.where}
	if a.db.Kind == sqldb.SQLite || wordIn(old.where, plain) {
		w.where = ""
	}
	w.name = a.indexName("crmguard_unique_", wide, strings.Join(append(columns, w.where, a.def.SQL), "\x00"))
	for i, c := range columns {
		if quoted, err := a.db.QuoteName(c); err == nil {
			columns[i] = quoted
		}
	}
	w.columns = columns
	return w
}

// replaces says whether a unique index keeps what another one promised: over the
// wide column, and no column besides but such as the other one had, or the tenant,
// whose values differ from those of other tenants by themselves.
func (a *Adoption) replaces(u, old uniqueness, plain, wide string) bool {
	if !u.enforced || !u.immediate && old.immediate || u.where != "" && (u.where != old.where || wordIn(u.where, plain)) {
		return false
	}
	for _, c := range u.columns {
		if c == wide || c == a.def.Tenant {
			continue
		}
		kept := func(of string) bool { return c == of && a.wideOf(c) == "" || c == a.wideOf(of) }
		if c == "" || c == plain || !slices.ContainsFunc(old.columns, kept) {
			return false
		}
	}
	return slices.Contains(u.columns, wide)
}

// wideOf is the wide column of an adopted column in the clear; "" is none.
func (a *Adoption) wideOf(plain string) string {
	for _, c := range a.columns {
		if c.Plain == plain {
			return c.wideIndex()
		}
	}
	return ""
}

// loses says whether it was stated that a uniqueness may be lost.
func (m *moving) loses(u uniqueness) bool { return slices.Contains(m.options.LoseUnique, u.name) }

// stated refuses a statement about a uniqueness that the table does not have.
func (m *moving) stated(ctx context.Context) error {
	if len(m.options.LoseUnique) == 0 {
		return nil
	}
	all, err := m.uniques(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, u := range all {
		names = append(names, u.name)
	}
	for _, name := range m.options.LoseUnique {
		if !slices.Contains(names, name) {
			return fmt.Errorf("%w: LoseUnique names %q, and what is unique in table %s is called: %q", ErrDefinition, name, m.def.Name, names)
		}
	}
	return nil
}

// noUniqueIndex: what is UNIQUE in the clear wants an index that can take its place,
// which is declared before the first move.
func (m *moving) noUniqueIndex(ctx context.Context) (out []Obstacle, err error) {
	all, err := m.described(ctx)
	if err != nil {
		return nil, err
	}
	err = m.each(func(c column) error {
		for _, u := range all {
			if c.wideIndex() == "" && u.about(c.Plain) && !u.unlike(c.Plain) && !m.loses(u) {
				out = append(out, Obstacle{Column: c.Name, Option: "LoseUnique", Name: u.name, Why: fmt.Sprintf("%s is UNIQUE in the clear, and no index of at least 128 bits is declared over the sealed column to take its place: add encryption.Index{Column: %q, As: …, Unique: true} now, while the definition may change", c.Plain, c.Name+"_unique")})
			}
		}
		return nil
	})
	return out, err
}

// wideIndex is the SQL column of an index that is wide enough to be unique.
func (c column) wideIndex() string {
	for _, x := range c.indexes {
		if x.Bits >= 128 {
			return x.Column
		}
	}
	return ""
}

// notUnique: each uniqueness of a column in the clear is kept by another one, which
// is made first. Rows that it would refuse are found before that.
func (m *moving) notUnique(ctx context.Context) (out []Obstacle, err error) {
	all, err := m.described(ctx)
	if err != nil {
		return nil, err
	}
	asked := map[string]bool{}
	err = m.each(func(c column) error {
		for _, old := range all {
			if !old.about(c.Plain) || m.loses(old) {
				continue
			}
			var found []Obstacle
			if old.unlike(c.Plain) {
				found, err = m.keptOtherwise(ctx, c, old, all)
			} else {
				found, err = m.keptByWide(ctx, c, old, all, asked)
			}
			if err != nil {
				return err
			}
			out = append(out, found...)
		}
		return nil
	})
	return out, err
}

// keptByWide looks for the index over the wide column that keeps the promise of a
// uniqueness.
func (m *moving) keptByWide(ctx context.Context, c column, old uniqueness, all []uniqueness, asked map[string]bool) ([]Obstacle, error) {
	wide := c.wideIndex()
	if wide == "" {
		if m.ahead { // which says that before
			return nil, nil
		}
		return []Obstacle{{Column: c.Name, Option: "LoseUnique", Name: old.name, Why: fmt.Sprintf("%s is UNIQUE, and no index of at least 128 bits takes its place", c.Plain)}}, nil
	}
	stands := slices.ContainsFunc(all, func(u uniqueness) bool { return m.replaces(u, old, c.Plain, wide) })
	if stands && !m.ahead { // it has refused what it would
		return nil, nil
	}
	w := m.replacement(old, c.Plain, wide)
	o, err := m.collisions(ctx, c, old, w)
	if err != nil || o.Rows == 0 && (stands || m.ahead && m.row.stage == Plain) { // its column comes on the way
		return nil, err
	}
	if o.Rows == 0 {
		if asked[w.of()] {
			return nil, nil // for another of its columns
		}
		asked[w.of()] = true
		if o.SQL, err = m.build(ctx, w); err != nil {
			return nil, err
		}
	}
	return []Obstacle{o}, nil
}
