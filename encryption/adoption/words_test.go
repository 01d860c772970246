package adoption_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/adoption"
)

// What a misspelt name is told: that of a tenant is named, and no driver is blamed;
// that of a column is told which ones there are.
func TestAMisspeltNameIsToldWhatThereIs(t *testing.T) {
	e := newLite(t)
	e.to(t, adoption.WriteBoth)
	_, err := e.process(t).Writer(t.Context(), "tenannt", "p1")
	require.ErrorIs(t, err, adoption.ErrDefinition)
	require.ErrorContains(t, err, `of tenant "t1"`)
	require.NotContains(t, err.Error(), "driver failed")

	_, err = e.a.Lookup(t.Context(), tenant, "email_sealed_idx", "ann@b.example")
	require.ErrorContains(t, err, "a logical column (email)")
	w, err := e.a.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = w.Plain("mail", "ann@b.example").Value()
	require.ErrorContains(t, err, "the SQL name of an index (email_sealed_idx)")
}

// A Backfill that is not Clean says why, also where no row is to blame.
func TestABackfillThatIsNotCleanSaysWhy(t *testing.T) {
	e := newLite(t)
	e.to(t, adoption.WriteBoth)
	e.old(t, "1", "p1", "ann@b.example")
	e.guard(t, adoption.NoGuard)
	report := e.backfill(t)
	require.False(t, report.Clean)
	require.Len(t, report.Listed, 1)
	require.Contains(t, report.Listed[0].Why, "one trigger (Reset) did not stand")
	e.guard(t, adoption.Reset)
	report = e.backfill(t)
	require.True(t, report.Clean)
	require.Empty(t, report.Listed)
	e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
	e.keys.meanwhile = func() { e.old(t, "0", "p1", "old@b.example") } // behind the pass
	report = e.backfill(t)
	require.False(t, report.Clean)
	require.Len(t, report.Listed, 1)
	require.Contains(t, report.Listed[0].Why, "1 rows stand in the clear only")
}

// Why a report is not Clean as a whole is said beside however many rows are listed.
func TestAReasonIsSaidBesideManyRows(t *testing.T) {
	e := newLite(t)
	e.exec(t, `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120) INSERT INTO contacts (id, email) SELECT i, 'ann@b.example' FROM n`) // of nobody
	e.to(t, adoption.WriteBoth)
	e.guard(t, adoption.NoGuard)
	report := e.backfill(t)
	require.False(t, report.Clean)
	require.EqualValues(t, 120, report.Refused)
	require.Len(t, report.Listed, 101)
	require.Contains(t, report.Listed[100].Why, "one trigger (Reset) did not stand")
	e.guard(t, adoption.Reset)
	require.True(t, e.backfill(t).Clean)
	e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
	report = e.backfill(t)
	require.False(t, report.Clean)
	require.Contains(t, report.Listed[100].Why, "120 rows stand in the clear only")
}
