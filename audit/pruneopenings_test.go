package audit_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
)

// classed records an event of an action about a person, under a tenant.
func (b *bench) classed(tenant, action, person string) string {
	b.t.Helper()
	e := update(person, 1)
	e.Tenant, e.Action = tenant, action
	return b.record(e)
}

// What is sealed about events of a class goes, years before the events.
func TestOpeningsGoBeforeTheirEvents(t *testing.T) {
	b := newBench(t)
	b.config.Mirror = &audittest.Sink{}
	b.keeps()
	ids := map[string]string{}
	for _, action := range []string{"contact.update", "contact.export", "deal.close"} {
		ids[action] = b.classed("main", action, "p1")
	}
	ids["other"] = b.classed("other", "contact.update", "p1")
	b.run()
	file := b.backup()
	b.advance(2 * year)
	ids["young"] = b.classed("main", "contact.update", "p1")
	b.run()
	mirror := b.config.Mirror.(*audittest.Sink)
	whole := len(mirror.FS()["openings/000"].Data)
	r, err := b.trail.PruneOpenings(t.Context(), "main", "contact.", b.yearAgo())
	require.NoError(t, err)
	require.Equal(t, int64(4), r.Rows, "of the person and of nobody, of two events")
	require.Less(t, len(mirror.FS()["openings/000"].Data), whole, "the mirror, too")
	verdict := func(name string) audit.OpeningVerdict {
		t.Helper()
		e, err := b.trail.Event(t.Context(), ids[name])
		require.NoError(t, err)
		require.Len(t, e.Changes, 2)
		require.Equal(t, e.Changes[0].Verdict, e.Changes[1].Verdict)
		if e.Changes[0].Verdict != audit.OpeningOK {
			require.Nil(t, e.Changes[0].New)
		}
		return e.Changes[0].Verdict
	}
	want := func() {
		t.Helper()
		for name, v := range map[string]audit.OpeningVerdict{
			"contact.update": audit.OpeningPruned, "contact.export": audit.OpeningPruned, "deal.close": audit.OpeningOK,
			"other": audit.OpeningOK, "young": audit.OpeningOK,
		} {
			require.Equal(t, v, verdict(name), name)
		}
		report := b.sound()
		require.Equal(t, int64(4), report.Openings[audit.OpeningPruned])
	}
	want()
	again, err := b.trail.PruneOpenings(t.Context(), "main", "contact.", b.yearAgo())
	require.NoError(t, err)
	require.Zero(t, again.Rows)
	require.Zero(t, again.New)
	require.Equal(t, 1, b.toldOf(auditlog.KindPrune), "told once")

	// A backup of before has them, and loses them again.
	b.restore(file)
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.run()
	want()
	require.Equal(t, 6, b.count(`SELECT COUNT(*) FROM crmguard_audit_openings`))

	// By one action, exactly.
	r, err = b.trail.PruneOpenings(t.Context(), "main", "deal.clos", b.yearAgo())
	require.NoError(t, err)
	require.Zero(t, r.Rows)
	require.Equal(t, audit.OpeningOK, verdict("deal.close"))
	r, err = b.trail.PruneOpenings(t.Context(), "main", "deal.close", b.yearAgo())
	require.NoError(t, err)
	require.Equal(t, int64(2), r.Rows)
	require.Equal(t, audit.OpeningPruned, verdict("deal.close"))
	b.sound()
}

