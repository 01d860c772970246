package audit_test

import (
	"errors"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/audittest"
)

// However retention missed the mirror, the rounds of a process that has it make it
// forget: the openings that went by class, and the files of entries that went.
func TestRetentionReachesTheMirror(t *testing.T) {
	alone := func(b *bench) *audit.Trail { return b.beside(func(c *audit.Config) { c.Mirror = nil }) }
	for name, c := range map[string]func(b *bench, mirror *audittest.Sink){
		"a job without it": func(b *bench, _ *audittest.Sink) {
			_, err := alone(b).PruneOpenings(b.t.Context(), "main", "contact.", b.yearAgo())
			require.NoError(b.t, err)
			_, err = alone(b).Prune(b.t.Context(), b.yearAgo())
			require.NoError(b.t, err)
		},
		"it was down": func(b *bench, mirror *audittest.Sink) {
			mirror.Fail = func(string, string) error { return errors.New("down") }
			require.Error(b.t, b.pruneOpenings())
			_, err := b.trail.Prune(b.t.Context(), b.yearAgo())
			require.Error(b.t, err)
			mirror.Fail = nil
		},
		"it was put back": func(b *bench, mirror *audittest.Sink) {
			whole := mirror.FS()
			require.NoError(b.t, b.pruneOpenings())
			b.prune()
			mirror.Set(whole)
		},
		"the state row was lost": func(b *bench, _ *audittest.Sink) {
			b.exec(`DELETE FROM crmguard_audit_state`)
			require.NoError(b.t, rebuild(b))
			require.NoError(b.t, b.pruneOpenings())
			b.prune()
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := oldBench(t, 300, 5)
			mirror := b.config.Mirror.(*audittest.Sink)
			require.Contains(t, mirror.FS(), "openings/000")
			before := len(mirror.FS()["openings/001"].Data)
			c(b, mirror)
			for range 2 {
				b.advance(time.Hour)
				b.run()
			}
			require.NotContains(t, mirror.FS(), "openings/000")
			require.Less(t, len(mirror.FS()["openings/001"].Data), before/2)
			b.sound()
		})
	}
}

// What only the mirror has nobody has it forget but by the log: not by a mark without
// its tag, nor by a leaf or a rule that was changed; nor while its tenant has a hold.
func TestTheMirrorForgetsByTheLogAlone(t *testing.T) {
	for name, c := range map[string]struct {
		damage string
		hold   bool
		class  string
	}{
		"a mark":            {damage: `UPDATE crmguard_audit_state SET pruned = 1000000`, class: "deal."},
		"an entry":          {damage: `UPDATE crmguard_audit_entries SET leaf = CAST(replace(CAST(leaf AS TEXT), 'contact.update', 'deal.update') AS BLOB) WHERE idx < 10`, class: "deal."},
		"a hold that came":  {hold: true, class: "contact."},
		"nothing of theirs": {class: "deal."},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.config.Mirror = &audittest.Sink{}
			b.keeps()
			b.record(update("a", 1))
			b.record(update("p", 1))
			b.record(update("q", 1))
			b.run()
			mirror := b.config.Mirror.(*audittest.Sink)
			whole, owner := mirror.FS(), b.surrogate("p")
			n := held(fstest.MapFS{"": whole["openings/000"]}, owner)
			require.Positive(t, n)
			b.advance(2 * year)
			b.fill(1)
			b.run()
			_, err := b.trail.PruneOpenings(t.Context(), "main", c.class, b.yearAgo())
			require.NoError(t, err)
			b.exec(`DELETE FROM crmguard_audit_openings WHERE owner = ?`, owner)
			mirror.Set(whole)
			if c.hold {
				b.holds()
			}
			if c.damage != "" {
				require.Positive(t, b.exec(c.damage))
			}
			_ = b.trail.Erase(t.Context(), "main", "a") // which writes the file anew
			require.Equal(t, n, held(fstest.MapFS{"": mirror.FS()["openings/000"]}, owner))
		})
	}
}
