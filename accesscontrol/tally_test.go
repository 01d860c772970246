package accesscontrol_test

import (
	"database/sql"
	"fmt"
	"reflect"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// tally counts what a test has seen.
type tally struct {
	sets, comparisons, allowed, failing int
	filters, empty, joined              int
	shown                               int
	refused                             map[string]int
}

// items asks of each item whether a principal may read it: the check, Cedar, which
// is given the records in a form of its own, the filter, whose text holds nothing
// but these words, and its value.
func (s *tally) items(t *testing.T, db *sql.DB, d testdb.Database, policy *accesscontrol.Policy, principal accesscontrol.Principal, text string, words *regexp.Regexp, records, asCedar []accesscontrol.Resource) {
	t.Helper()
	where, err := policy.Filter(t.Context(), principal, "read", "item")
	require.NoError(t, err, text)
	require.Regexp(t, words, first(rendered(d, where, "c")))
	require.Regexp(t, words, first(rendered(d, where.Value(), "c")))
	values, err := byValue(t.Context(), db, d, where)
	require.NoError(t, err, text)
	require.Equal(t, sql.NullBool{Valid: true}, values["none"], "the miss of an outer join is no record:\n%s", text)
	selected, err := byWhere(t.Context(), db, d, where)
	require.NoError(t, err, text)
	if s.filters++; len(selected) == 0 {
		s.empty++
	}
	actor, err := policy.For(principal)
	require.NoError(t, err, text)
	byCedar, err := policy.CedarFor(principal, "read", "item")
	require.NoError(t, err, text)
	for i, r := range records {
		decided, err := actor.Decide(t.Context(), "read", r)
		require.NoError(t, err, text)
		want, err := byCedar(asCedar[i])
		require.NoError(t, err, text)
		s.row(t, decided, want, values[r.ID], selected[r.ID], func() string {
			return fmt.Sprintf("row %v of %q, principal %s\n%s\n%s", r.Attrs, r.Tenant, principal.ID, text, first(rendered(d, where, "c")))
		})
	}
}

// row holds what is answered of one record beside each other: the check decides
// as Cedar does, with the same reasons, and the filter selects the row in both of
// its forms where the check permits. about is what is told of a difference.
func (s *tally) row(t *testing.T, decided, byCedar accesscontrol.Decision, value sql.NullBool, selected bool, about func() string) {
	t.Helper()
	decided.Nearest = accesscontrol.Nearest{}
	if !reflect.DeepEqual(byCedar, decided) {
		t.Fatalf("Cedar %v, Decide %v\n%s", byCedar, decided, about())
	}
	if s.comparisons++; decided.Allowed {
		s.allowed++
	}
	if decided.Reason == accesscontrol.ForbidFailed {
		s.failing++
	}
	if !value.Valid || value.Bool != decided.Allowed || selected != decided.Allowed {
		t.Fatalf("check %v %v, SQL %v and %v, %s", decided.Allowed, decided.Reason, value, selected, about())
	}
}

// proves says whether enough was permitted, one row in so many at least, and
// selected, by three filters in four.
func (s *tally) proves(t *testing.T, share int) {
	t.Helper()
	require.Greater(t, s.allowed, s.comparisons/share, "too little is permitted to prove anything")
	require.LessOrEqual(t, 4*s.empty, s.filters, "too many filters select nothing")
}

func (s *tally) String() string {
	return fmt.Sprintf("%d comparisons, %d allowed, %d denied by a failing forbid, %d of %d filters select nothing, %d join", s.comparisons, s.allowed, s.failing, s.empty, s.filters, s.joined)
}
