package audit

import (
	"context"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// FindText is the statement by which a page is found, and its arguments.
func (t *Trail) FindText(ctx context.Context, f Filter, p Page) (text string, args []any, err error) {
	if f, err = t.checkFilter(ctx, f); err != nil {
		return "", nil, err
	}
	from, err := parsePlace(p.Before)
	if err != nil {
		return "", nil, err
	}
	q, err := t.question(ctx, f)
	if err != nil {
		return "", nil, err
	}
	s := t.pageText(q, &from, limits{max(p.Size, 1) + 1, pendingMost, unfoundMost})
	return t.db.Bind(s.text.String()), s.args, nil
}

// FindKey is how a value stands in a column of crmguard_audit_found.
func FindKey(column, tenant, value string) int64 { return findKey(column, tenant, value) }

// Dialect is that of the trail's database.
func (t *Trail) Dialect() sqldb.Dialect { return t.db.Dialect }

// Verifier is the verifier key of the log.
func (t *Trail) Verifier() string { return t.config.Verifier }
