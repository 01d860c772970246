package integrity_test

import (
	"encoding/json"
	"errors"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/integrity"
)

// found is the one finding of that name and subject.
func found(t *testing.T, sealer *integrity.Sealer, name, subject string) integrity.Finding {
	t.Helper()
	findings, err := sealer.Status(t.Context())
	require.NoError(t, err)
	var out []integrity.Finding
	for _, f := range findings {
		require.Equal(t, f.Level == integrity.HealthOK, f.Remedy == "", "what is not well has a remedy: %v", f)
		if f.Name == name && f.Subject == subject {
			out = append(out, f)
		}
	}
	require.Len(t, out, 1, "%s %q", name, subject)
	return out[0]
}

func TestASoundSealerSaysWhatItLookedAt(t *testing.T) {
	sealer, _ := citySealer(t)
	rows := table(t, sealer, 3)
	names := func() (out []string) {
		findings, err := sealer.Status(t.Context())
		require.NoError(t, err)
		for _, f := range findings {
			require.Equal(t, integrity.HealthOK, f.Level, f)
			out = append(out, f.Name)
		}
		return out
	}
	require.Equal(t, []string{"integrity.tagger", "integrity.rows"}, names(), "a process that does not sweep knows nothing of sweeps")
	require.True(t, sweep(t, sealer, rows, cities()).OK())
	require.Equal(t, []string{"integrity.tagger", "integrity.rows", "integrity.sweep.incomplete", "integrity.sweep.age"}, names())
	_, err := new(integrity.Sealer).Status(t.Context())
	require.ErrorIs(t, err, integrity.ErrConfig)
}

func TestAChangedRowIsFoundUntilASweepFindsTheTableWell(t *testing.T) {
	sealer, _ := citySealer(t)
	rows := table(t, sealer, 3)
	rows[1].Values["city"] = "elsewhere"
	require.ErrorIs(t, sealer.Verify(t.Context(), rows[1]), integrity.ErrTampered)
	for _, subject := range []string{"", "t1/cities"} {
		f := found(t, sealer, "integrity.rows", subject)
		require.Equal(t, integrity.HealthAlarm, f.Level)
		require.EqualValues(t, 1, f.Value)
		require.False(t, f.Since.IsZero())
	}
	rows[2].Seal = nil
	require.False(t, sweep(t, sealer, rows, cities()).OK())
	require.EqualValues(t, 2, found(t, sealer, "integrity.rows", "t1/cities").Value, "the sweep has counted all")
	since := found(t, sealer, "integrity.rows", "").Since
	require.False(t, sweep(t, sealer, rows, cities()).OK())
	require.Equal(t, since, found(t, sealer, "integrity.rows", "").Since)
	require.True(t, sweep(t, sealer, table(t, sealer, 3), cities()).OK())
	require.Equal(t, integrity.HealthOK, found(t, sealer, "integrity.rows", "").Level)
}

func TestASweepThatDidNotReachTheEndIsFound(t *testing.T) {
	sealer, _ := citySealer(t)
	rows := table(t, sealer, 3)
	gone := errors.New("the connection is gone")
	half := iter.Seq2[integrity.SealedRow, error](func(yield func(integrity.SealedRow, error) bool) {
		_ = yield(rows[0], nil) && yield(integrity.SealedRow{}, gone)
	})
	_, err := sealer.Sweep(t.Context(), half, cities())
	require.ErrorIs(t, err, gone)
	require.Equal(t, integrity.HealthNotice, found(t, sealer, "integrity.sweep.incomplete", "t1/cities").Level)
	require.True(t, sweep(t, sealer, rows, cities()).OK())
	require.Equal(t, integrity.HealthOK, found(t, sealer, "integrity.sweep.incomplete", "").Level)
}

func TestATaggerThatFailsIsFoundUntilItIsBack(t *testing.T) {
	sealer, tagger := citySealer(t)
	row := cityRow(t, sealer, "r1", 1, "city")
	down := errors.New("no key of secret@crm.example")
	tagger.Fail(down)
	for range 2 {
		_, err := sealer.Seal(t.Context(), row.Ref, row.Values)
		require.ErrorIs(t, err, down)
	}
	require.ErrorIs(t, sealer.Verify(t.Context(), row), down)
	f := found(t, sealer, "integrity.tagger", "")
	require.Equal(t, integrity.HealthAlarm, f.Level)
	require.EqualValues(t, 3, f.Value)
	require.Equal(t, integrity.HealthOK, found(t, sealer, "integrity.rows", "").Level, "nothing is known of the row")
	tagger.Fail(nil)
	require.NoError(t, sealer.Verify(t.Context(), row))
	require.Equal(t, integrity.HealthOK, found(t, sealer, "integrity.tagger", "").Level)
}

func TestFindingsOfASealerHoldNoRow(t *testing.T) {
	sealer, tagger := citySealer(t)
	row := cityRow(t, sealer, "secret-key", 1, "secret city")
	row.Values["city"] = "other secret"
	require.ErrorIs(t, sealer.Verify(t.Context(), row), integrity.ErrTampered)
	tagger.Fail(errors.New("secret"))
	require.Error(t, sealer.Verify(t.Context(), row))
	findings, err := sealer.Status(t.Context())
	require.NoError(t, err)
	text, err := json.Marshal(findings)
	require.NoError(t, err)
	require.NotContains(t, string(text), "secret")
}

// A table that nobody sweeps any more must not look fresh because another one is.
func TestTheAgeOfSweepsIsThatOfTheTableSweptLongestAgo(t *testing.T) {
	sealer, _ := citySealer(t)
	require.True(t, sweep(t, sealer, table(t, sealer, 1), cities()).OK())
	first := found(t, sealer, "integrity.sweep.age", "").Since
	require.False(t, first.IsZero())
	other := cities()
	other.Table = "streets"
	require.True(t, sweep(t, sealer, nil, other).OK())
	require.Equal(t, first, found(t, sealer, "integrity.sweep.age", "").Since)
	require.True(t, sweep(t, sealer, table(t, sealer, 1), cities()).OK())
	require.NotEqual(t, first, found(t, sealer, "integrity.sweep.age", "").Since)
}
