package adoption

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// groupPage is how many groups of spellings are asked for at once.
const groupPage = 200

// spellings: what a search in the clear takes for equal and the normaliser of the
// index tells apart, a search finds less of from ReadSealed on, without an error.
func (m *moving) spellings(ctx context.Context) (out []Obstacle, err error) {
	if m.options.LoseSpellings {
		return nil, nil
	}
	for _, c := range m.cells {
		by, ok := c.comparedBy()
		if !ok || len(c.indexes) == 0 {
			continue
		}
		s := spelled{l: m.live, tenant: m.row.tenant, c: c, by: by, index: cmp.Or(c.Index, c.indexes[0].Name)}
		if err := s.look(ctx); err != nil {
			return nil, err
		}
		if s.rows > 0 {
			out = append(out, Obstacle{Column: c.Name, Rows: s.rows, Listed: s.listed, Option: "LoseSpellings", Why: fmt.Sprintf("%d rows hold in %s what the database takes for equal to other rows and the normaliser of %s tells apart: a search that finds them today will not; declare a normaliser that takes as much for equal, while the table is at %s, or write them alike", s.rows, c.Plain, s.index, Plain)})
		}
	}
	return out, nil
}

// comparedBy is what a search in the clear compares, where both of its sides are the
// same: the column, or lower(column). What compares otherwise is not asked.
func (c liveColumn) comparedBy() (expression string, ok bool) {
	left, right, ok := strings.Cut(c.Compare, "=")
	left, right = strings.TrimSpace(left), strings.TrimSpace(right)
	if !ok || strings.ReplaceAll(right, "{value}", "{column}") != left {
		return "", false
	}
	return strings.ReplaceAll(left, "{column}", c.plain.Name), true
}

// spelled looks for values that are equal in the clear and not to an index.
type spelled struct {
	l      *live
	tenant string
	c      liveColumn
	by     string // what is compared in the clear
	index  string

	rows   int64
	listed []Left
}

// exactly is an expression that no collation takes for equal to another one.
func (s *spelled) exactly(expression string) string {
	switch s.l.db.Kind {
	case sqldb.SQLite:
		return expression + ` COLLATE BINARY` // as text: bytes are those of the database's encoding
	case sqldb.Postgres:
		return `CAST(` + expression + ` AS text) COLLATE "C"`
	case sqldb.MariaDB, sqldb.MySQL:
	}
	return `CAST(CONVERT(` + expression + ` USING utf8mb4) AS BINARY)`
}

// look asks for the groups of equal values that have several spellings, in pages.
func (s *spelled) look(ctx context.Context) error {
	of, args := s.l.of(s.tenant)
	one, other := s.exactly(s.c.plain.Name), s.exactly(s.by)
	for after := (*string)(nil); ; {
		where, given := of+" AND "+s.c.plain.Name+" IS NOT NULL", slices.Clone(args)
		if after != nil {
			where, given = where+" AND "+s.by+" > ?", append(given, *after)
		}
		var groups []any
		err := s.l.rows(ctx, func(scan func(...any) error) error {
			var first []byte
			err := scan(&first)
			groups = append(groups, string(first))
			return err
		}, `SELECT MIN(`+other+`) FROM `+s.l.sql+` WHERE `+where+` GROUP BY `+s.by+` HAVING MIN(`+one+`) <> MAX(`+one+`) ORDER BY `+s.by+fmt.Sprintf(` LIMIT %d`, groupPage), given...)
		if err != nil || len(groups) == 0 {
			return err
		}
		if err := s.compare(ctx, groups); err != nil || len(groups) < groupPage {
			return err
		}
		last := fmt.Sprint(groups[len(groups)-1])
		after = &last
	}
}

// compare reads the rows of some groups, one group after the other.
func (s *spelled) compare(ctx context.Context, groups []any) error {
	where, args := s.l.of(s.tenant)
	columns := append([]string{`DENSE_RANK() OVER (ORDER BY ` + s.by + `)`, s.l.db.Text(s.c.plain)}, s.l.nameTexts()...)
	var group int64
	var first string
	return s.l.rows(ctx, func(scan func(...any) error) error {
		var of int64
		var stored any
		names := make([]any, len(s.l.named))
		into := []any{&of, &stored}
		for i := range names {
			into = append(into, &names[i])
		}
		if err := scan(into...); err != nil {
			return err
		}
		value, ok := s.c.plain.Read(stored).(string)
		if raw, bytes := stored.([]byte); !ok && bytes {
			value, ok = string(raw), true
		}
		switch {
		case !ok:
		case of != group:
			group, first = of, value
		case !s.same(first, value):
			s.rows++
			if len(s.listed) < maxListed {
				s.listed = append(s.listed, Left{Row: s.l.nameOf(names), Column: s.c.Name, Why: "its spelling is another value to the normaliser of " + s.index})
			}
		}
		return nil
	}, `SELECT `+strings.Join(columns, ", ")+` FROM `+s.l.sql+` WHERE `+where+` AND `+s.by+` IN (`+sqldb.Marks(len(groups))+`) ORDER BY 1`, append(args, groups...)...)
}

