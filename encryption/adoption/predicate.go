package adoption

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// What a uniqueness promises by its predicate alone, or by operators that are not
// those of equality, no index over the wide column keeps.

// described is uniques, with what each compares, as SQL.
func (m *moving) described(ctx context.Context) ([]uniqueness, error) {
	all, err := m.uniques(ctx)
	if err != nil {
		return nil, err
	}
	keyed, err := m.keyedBys(ctx)
	for i, u := range all {
		for _, one := range keyed {
			if one.name != u.name {
				continue
			}
			all[i].by = one
			if strings.HasPrefix(one.restore, "CREATE ") { // with collations and classes of operators
				all[i].by.parts, _ = indexed(one.restore)
			}
		}
	}
	return all, err
}

// onlyWhere says whether it is the predicate alone that is about a column.
func (u uniqueness) onlyWhere(column string) bool {
	return wordIn(u.by.where, column) && !slices.ContainsFunc(u.by.parts, func(part string) bool { return wordIn(part, column) })
}

// unlike says whether no index over the wide column keeps what a uniqueness of a
// column in the clear promises.
func (u uniqueness) unlike(column string) bool { return !u.equality || u.onlyWhere(column) }

// keptOtherwise looks for what keeps the promise of such a uniqueness.
func (m *moving) keptOtherwise(ctx context.Context, c column, old uniqueness, all []uniqueness) ([]Obstacle, error) {
	o := Obstacle{Column: c.Name, Option: "LoseUnique", Name: old.name}
	if !old.equality {
		o.Why = fmt.Sprintf("the exclusion %s over %s is no equality, and NULL will stand there: it will not refuse what it does today, and no unique index does; add one that asks the sealed column whether anything stands there", old.name, c.Plain)
		return []Obstacle{o}, nil
	}
	first := slices.IndexFunc(m.cells, func(cell liveColumn) bool { return wordIn(old.by.where, cell.Plain) })
	if m.cells[first].Name != c.Name {
		return nil, nil // said of that one
	}
	where, ok := m.sealedWhere(old)
	if !ok {
		o.Why = fmt.Sprintf("the uniqueness %s asks in its predicate what stands in %s, and NULL will stand there: it will not refuse what it does today, and no index asks that of sealed values", old.name, c.Plain)
		return []Obstacle{o}, nil
	}
	if m.ahead && m.row.stage == Plain || slices.ContainsFunc(all, func(u uniqueness) bool { return m.keeps(u, old, where) }) {
		return nil, nil
	}
	o.Why = fmt.Sprintf("the uniqueness %s asks whether anything stands in %s: one that asks that of %s is not there yet", old.name, c.Plain, c.sealed.SQL)
	w := wanted{unique: true, columns: old.by.parts, where: where}
	w.name = m.indexName("crmguard_unique_", c.sealed.SQL, strings.Join(append(slices.Clone(w.columns), w.where, m.def.SQL), "\x00"))
	err := m.collide(ctx, c, w, &o)
	if err == nil && o.Rows == 0 {
		o.SQL, err = m.build(ctx, w)
	}
	return []Obstacle{o}, err
}

// sealedWhere is the predicate that asks of sealed columns what a uniqueness asks of
// those in the clear, where that is no more than whether anything stands there.
func (m *moving) sealedWhere(old uniqueness) (where string, ok bool) {
	where = old.by.where
	parts := strings.Join(append(regexp.MustCompile(`'[^']*'`).FindAllString(where, -1), old.by.parts...), "\n")
	for _, cell := range m.cells {
		sealed, err := m.db.QuoteName(cell.sealed.SQL)
		if err != nil || wordIn(parts, cell.Plain) {
			return "", false
		}
		name := regexp.QuoteMeta(cell.Plain)
		asks := regexp.MustCompile(`(?i)(^|[\s(])(?:"` + name + `"|` + "`" + name + "`" + `|\[` + name + `\]|` + name + `)(\s+(?:IS\s+(?:NOT\s+)?NULL|NOT\s*NULL|ISNULL)\b)`)
		if where = asks.ReplaceAllString(where, `${1}`+strings.ReplaceAll(sealed, "$", "$$")+`${2}`); wordIn(where, cell.Plain) {
			return "", false
		}
	}
	classes := slices.ContainsFunc(old.by.parts, func(part string) bool { return regexp.MustCompile(`\s\w+_ops\b`).MatchString(part) })
	return where, !classes && !old.by.nullsEqual
}

// keeps says whether a unique index refuses all that another one does whose predicate
// would have to be this one.
func (m *moving) keeps(u, old uniqueness, where string) bool {
	bare := strings.NewReplacer(`"`, "", "`", "", " ", "", "\n", "")
	if !u.enforced && m.db.Kind != sqldb.SQLite || !u.immediate && old.immediate || u.by.where != "" && bare.Replace(u.by.where) != bare.Replace(where) {
		return false
	}
	parts := u.by.parts
	if len(parts) == 0 {
		parts = u.columns
	}
	return !slices.ContainsFunc(parts, func(part string) bool {
		return !slices.ContainsFunc(old.by.parts, func(of string) bool { return bare.Replace(of) == bare.Replace(part) })
	})
}
