package accesscontrol

import (
	"context"
	"log/slog"

	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// MaxValues is the largest number of values that one filter compares with: ids
// of a principal's accounts, literals of policies. On PostgreSQL and SQLite a
// list of more than 50 is one argument. MySQL gets each text as two, of the
// 65,535 that it takes; the rest is left to the caller.
const MaxValues = 20_000

// Where is the condition of a filter. It is a value: it stays as it was made
// when the policy set is reloaded. The zero value selects nothing.
type Where struct {
	left *residual
	// value says that the condition is never NULL.
	value bool
	// also are further ones that must hold of a row, of the same table and
	// principal.
	also []*residual
	// except is what is taken out again.
	except *Where
}

// Filter is [Actor.Filter] for one question.
func (p *Policy) Filter(ctx context.Context, principal Principal, action, record string) (Where, error) {
	s, err := p.once(ctx, &principal)
	if err != nil {
		return Where{}, err
	}
	return s.filter(ctx, action, record)
}

// Filter gives the condition that selects exactly the records for which
// [Actor.Check] would answer nil, of the principal's tenant only. Put it into
// the UPDATE or DELETE as well, rather than checking first and writing by id.
func (a *Actor) Filter(ctx context.Context, action, record string) (Where, error) {
	s, err := a.enter(ctx)
	if err != nil {
		return Where{}, err
	}
	return s.filter(ctx, action, record)
}

func (s *standing) filter(ctx context.Context, action, record string) (Where, error) {
	r, err := s.residual(asked{action, record})
	if err != nil {
		return Where{}, err
	}
	if r.table.Name == "" {
		return Where{}, &RequestError{Part: "resource", Name: record, Text: "the binding names no SQL table"}
	}
	r.once.Do(r.measure)
	if r.values > MaxValues {
		return Where{}, ErrTooLarge
	}
	if s.set.config.Observe != nil {
		s.set.observe(ctx, "accesscontrol.filter", float64(r.values), slog.String("action", action), slog.String("resource", record))
	}
	if r.nothing {
		return Where{}, nil
	}
	return Where{left: r}, nil
}

// measure looks once at what a filter of this residual would be.
func (r *residual) measure() {
	if r.nothing = !r.mayHold(); r.nothing {
		return
	}
	out := sqlcond.New(sqlcond.SQLite, "")
	Where{left: r}.render(out)
	r.values = out.Values()
}

// mayHold says whether any record could pass.
func (r *residual) mayHold() bool {
	if !r.mayOwn() {
		return false
	}
	for _, f := range r.forbids {
		if f.condition == sqlcond.True || f.condition == sqlcond.Failed {
			return false // forbidden, or a forbid that fails: both deny
		}
	}
	for _, p := range r.permits {
		if p.condition != sqlcond.Failed {
			return true
		}
	}
	return false
}

// Nothing reports that no record can pass, so that the query can be spared.
func (w Where) Nothing() bool { return w.left == nil }

// Value is the same condition for places other than a WHERE: it is never NULL,
// so that it can be selected, negated, or joined with OR, also over the misses
// of an outer join. Databases use fewer indexes for it.
func (w Where) Value() Where {
	w.value = true
	return w
}

// Postgres gives the condition with placeholders from $first on, for a table
// known as alias in the statement. It stands in parentheses and is joined with
// AND to any other condition of a WHERE; anywhere else, [Where.Value] is what
// stands.
func (w Where) Postgres(alias string, first int) (sql string, args []any) {
	return w.render(sqlcond.Postgres(alias, first))
}

// SQLite gives the condition with ? placeholders for SQLite, as [Where.Postgres]
// does.
func (w Where) SQLite(alias string) (sql string, args []any) {
	return w.render(sqlcond.New(sqlcond.SQLite, alias))
}

// MySQL gives the condition with ? placeholders for MySQL and MariaDB, as
// [Where.Postgres] does.
func (w Where) MySQL(alias string) (sql string, args []any) {
	return w.render(sqlcond.New(sqlcond.MySQL, alias))
}

// Gorm gives the condition for GORM on PostgreSQL, which counts placeholders
// itself: names stand in "quotes", and placeholders are ?, as in
//
//	sql, args := where.Gorm("contacts")
//	db.Where(sql, args...).Find(&contacts)
//
// For GORM on other databases, [Where.SQLite] and [Where.MySQL] are what it
// takes. An alias that holds a ? selects nothing: GORM would count it.
func (w Where) Gorm(alias string) (sql string, args []any) {
	return w.render(sqlcond.New(sqlcond.PostgreSQL, alias))
}

// render writes `(tenant AND (p1 OR …) AND NOT (f1) AND …)`, which a NULL never
// makes TRUE: NULL is Cedar's error, which does not permit, and does not lift a
// forbid. A value is `((tenant) IS TRUE AND ((p1) IS TRUE OR …) AND (f1) IS
// FALSE AND …)`.
func (w Where) render(out *sqlcond.Writer) (string, []any) {
	if w.except != nil {
		w.difference(out)
	} else {
		w.write(out)
	}
	return out.Result()
}

func (w Where) write(out *sqlcond.Writer) {
	if w.Nothing() {
		out.Raw("(1 = 0)")
		return
	}
	isTrue := ""
	if w.value {
		isTrue = " IS TRUE"
	}
	out.Own(w.left.table.Name, w.left.tenant)
	out.Raw("(")
	switch t := w.left.table; {
	case t.Tenant != "":
		out.Join([]sqlcond.Cond{&sqlcond.Comparison{Left: t.tenant.term(), Right: sqlcond.Term{Known: sqlcond.TextOf(w.left.tenant)}}}, "", isTrue)
	case w.value: // the miss of an outer join is no record, whoever owns the table
		out.Join([]sqlcond.Cond{&sqlcond.Present{Column: &t.key.Column}}, "", "")
	default:
		out.Raw("1 = 1") // the whole table is the tenant's; compared in Filter
	}
	w.rules(out, w.left)
	for _, r := range w.also {
		w.rules(out, r)
	}
	out.Raw(")")
}

// rules writes ` AND (p1 OR …) AND NOT (f1) AND …`.
func (w Where) rules(out *sqlcond.Writer, r *residual) {
	isTrue := ""
	if w.value {
		isTrue = " IS TRUE"
	}
	switch permits, everything := conditions(r.permits); {
	case everything:
	case len(permits) == 1:
		out.Raw(" AND ")
		out.Join(permits, "", isTrue)
	default:
		out.Raw(" AND (")
		out.Join(permits, " OR ", isTrue)
		out.Raw(")")
	}
	if forbids, _ := conditions(r.forbids); len(forbids) > 0 {
		out.Raw(" AND ")
		if w.value {
			out.Join(forbids, " AND ", " IS FALSE")
		} else {
			out.Join(negated(forbids), " AND ", "")
		}
	}
}

func negated(conds []sqlcond.Cond) []sqlcond.Cond {
	out := make([]sqlcond.Cond, 0, len(conds))
	for _, c := range conds {
		out = append(out, sqlcond.Not(c))
	}
	return out
}

// conditions are those that depend on the record; always says that one of them
// does not.
func conditions(rules []rule) (out []sqlcond.Cond, always bool) {
	for _, r := range rules {
		switch r.condition {
		case sqlcond.True:
			always = true
		case sqlcond.Failed:
		default:
			out = append(out, r.condition)
		}
	}
	return out, always
}
