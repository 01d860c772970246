package accesscontrol_test

import (
	"database/sql"
	"fmt"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

// tally counts what a test has seen.
type tally struct {
	sets, comparisons, allowed, failing int
	filters, empty, joined              int
	shown                               int
	refused                             map[string]int
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
