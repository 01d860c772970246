package audit

import (
	"context"
	"testing"

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

// LiveTags makes tags of the rows of surrogates of persons.
func (t *Trail) LiveTags(tb testing.TB, tenant string) func(surrogate []byte, person string) []byte {
	tb.Helper()
	keys, err := t.macKeys(tb.Context(), tenant, surrogateKeyLabel)
	if err != nil {
		tb.Fatal(err)
	}
	return func(surrogate []byte, person string) []byte {
		return surrogateTag(&keys[0], tenant, [16]byte(surrogate), surrogateLive, nil, person)
	}
}

// UnmappedTag is the tag of the row of a surrogate of whom nobody says whose it is.
func (t *Trail) UnmappedTag(tb testing.TB, tenant string, surrogate []byte) []byte {
	tb.Helper()
	keys, err := t.macKeys(tb.Context(), tenant, surrogateKeyLabel)
	if err != nil {
		tb.Fatal(err)
	}
	return tagIfKnown(keys, tenant, [16]byte(surrogate), surrogateUnmapped)
}

// OpenErasures is how many erasures of a tenant a process remembers as open.
func (t *Trail) OpenErasures(tenant string) int { return len(t.erased.openOf(tenant)) }
