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
		if err := scan(&u.name, &u.enforced, &u.immediate, &u.where, &key, &n, &column); err != nil {
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
		const of = `SELECT CAST(c.relname AS text) AS index_name, i.indisunique AND i.indisvalid, i.indimmediate, COALESCE(pg_get_expr(i.indpred, i.indrelid), ''), `
		return of + `true AS of_key, CAST(k.n AS integer) AS place, COALESCE(CAST(a.attname AS text), '')` + from +
			`CROSS JOIN LATERAL generate_series(0, i.indnkeyatts - 1) AS k(n) LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.n]` + these +
			` UNION ALL ` + of + `false, 0, CAST(a.attname AS text)` + from +
			`JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid AND d.refclassid = d.classid AND d.refobjid = i.indrelid
			JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = d.refobjsubid AND a.attnum > 0` + these + ` ORDER BY 1, 5 DESC, 6`, []any{quoted, quoted}, nil
	case sqldb.SQLite:
		master := "sqlite_master"
		if before, _, ok := strings.Cut(quoted, "."); ok {
			master = before + "." + master
		}
		return `SELECT l.name, NOT l.partial, true, CASE WHEN l.partial THEN 'partial' ELSE '' END, true, x.seqno, COALESCE(x.name, '')
			FROM pragma_index_list(?1, NULLIF(?2, '')) l, pragma_index_xinfo(l.name, NULLIF(?2, '')) x WHERE l."unique" AND x.key
			UNION ALL SELECT l.name, NOT l.partial, true, CASE WHEN l.partial THEN 'partial' ELSE '' END, false, 0, m.sql
			FROM pragma_index_list(?1, NULLIF(?2, '')) l JOIN ` + master + ` m ON m.type = 'index' AND m.name = l.name WHERE l."unique" AND m.sql IS NOT NULL ORDER BY 1, 5 DESC, 6`, []any{name, schema}, nil
	case sqldb.MariaDB, sqldb.MySQL:
	}
	return `SELECT INDEX_NAME, SUM(SUB_PART IS NOT NULL OR COLUMN_NAME IS NULL) OVER (PARTITION BY INDEX_NAME) = 0, true, '', true, SEQ_IN_INDEX, COALESCE(COLUMN_NAME, '') FROM information_schema.STATISTICS
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
		if c == "" || c == plain || c != wide && c != a.def.Tenant && !slices.Contains(old.columns, c) {
			return false
		}
	}
	return slices.Contains(u.columns, wide)
}

// noUniqueIndex: what is UNIQUE in the clear wants an index that can take its place,
// which is declared before the first move.
func (m *moving) noUniqueIndex(ctx context.Context) (out []Obstacle, err error) {
	if m.options.LoseUnique {
		return nil, nil
	}
	all, err := m.uniques(ctx)
	if err != nil {
		return nil, err
	}
	err = m.each(func(c column) error {
		if c.wideIndex() == "" && slices.ContainsFunc(all, func(u uniqueness) bool { return u.about(c.Plain) }) {
			out = append(out, Obstacle{Column: c.Name, Option: "LoseUnique", Why: fmt.Sprintf("%s is UNIQUE in the clear, and no index of at least 128 bits is declared over the sealed column to take its place: add encryption.Index{Column: %q, As: …, Unique: true} now, while the definition may change", c.Plain, c.Name+"_unique")})
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
	if m.options.LoseUnique {
		return nil, nil
	}
	all, err := m.uniques(ctx)
	if err != nil {
		return nil, err
	}
	err = m.each(func(c column) error {
		wide := c.wideIndex()
		for _, old := range all {
			if !old.about(c.Plain) || wide != "" && slices.ContainsFunc(all, func(u uniqueness) bool { return m.replaces(u, old, c.Plain, wide) }) {
				continue
			}
			if wide == "" {
				if !m.ahead { // which says that before
					out = append(out, Obstacle{Column: c.Name, Option: "LoseUnique", Why: fmt.Sprintf("%s is UNIQUE, and no index of at least 128 bits takes its place", c.Plain)})
				}
				continue
			}
			w := m.replacement(old, c.Plain, wide)
			o, err := m.collisions(ctx, c, old, w)
			if err != nil {
				return err
			}
			if o.Rows == 0 && m.ahead {
				continue // it is made on the way
			}
			if o.Rows == 0 {
				if o.SQL, err = m.build(ctx, w); err != nil {
					return err
				}
			}
			out = append(out, o)
		}
		return nil
	})
	return out, err
}
