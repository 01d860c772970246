package integrity_test

import (
	"context"
	"errors"
	"fmt"
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
	var told []integrity.Finding
	options.Found = func(f integrity.Finding) error { told = append(told, f); return nil }
	report := sweep(t, sealer, rows, options)
	require.False(t, report.OK())
	require.Equal(t, map[integrity.Verdict]int64{integrity.Tampered: 3, integrity.MissingSeal: 1, integrity.UnknownSchema: 1, integrity.DuplicateKey: 1}, report.Counts)
	require.Equal(t, told, report.Findings)
	require.Equal(t, integrity.Finding{Verdict: integrity.Tampered, Key: "r3", Version: 1, Bucket: integrity.BucketOf("t1", "cities", "r3")}, told[0])
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
		require.Equal(t, []integrity.Finding{{Verdict: integrity.BucketChanged, Bucket: diff[0].Bucket}}, sweep(t, sealer, now, options).Findings, name)
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
	require.Equal(t, integrity.JointHead(mine, theirs), integrity.JointHead(theirs, mine))
	require.NotEqual(t, integrity.JointHead(mine, theirs), integrity.JointHead(mine))
	require.Equal(t, "t1", mine.Tenant())
	require.Equal(t, "cities", mine.Table())
}

func TestASweepThatEndsEarlyHasNoRoots(t *testing.T) {
	sealer, tagger := citySealer(t)
	rows := table(t, sealer, 5)
	broken := errors.New("broken")
	_, err := sealer.Sweep(t.Context(), nil, cities())
	require.ErrorIs(t, err, integrity.ErrConfig)
	_, err = sealer.Sweep(t.Context(), all(rows), integrity.SweepOptions{Table: "cities"})
	require.ErrorIs(t, err, integrity.ErrConfig)

	report, err := sealer.Sweep(t.Context(), func(yield func(integrity.SealedRow, error) bool) {
		yield(rows[0], nil)
		yield(integrity.SealedRow{}, broken)
	}, cities())
	require.ErrorIs(t, err, broken)
	require.Nil(t, report.Roots)
	require.Equal(t, int64(1), report.Rows)

	options := cities()
	options.Found = func(integrity.Finding) error { return broken }
	_, err = sealer.Sweep(t.Context(), all([]integrity.SealedRow{rows[0], rows[0]}), options)
	require.ErrorIs(t, err, broken)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = sealer.Sweep(ctx, all(rows), cities())
	require.ErrorIs(t, err, context.Canceled)

	tagger.Fail(broken)
	report, err = sealer.Sweep(t.Context(), all(rows), cities())
	require.ErrorIs(t, err, broken, "a key store that is down is no tampering")
	require.Empty(t, report.Findings)
	_, err = sealer.Sweep(t.Context(), all(nil), cities())
	require.ErrorIs(t, err, broken)
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
