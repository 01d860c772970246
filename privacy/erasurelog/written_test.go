package erasurelog_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// Nothing is written that would not be read again: one such line, and the whole
// ledger is refused for ever.
func TestWhatIsWrittenCanBeRead(t *testing.T) {
	f := newFixture(t)
	for name, c := range map[string]struct {
		now    time.Time
		change func(e *erasurelog.Entry)
	}{
		"an end after the year 9999":     {f.now, func(e *erasurelog.Entry) { e.Until = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }},
		"a clock after the year 9999":    {time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC), func(*erasurelog.Entry) {}},
		"a clock before the year 0":      {time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC), func(*erasurelog.Entry) {}},
		"a code that is not UTF-8":       {f.now, func(e *erasurelog.Entry) { e.Because = "\xff" }},
		"a column that is not UTF-8":     {f.now, func(e *erasurelog.Entry) { e.Tops = map[string]int64{"a\xff": 1} }},
		"a plan without a number":        {f.now, func(e *erasurelog.Entry) { e.Plan = "00000000-0000-0000-0000-000000000000" }},
		"over when microseconds are cut": {f.now, func(e *erasurelog.Entry) { e.Until = f.now.Add(1) }},
	} {
		real := f.now
		f.now = c.now
		e := f.answered(erasurelog.Hold, newID(), "ann")
		c.change(&e)
		require.Error(t, f.try(e), name)
		f.now = real
		s, err := f.log.Verify(t.Context())
		require.NoError(t, err, name)
		require.Equal(t, int64(0), s.Head().N, name)
	}
}

// A plan has one spelling; whatever else is asked for is unknown.
func TestAPlanSpeltOtherwise(t *testing.T) {
	f := newFixture(t)
	const plan = "01a2054d-dfbe-790e-a264-7c9f86b09ab7"
	f.append(f.entry(erasurelog.Intent, plan, "ann"))
	f.force(f.entry(erasurelog.Intent, "00000000-0000-0000-0000-000000000001", "ann"))
	s := f.read()
	require.Equal(t, erasurelog.Begun, s.Status(plan))
	for _, id := range []string{"", "x", "01A2054D-DFBE-790E-A264-7C9F86B09AB7", "01a2054d.dfbe.790e.a264.7c9f86b09ab7", "01a2054d-dfbe-790e-a264-7c9f86b09ab", "01a2054d-dfbe-790e-a264-7c9f86b09ab7 "} {
		require.Equal(t, erasurelog.Unknown, s.Status(id), id)
		require.Empty(t, s.Plan(id), id)
		require.False(t, s.InForce(id), id)
	}
}

// The keys of the ledger's own lines, digests and notes are not had by way of a
// tag.
func TestTheLedgersOwnLabels(t *testing.T) {
	f := newFixture(t)
	for _, label := range []string{"crmguard/ledger/mac/v1", "crmguard/ledger/digest/v1", "crmguard/ledger/note-key/v1"} {
		tag, err := f.log.Tag(t.Context(), label, []byte("a-note"))
		require.ErrorIs(t, err, erasurelog.ErrConfig, label)
		require.Empty(t, tag)
		_, err = f.log.VerifyTag(t.Context(), label, []byte("a-note"), []byte("1.x"))
		require.ErrorIs(t, err, erasurelog.ErrConfig, label)
	}
}

// Two roots with one id: what the second one wrote would count as forged.
func TestRootsWithOneID(t *testing.T) {
	f := newFixture(t)
	f.erase("ann")
	f.roots = append([]root{{f.roots[0].id, seqKey(9)}}, f.roots...)
	f.open()
	_, err := f.log.Read(t.Context())
	require.ErrorIs(t, err, erasurelog.ErrKeys)
	require.NotErrorIs(t, err, erasurelog.ErrForged)
}