// same says whether the index takes two values for one, or indexes neither.
func (s *spelled) same(a, b string) bool {
	match := s.l.cfg.Table.Match
	return match(s.index, a, b) || !match(s.index, a, a) && !match(s.index, b, b)
}

// collisions are rows that a unique index over the wide column would refuse: the
// normaliser may take for one what is UNIQUE in the clear.
func (m *moving) collisions(ctx context.Context, c column, old uniqueness, w wanted) (o Obstacle, err error) {
	wide := c.wideIndex()
	o = Obstacle{Column: c.Name, Option: "LoseUnique", Name: old.name, Why: fmt.Sprintf("%s is UNIQUE, and %s is not yet", c.Plain, wide)}
	if m.ahead {
		err = m.willCollide(ctx, c, old, w, &o)
	} else {
		err = m.collide(ctx, c, w, &o)
	}
	if o.Rows > 0 {
		o.Why = fmt.Sprintf("%s is UNIQUE, and %d rows hold in it what the normaliser of %s takes for the value of another row: a unique index over that would refuse them; make them one, or write them otherwise", c.Plain, o.Rows, wide)
	}
	return o, err
}

const whyCollides = "another row has the same value to the normaliser of the unique index"

// collide asks the database, where everything is sealed.
func (m *moving) collide(ctx context.Context, c column, w wanted, o *Obstacle) error {
	where := strings.Join(w.columns, " IS NOT NULL AND ") + " IS NOT NULL"
	if w.where != "" {
		where += " AND (" + w.where + ")"
	}
	groups := ` FROM ` + m.sql + ` WHERE ` + where + ` GROUP BY ` + w.list() + ` HAVING COUNT(*) > 1`
	err := m.rows(ctx, func(scan func(...any) error) error { return scan(&o.Rows) }, `SELECT COALESCE(SUM(n), 0) FROM (SELECT COUNT(*) AS n`+groups+`) AS several`)
	if err != nil || o.Rows == 0 {
		return err
	}
	return m.rows(ctx, func(scan func(...any) error) error {
		names := make([]any, len(m.named))
		into := make([]any, len(names))
		for i := range names {
			into[i] = &names[i]
		}
		err := scan(into...)
		o.Listed = append(o.Listed, Left{Row: m.nameOf(names), Column: c.Name, Why: whyCollides})
		return err
	}, `SELECT `+strings.Join(m.nameTexts(), ", ")+` FROM `+m.sql+` WHERE `+where+` AND (`+w.list()+`) IN (SELECT `+w.list()+groups+`) ORDER BY `+w.list()+fmt.Sprintf(` LIMIT %d`, maxListed))
}

// willCollide asks the normaliser about each value in the clear of the tenant. Eight
// bytes of each stay in memory; what falls together there is looked at once more.
func (m *moving) willCollide(ctx context.Context, c column, old uniqueness, w wanted, o *Obstacle) error {
	for _, column := range old.columns {
		if column != "" && column != c.Plain && column != m.def.Tenant || w.where != "" {
			return nil // its other columns, or its predicate, tell rows apart: that is asked when everything is sealed
		}
	}
	cell := slices.Index(m.order, c.Name)
	each := func(f func(r row, normal string)) error {
		for after := []any(nil); ; {
			rows, err := m.clears(ctx, m.row.tenant, after, 1000)
			if err != nil || len(rows) == 0 {
				return err
			}
			for _, r := range rows {
				value, err := clearText(r.cells[cell].plain)
				if err != nil {
					continue // such a value is not sealed
				}
				if normal, err := m.cfg.Table.Normalise(c.wideIndex(), value); err == nil && normal != "" {
					f(r, normal)
				}
			}
			after = rows[len(rows)-1].cursor
		}
	}
	seed := maphash.MakeSeed()
	var sums []uint64
	if err := each(func(_ row, normal string) { sums = append(sums, maphash.String(seed, normal)) }); err != nil {
		return err
	}
	slices.Sort(sums)
	several := map[uint64]bool{}
	for i := 1; i < len(sums); i++ {
		if sums[i] == sums[i-1] {
			several[sums[i]] = true
		}
	}
	if len(several) == 0 {
		return nil
	}
	rows, listed := map[string]int64{}, map[string][]string{}
	err := each(func(r row, normal string) {
		if !several[maphash.String(seed, normal)] {
			return
		}
		if rows[normal]++; len(listed) < maxListed && len(listed[normal]) < maxListed {
			listed[normal] = append(listed[normal], r.id)
		}
	})
	for normal, n := range rows {
		if n < 2 {
			continue
		}
		o.Rows += n
		for _, id := range listed[normal] {
			if len(o.Listed) < maxListed {
				o.Listed = append(o.Listed, Left{Row: id, Column: c.Name, Why: whyCollides})
			}
		}
	}
	return err
}