// Whoever takes openings away finds no rule to hide behind: it names a tenant, a class
// and an end.
func TestAPrunedOpeningCannotBeForged(t *testing.T) {
	for name, c := range map[string]struct {
		do   string
		want auditlog.Verdict
	}{
		"of another class":   {`DELETE FROM crmguard_audit_openings WHERE idx = 1`, auditlog.Tampered},
		"of another tenant":  {`DELETE FROM crmguard_audit_openings WHERE idx = 2`, auditlog.Tampered},
		"of a younger event": {`DELETE FROM crmguard_audit_openings WHERE idx > 3`, auditlog.Tampered},
		"put back":           {`INSERT INTO crmguard_audit_openings SELECT * FROM thief`, auditlog.Incomplete},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.keeps()
			b.classed("main", "contact.update", "p1")
			b.classed("main", "deal.close", "p1")
			b.classed("other", "contact.update", "p1")
			b.run()
			b.exec(`CREATE TABLE thief AS SELECT * FROM crmguard_audit_openings WHERE idx = 0`)
			b.advance(2 * year)
			b.classed("main", "contact.update", "p1")
			b.run()
			_, err := b.trail.PruneOpenings(t.Context(), "main", "contact.update", b.yearAgo())
			require.NoError(t, err)
			b.sound()
			require.Positive(t, b.exec(c.do))
			require.Equal(t, c.want, b.verifyStore(b.checkpoint()).Verdict)
			if c.want == auditlog.Incomplete {
				r, err := b.trail.PruneOpenings(t.Context(), "main", "contact.update", b.yearAgo())
				require.NoError(t, err)
				require.Equal(t, int64(2), r.Rows)
				b.sound()
			}
		})
	}
}

func TestPruneOpeningsRefusesWhatItMust(t *testing.T) {
	b := newBench(t)
	b.keeps()
	b.classed("main", "contact.update", "p1")
	b.run()
	b.advance(2 * year)
	b.fill(1)
	b.run()
	_, err := new(audit.Trail).PruneOpenings(t.Context(), "main", "contact.", b.yearAgo())
	require.ErrorIs(t, err, audit.ErrNotOpen)
	for _, c := range [][2]string{{"", "contact."}, {"main", ""}, {"main", "*"}, {"main", "no action"}} {
		_, err := b.trail.PruneOpenings(t.Context(), c[0], c[1], b.yearAgo())
		require.ErrorIs(t, err, audit.ErrInvalid, "%q", c)
	}
	_, err = b.trail.PruneOpenings(t.Context(), "main", "contact.", b.config.Now().Add(-time.Hour))
	require.ErrorIs(t, err, audit.ErrInvalid)
	b.config.Hold = func(ctx, string) (time.Time, error) { return b.config.Now().Add(time.Hour), nil }
	b.open()
	r, err := b.trail.PruneOpenings(t.Context(), "main", "contact.", b.yearAgo())
	require.NoError(t, err)
	require.Equal(t, audit.PruneReport{Held: "main"}, r)
	b.config.Hold = func(ctx, string) (time.Time, error) { return time.Time{}, errCue }
	b.open()
	_, err = b.trail.PruneOpenings(t.Context(), "main", "contact.", b.yearAgo())
	require.ErrorIs(t, err, errCue)
	require.Equal(t, 4, b.count(`SELECT COUNT(*) FROM crmguard_audit_openings`))
	require.Zero(t, b.toldOf(auditlog.KindPrune))
}

// Erased is erased, whatever went with retention besides.
func TestAnErasureAndRetention(t *testing.T) {
	b := newBench(t)
	b.keeps()
	b.classed("main", "contact.update", "p1")
	b.classed("main", "contact.update", "p2")
	b.run()
	b.advance(2 * year)
	b.fill(1)
	b.run()
	_, err := b.trail.PruneOpenings(t.Context(), "main", "contact.", b.yearAgo())
	require.NoError(t, err)
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p1"))
	b.run()
	report := b.sound()
	require.Equal(t, int64(1), report.Openings[audit.OpeningErased])
	require.Equal(t, int64(3), report.Openings[audit.OpeningPruned])
}

// Where a checkpoint is kept, nothing goes that it does not cover.
func TestOpeningsGoUpToTheKeptCheckpoint(t *testing.T) {
	b := newBench(t)
	b.classed("main", "contact.update", "p1")
	b.run()
	kept := b.checkpoint()
	b.config.Kept = func(ctx) ([]byte, error) { return kept, nil }
	b.open()
	b.classed("main", "contact.update", "p1")
	b.run()
	b.advance(2 * year)
	b.fill(1)
	b.run()
	tree, err := b.trust().Checkpoint(kept)
	require.NoError(t, err)
	r, err := b.trail.PruneOpenings(t.Context(), "main", "contact.", b.yearAgo())
	require.NoError(t, err)
	require.Equal(t, tree.N, r.Pruned)
	require.Equal(t, int64(2), r.Rows)
}
