package accesscontrol

import (
	"context"
	"errors"
	"log/slog"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
)

// MaxArgs is the largest number of bind values of one filter. SQLite takes
// 32,766 in a statement; the rest is left to the caller.
const MaxArgs = 20_000

// Where is the condition of a filter. It is a value: it stays as it was made
// when the policy set is reloaded. The zero value selects nothing.
type Where struct {
	table            *table
	tenant           string
	permits, forbids []pred
	everything       bool // some permit has no condition left
}

// Filter gives the condition that selects exactly the records for which
// [Policy.Check] would answer nil, of the principal's tenant only. Put it into
// the UPDATE or DELETE as well, rather than checking first and writing by id.
func (p *Policy) Filter(ctx context.Context, principal Principal, action, record string) (Where, error) {
	if err := ctx.Err(); err != nil {
		return Where{}, err
	}
	s, err := p.snapshot()
	if err != nil {
		return Where{}, err
	}
	a, err := s.actor(principal)
	if err != nil {
		return Where{}, err
	}
	q, err := s.question(a, action, record)
	if err != nil {
		return Where{}, err
	}
	if q.table.Name == "" {
		return Where{}, &RequestError{Part: "record", Name: record, Text: "the binding names no SQL table"}
	}
	w, err := s.filter(q)
	if err != nil {
		return Where{}, err
	}
	_, args := w.Marks("")
	if len(args) > MaxArgs {
		return Where{}, ErrTooLarge
	}
	s.observe(ctx, "accesscontrol.filter", float64(len(args)), slog.String("action", action), slog.String("record", record))
	return w, nil
}

// filter compiles the policies about the question, in the order of their ids,
// so that the text is the same for the same principal and statements can be
// cached by it.
func (s *snapshot) filter(q *question) (Where, error) {
	if q.table.OnlyTenant != "" && q.table.OnlyTenant != q.tenant {
		return Where{}, nil
	}
	w := Where{table: q.table, tenant: q.tenant}
	c := &compiler{table: q.table, env: s.env(q), known: q.entities}
	for _, i := range s.rules.about(q.action.UID, q.action.Ancestors, q.uid, q.groups) {
		p := s.rules.policies[i]
		if !s.heads(p, q) {
			continue
		}
		condition, err := c.policy(p)
		var refused *untranslatable
		if errors.As(err, &refused) { // cannot happen after Load; never a guess if it does
			return Where{}, &PolicyError{[]Problem{{Policy: p.ID, Position: p.Position, Text: refused.text}}}
		}
		switch {
		case err != nil:
			return Where{}, err
		case p.Permit && condition == constTrue:
			w.everything = true
		case p.Permit && (condition == constFalse || condition == constNull):
		case p.Permit:
			w.permits = append(w.permits, condition)
		case condition == constTrue || condition == constNull:
			return Where{}, nil // forbidden, or a forbid that fails: both deny
		case condition != constFalse:
			w.forbids = append(w.forbids, condition)
		}
	}
	if !w.everything && len(w.permits) == 0 {
		return Where{}, nil
	}
	return w, nil
}

// Nothing reports that no record can pass, so that the query can be spared.
func (w Where) Nothing() bool { return w.table == nil }

// Postgres gives the condition with placeholders from $first on, for a table
// known as alias in the statement. It stands in parentheses and can be joined
// with AND to any other condition.
func (w Where) Postgres(alias string, first int) (sql string, args []any) {
	return w.render(&sqlWriter{alias: alias, postgres: true, next: first})
}

// Marks gives the condition with ? placeholders, for SQLite and MySQL.
func (w Where) Marks(alias string) (sql string, args []any) {
	return w.render(&sqlWriter{alias: alias})
}

// render writes `(tenant AND ((p1) IS TRUE OR …) AND (f1) IS FALSE AND …)`.
// NULL, which is Cedar's error, does not permit, and does not lift a forbid.
func (w Where) render(out *sqlWriter) (string, []any) {
	if w.Nothing() {
		return "(1 = 0)", nil
	}
	out.raw("(")
	if w.table.Tenant == "" {
		out.raw("1 = 1") // the whole table is the tenant's; compared in Filter
	} else {
		comparison{"=", term{column: &column{name: w.table.Tenant, typ: cedarx.Type{Kind: cedarx.String}}}, term{bound: w.tenant}}.write(out)
	}
	if !w.everything {
		out.raw(" AND (")
		writeTests(out, w.permits, "IS TRUE", " OR ")
		out.raw(")")
	}
	if len(w.forbids) > 0 {
		out.raw(" AND ")
		writeTests(out, w.forbids, "IS FALSE", " AND ")
	}
	out.raw(")")
	return out.text.String(), out.args
}

// writeTests joins the tests of policies. Many are written as a tree of
// halves: SQLite parses at most 1,000 levels, and a plain row is a level each.
func writeTests(w *sqlWriter, preds []pred, test, word string) {
	const plain = 64
	if len(preds) > plain {
		half := len(preds) / 2
		w.raw("(")
		writeTests(w, preds[:half], test, word)
		w.raw(")" + word + "(")
		writeTests(w, preds[half:], test, word)
		w.raw(")")
		return
	}
	for i, p := range preds {
		if i > 0 {
			w.raw(word)
		}
		w.raw("(")
		p.write(w)
		w.raw(") " + test)
	}
}
