package integrity_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/integrity/integritytest"
)

func cityLayout() integrity.Layout {
	return integrity.Layout{ID: "city/1", Columns: []integrity.Column{{Name: "city"}}}
}

// table makes n sealed rows of tenant t1, table cities.
func table(tb testing.TB, sealer *integrity.Sealer, n int) []integrity.SealedRow {
	tb.Helper()
	rows := make([]integrity.SealedRow, n)
	for i := range rows {
		rows[i] = cityRow(tb, sealer, fmt.Sprintf("r%d", i), 1, fmt.Sprintf("city %d", i))
	}
	return rows
}

func cityRow(tb testing.TB, sealer *integrity.Sealer, key string, version int64, city string) integrity.SealedRow {
	tb.Helper()
	row := integrity.SealedRow{Ref: integrity.Ref{Tenant: "t1", Table: "cities", Key: key, Version: version, SchemaID: "city/1"}, Values: map[string]any{"city": city}}
	seal, err := sealer.Seal(context.Background(), row.Ref, row.Values)
	require.NoError(tb, err)
	row.Seal = seal
	return row
}

func all(rows []integrity.SealedRow) iter.Seq2[integrity.SealedRow, error] {
	return func(yield func(integrity.SealedRow, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}

func citySealer(tb testing.TB) (*integrity.Sealer, *integritytest.Tagger) {
	tb.Helper()
	tagger := &integritytest.Tagger{}
	sealer, err := integrity.NewSealer(tagger, cityLayout())
	require.NoError(tb, err)
	return sealer, tagger
}

func cities() integrity.SweepOptions {
	return integrity.SweepOptions{Tenant: "t1", Table: "cities"}
}

func sweep(tb testing.TB, sealer *integrity.Sealer, rows []integrity.SealedRow, options integrity.SweepOptions) integrity.SweepReport {
	tb.Helper()
	report, err := sealer.Sweep(context.Background(), all(rows), options)
	require.NoError(tb, err)
	return report
}

func TestASweepFindsWhatIsWrong(t *testing.T) {
	sealer, _ := citySealer(t)
	rows := table(t, sealer, 2500)
	var progress []int64
	options := cities()
	options.Progress = func(n int64) { progress = append(progress, n) }
	clean := sweep(t, sealer, rows, options)
	require.True(t, clean.OK())
	require.Equal(t, int64(2500), clean.Verified)
	require.Equal(t, int64(2500), clean.Roots.Rows())
	require.Equal(t, []int64{1000, 2000}, progress)
	require.Zero(t, clean.Unversioned)
	require.Equal(t, int64(1), sweep(t, sealer, []integrity.SealedRow{cityRow(t, sealer, "r0", 0, "Bern")}, cities()).Unversioned)

	rows[3].Values = map[string]any{"city": "Canary"}
	rows[4].Values = map[string]any{"city": 7}
	rows[5].Seal = nil
	rows[6].Ref.SchemaID = "city/9"
	rows[7].Seal = rows[8].Seal // a seal of another row
	rows = append(rows, rows[9])
	var told []integrity.SweepFinding
	options.Found = func(f integrity.SweepFinding) error { told = append(told, f); return nil }
	report := sweep(t, sealer, rows, options)
	require.False(t, report.OK())
	require.Equal(t, map[integrity.Verdict]int64{integrity.Tampered: 3, integrity.MissingSeal: 1, integrity.UnknownSchema: 1, integrity.DuplicateKey: 1}, report.Counts)
	require.Equal(t, told, report.Findings)
	require.Equal(t, integrity.SweepFinding{Verdict: integrity.Tampered, Key: "r3", Version: 1, Bucket: integrity.BucketOf("t1", "cities", "r3")}, told[0])
	require.Equal(t, int64(2501-5), report.Verified)
	require.NotContains(t, fmt.Sprintf("%+v", report.Findings), "Canary")
}

func TestALostKeyIsNotTampering(t *testing.T) {
	sealer, tagger := citySealer(t)
	rows := table(t, sealer, 3)
	tagger.Rotate()
	tagger.Forget()
	require.Equal(t, map[integrity.Verdict]int64{integrity.UnknownKey: 3}, sweep(t, sealer, rows, cities()).Counts)
}

// What seals cannot find: a deleted row, an added row with a valid seal, an
// old row put back with its old seal. The roots find each, and name the bucket.
func TestOnlyTheRootsFindDeletionAndRollBack(t *testing.T) {
	sealer, tagger := citySealer(t)
	old := cityRow(t, sealer, "r10", 1, "Bern")
	rows := table(t, sealer, 1000)
	rows[10] = cityRow(t, sealer, "r10", 2, "Basel")
	anchored := sweep(t, sealer, rows, cities()).Roots

	for name, attack := range map[string]func([]integrity.SealedRow) []integrity.SealedRow{
		"deleted":     func(r []integrity.SealedRow) []integrity.SealedRow { return slices.Delete(r, 10, 11) },
		"rolled back": func(r []integrity.SealedRow) []integrity.SealedRow { r[10] = old; return r },
	} {
		now := attack(slices.Clone(rows))
		report := sweep(t, sealer, now, cities())
		require.True(t, report.OK(), "%s: the seals hold", name)
		require.NotEqual(t, anchored.Head(), report.Roots.Head(), name)
		diff, err := report.Roots.Diff(anchored)
		require.NoError(t, err)
		require.Len(t, diff, 1, name)
		require.Equal(t, integrity.BucketOf("t1", "cities", "r10"), diff[0].Bucket)
		require.Equal(t, name == "deleted", diff[0].Rows == diff[0].Other-1)

		options := cities()
		options.Against = anchored
		require.Equal(t, []integrity.SweepFinding{{Verdict: integrity.BucketChanged, Bucket: diff[0].Bucket}}, sweep(t, sealer, now, options).Findings, name)
		require.True(t, sweep(t, sealer, rows, options).OK())
	}

	// Against works across a rotation, Diff says that it cannot.
	tagger.Rotate()
	options := cities()
	options.Against = anchored
	rotated := sweep(t, sealer, rows, options)
	require.True(t, rotated.OK())
	_, err := rotated.Roots.Diff(anchored)
	require.ErrorIs(t, err, integrity.ErrRoots)
	tagger.Forget()
	_, err = sealer.Sweep(t.Context(), all(nil), options)
	require.ErrorIs(t, err, integrity.ErrUnknownKey)
}

func TestTheOrderOfRowsIsWithoutEffect(t *testing.T) {
	sealer, _ := citySealer(t)
	rows := table(t, sealer, 600)
	want := sweep(t, sealer, rows, cities()).Roots.Head()
	require.Len(t, want, 32)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	require.Equal(t, want, sweep(t, sealer, rows, cities()).Roots.Head())
}

func TestRootsAreOfOneTenantAndTable(t *testing.T) {
	sealer, _ := citySealer(t)
	rows := table(t, sealer, 10)
	mine := sweep(t, sealer, rows, cities()).Roots
	options := integrity.SweepOptions{Tenant: "t2", Table: "cities"}
	_, err := sealer.Sweep(t.Context(), all(rows), options)
	require.ErrorIs(t, err, integrity.ErrRow, "a row of another tenant")
	theirs := sweep(t, sealer, nil, options).Roots
	_, err = mine.Diff(theirs)
	require.ErrorIs(t, err, integrity.ErrRoots)
	_, err = mine.Diff(nil)
	require.ErrorIs(t, err, integrity.ErrRoots)
	options.Against = mine
	_, err = sealer.Sweep(t.Context(), all(nil), options)
	require.ErrorIs(t, err, integrity.ErrRoots)

	// The same empty buckets of two tenants do not look alike.
	empty := sweep(t, sealer, nil, cities()).Roots
	require.NotEqual(t, empty.Head(), theirs.Head())
	both, err := integrity.JointHead(mine, theirs)
	require.NoError(t, err)
	again, err := integrity.JointHead(theirs, mine)
	require.NoError(t, err)
	require.Equal(t, both, again, "in any order")
	one, err := integrity.JointHead(mine)
	require.NoError(t, err)
	require.Equal(t, mine.Head(), one)
	require.NotEqual(t, both, one)
	require.Equal(t, "t1", mine.Tenant())
	require.Equal(t, "cities", mine.Table())
}

func TestASweepThatEndsEarlyIsNotOK(t *testing.T) {
	sealer, tagger := citySealer(t)
	rows := table(t, sealer, 5)
	broken := errors.New("broken")
	run := func(ctx context.Context, rows iter.Seq2[integrity.SealedRow, error], options integrity.SweepOptions, want error) integrity.SweepReport {
		t.Helper()
		report, err := sealer.Sweep(ctx, rows, options)
		require.ErrorIs(t, err, want)
		require.False(t, report.Complete)
		require.False(t, report.OK())
		require.Nil(t, report.Roots)
		return report
	}
	require.False(t, integrity.SweepReport{}.OK(), "no sweep was made")
	run(t.Context(), nil, cities(), integrity.ErrConfig)
	run(t.Context(), all(rows), integrity.SweepOptions{Table: "cities"}, integrity.ErrConfig)
	run(t.Context(), all(rows), integrity.SweepOptions{Tenant: "t1"}, integrity.ErrConfig)
	options := cities()
	options.Against = &integrity.Roots{}
	run(t.Context(), all(rows), options, integrity.ErrRoots)

	for _, failure := range []error{broken, io.EOF, fmt.Errorf("connection reset: %w", io.EOF)} {
		report := run(t.Context(), func(yield func(integrity.SealedRow, error) bool) {
			_ = yield(rows[0], nil) && yield(integrity.SealedRow{}, failure)
		}, cities(), failure)
		require.Equal(t, int64(1), report.Rows)
	}

	options = cities()
	options.Found = func(integrity.SweepFinding) error { return broken }
	run(t.Context(), all([]integrity.SealedRow{rows[0], rows[0]}), options, broken)

	ctx, cancel := context.WithCancel(t.Context())
	run(ctx, func(yield func(integrity.SealedRow, error) bool) { // as a query ends whose error nobody asks for
		yield(rows[0], nil)
		cancel()
	}, cities(), context.Canceled)
	run(ctx, all(rows), cities(), context.Canceled)

	plain, err := integrity.NewSealer(bare(root()), cityLayout()) // a tagger that does not look at ctx
	require.NoError(t, err)
	ctx, cancel = context.WithCancel(t.Context())
	report, err := plain.Sweep(ctx, func(func(integrity.SealedRow, error) bool) { cancel() }, cities())
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, report.OK())

	tagger.Fail(broken)
	report = run(t.Context(), all(rows), cities(), broken)
	require.Empty(t, report.Findings, "a key store that is down is no tampering")
	run(t.Context(), all(nil), cities(), broken)
}

// One row that its layout does not fit, or that its reader could not take, is
// a finding among the others.
func TestASweepGoesOnPastARowThatDoesNotFit(t *testing.T) {
	sealer, _ := citySealer(t)
	rows := table(t, sealer, 4)
	rows[1].Values = map[string]any{"town": "Bern"}
	rows[2].Values = map[string]any{"city": []byte("city 2")}
	report, err := sealer.Sweep(t.Context(), func(yield func(integrity.SealedRow, error) bool) {
		_ = yield(rows[0], fmt.Errorf("row: %w", integrity.ErrTampered)) && yield(rows[1], nil) && yield(rows[2], nil) && yield(rows[3], nil)
	}, cities())
	require.NoError(t, err)
	require.True(t, report.Complete)
	require.False(t, report.OK())
	require.Equal(t, int64(1), report.Verified)
	require.Equal(t, int64(4), report.Roots.Rows())
	require.Equal(t, []integrity.SweepFinding{
		{Verdict: integrity.Tampered, Key: "r0", Version: 1, Bucket: integrity.BucketOf("t1", "cities", "r0")},
		{Verdict: integrity.Misfit, Key: "r1", Version: 1, Bucket: integrity.BucketOf("t1", "cities", "r1")},
		{Verdict: integrity.Tampered, Key: "r2", Version: 1, Column: "city", Bucket: integrity.BucketOf("t1", "cities", "r2")},
	}, report.Findings)
}

// A head over nothing, or over one table twice, must not be anchored.
func TestRootsThatHoldNothingHaveNoHead(t *testing.T) {
	sealer, _ := citySealer(t)
	roots := sweep(t, sealer, nil, cities()).Roots
	for name, list := range map[string][]*integrity.Roots{"none": nil, "nil": {roots, nil}, "empty": {{}, roots}, "twice": {roots, roots}} {
		head, err := integrity.JointHead(list...)
		require.ErrorIs(t, err, integrity.ErrRoots, name)
		require.Nil(t, head, name)
	}
	for _, nothing := range []*integrity.Roots{nil, {}} {
		require.Nil(t, nothing.Head())
		require.Zero(t, nothing.Rows())
		require.Empty(t, nothing.Tenant()+nothing.Table())
		_, err := nothing.MarshalText()
		require.ErrorIs(t, err, integrity.ErrRoots)
		_, err = nothing.Diff(roots)
		require.ErrorIs(t, err, integrity.ErrRoots)
		_, err = roots.Diff(nothing)
		require.ErrorIs(t, err, integrity.ErrRoots)
		_, err = nothing.Diff(nothing)
		require.ErrorIs(t, err, integrity.ErrRoots)
	}
}

func TestTheReportHoldsTheFirstThousandFindings(t *testing.T) {
	sealer, _ := citySealer(t)
	rows := table(t, sealer, 1200)
	for i := range rows {
		rows[i].Seal = nil
	}
	report := sweep(t, sealer, rows, cities())
	require.Len(t, report.Findings, 1000)
	require.Equal(t, int64(1200), report.Counts[integrity.MissingSeal])
}
