package audit_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// damages of the one row of the state, by somebody without a key; all else is whole.
var stateDamages = map[string]struct {
	sql     []string
	catchUp bool // the operator's word is enough, for the row says what is published
}{
	"the tag":              {[]string{`UPDATE crmguard_audit_state SET tag = x'00'`}, true},
	"the root":             {[]string{`UPDATE crmguard_audit_state SET root = zeroblob(32)`}, false},
	"a root that is none":  {[]string{`UPDATE crmguard_audit_state SET root = x'00'`}, false},
	"one entry less":       {[]string{`UPDATE crmguard_audit_state SET size = size - 1`}, false},
	"one entry more":       {[]string{`UPDATE crmguard_audit_state SET size = size + 1`}, false},
	"no size":              {[]string{`UPDATE crmguard_audit_state SET size = -1`}, false},
	"gone":                 {[]string{`DELETE FROM crmguard_audit_state`}, false},
	"more was published":   {[]string{`UPDATE crmguard_audit_state SET published = 400`}, true},
	"an older one":         {[]string{`DELETE FROM crmguard_audit_state`, `INSERT INTO crmguard_audit_state SELECT * FROM old_state`}, true},
	"an older one, forged": {[]string{`DELETE FROM crmguard_audit_state`, `INSERT INTO crmguard_audit_state SELECT * FROM old_state`, `UPDATE crmguard_audit_state SET tag = x'00'`}, true},
}

// The state row is damaged while entries, folder and the newest kept checkpoint are
// whole: nothing is signed and sales go on, and one call brings the log back.
func TestTheStateRowIsMadeAnewOfWhatCheckpointsProve(t *testing.T) {
	for name, d := range stateDamages {
		for _, running := range []bool{true, false} {
			for _, catchUp := range []bool{true, false} {
				if catchUp && !d.catchUp {
					continue
				}
				t.Run(fmt.Sprintf("%s, running %v, CatchUp %v", name, running, catchUp), func(t *testing.T) {
					b := newBench(t)
					b.fill(10)
					b.run()
					b.exec(`CREATE TABLE old_state AS SELECT * FROM crmguard_audit_state`)
					b.fill(10)
					b.run()
					kept := b.checkpoint()
					b.config.Kept = func(ctx) ([]byte, error) { return kept, nil }
					b.open()
					b.run()
					for _, q := range d.sql {
						b.exec(q)
					}
					if !running {
						b.open()
					}
					b.fill(1)
					_, err := b.trail.RunOnce(t.Context())
					require.Error(t, err)
					if catchUp {
						require.NoError(t, b.trail.CatchUp(t.Context()))
					} else {
						r, err := b.trail.RebuildTiles(t.Context())
						require.NoError(t, err)
						require.Equal(t, audit.Repair{Kept: 21, Size: 21, Checked: 1, Written: 1}, r)
						again, err := b.trail.RebuildTiles(t.Context())
						require.NoError(t, err)
						require.Zero(t, again.Written)
						require.Equal(t, 1, b.count(`SELECT COUNT(*) FROM crmguard_audit_state WHERE size = 21 AND published = 21`))
					}
					b.goesOn()
					require.GreaterOrEqual(t, b.trailSize(), int64(23))
					if !catchUp {
						require.Equal(t, 1, b.actions("audit.rebuild"), "the log says that it was repaired")
					}
				})
			}
		}
	}
}

func (b *bench) trailSize() int64 {
	b.t.Helper()
	p, err := b.trail.Progress(b.t.Context())
	require.NoError(b.t, err)
	return p.Size
}

// A root or a size that no checkpoint says is no key that was changed.
func TestCatchUpMakesNoStateOfItsOwn(t *testing.T) {
	for name, d := range stateDamages {
		if d.catchUp {
			continue
		}
		t.Run(name, func(t *testing.T) {
			b := anchoredBench(t, 10, 10)
			for _, q := range d.sql {
				b.exec(q)
			}
			err := b.trail.CatchUp(t.Context())
			require.ErrorIs(t, err, auditlog.ErrTampered)
			require.ErrorContains(t, err, "RebuildTiles")
			_, err = b.trail.RunOnce(t.Context())
			require.ErrorIs(t, err, auditlog.ErrTampered, "it is as it was")
		})
	}
}

// Without the state row nobody vouches for what was not published. A process that
// has seen it does; another one names it, and writes nothing.
func TestAStateRowIsNotMadeOfWhatNobodyProves(t *testing.T) {
	unpublished := func(t *testing.T) *bench {
		t.Helper()
		b := anchoredBench(t, 5, 5)
		b.sink.Fail = func(op, _ string) error {
			if op == "swap" {
				return errCue
			}
			return nil
		}
		b.fill(3)
		_, err := b.trail.RunOnce(t.Context())
		require.ErrorIs(t, err, errCue)
		b.sink.Fail = nil
		return b
	}
	for _, damage := range []string{`DELETE FROM crmguard_audit_state`, `UPDATE crmguard_audit_state SET tag = x'00'`} {
		b := unpublished(t)
		b.exec(damage)
		rows := b.count(`SELECT COUNT(*) FROM crmguard_audit_events`)
		stranger := b.beside(nil)
		for range 2 {
			_, err := stranger.RebuildTiles(t.Context())
			require.ErrorIs(t, err, auditlog.ErrTampered)
			require.ErrorContains(t, err, "the last 3 entries of the database, from 11 on")
			require.ErrorIs(t, stranger.CatchUp(t.Context()), auditlog.ErrTampered)
			_, err = stranger.RunOnce(t.Context())
			require.ErrorIs(t, err, auditlog.ErrTampered)
		}
		require.Equal(t, rows, b.count(`SELECT COUNT(*) FROM crmguard_audit_events`), "no event tells of a repair")
		_, err := b.trail.RebuildTiles(t.Context())
		require.NoError(t, err, "it has seen them")
		b.goesOn()
	}
}

// What makes the state row anew is no rewind, and believes no row of the database.
func TestAStateRowIsNoRewind(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(b *bench)
		want error
	}{
		"the newest entries are gone":  {func(b *bench) { b.takeAway(`idx >= 15`) }, auditlog.ErrTampered},
		"one in the middle is gone":    {func(b *bench) { b.takeAway(`idx = 3`) }, auditlog.ErrTampered},
		"an entry is another one":      {func(b *bench) { b.rewriteEntry(3, "u-1", "u-2") }, auditlog.ErrForked},
		"a newer entry is another one": {func(b *bench) { b.rewriteEntry(18, "u-1", "u-2") }, auditlog.ErrForked},
		"the folder is an older one":   {func(b *bench) { b.takeAway(`idx >= 15`); b.sink.Set(nil) }, auditlog.ErrTampered},
		"no checkpoint is kept":        {func(b *bench) { b.config.Kept = nil }, audit.ErrUnanchored},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.fill(10)
			b.run()
			b.fill(10)
			b.run()
			kept := b.checkpoint()
			b.config.Kept = func(ctx) ([]byte, error) { return kept, nil }
			b.exec(`DELETE FROM crmguard_audit_state`)
			c.do(b)
			b.open()
			_, err := b.trail.RebuildTiles(t.Context())
			require.ErrorIs(t, err, c.want)
			require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_state`))
			require.Error(t, b.trail.CatchUp(t.Context()))
			require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_state`))
		})
	}
}
