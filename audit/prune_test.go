package audit_test

import (
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
)

// oldBench is a log of old entries, and of newer ones two years later, with the
// newest checkpoint kept.
func oldBench(t *testing.T, old, since int) (b *bench, ids []string) {
	t.Helper()
	b = newBench(t)
	b.config.Mirror = &audittest.Sink{}
	b.keeps()
	ids = b.fill(old)
	b.run()
	b.advance(2 * year)
	b.fill(since)
	b.run()
	return b, ids
}

// keeps has the newest checkpoint kept elsewhere, whenever it is asked for.
func (b *bench) keeps() {
	b.t.Helper()
	var newest []byte
	var one sync.Mutex // several trails ask at once
	b.config.Kept = func(c ctx) ([]byte, error) {
		one.Lock()
		defer one.Unlock()
		if data, err := b.sink.ReadFile(c, "checkpoint"); err == nil {
			newest = data
		}
		return newest, nil
	}
	b.open()
}

// yearAgo is a moment between old and new.
func (b *bench) yearAgo() time.Time { return b.config.Now().Add(-year) }

func (b *bench) prune() audit.PruneReport {
	b.t.Helper()
	r, err := b.trail.Prune(b.t.Context(), b.yearAgo())
	require.NoError(b.t, err)
	return r
}

// sound verifies everything, against the kept checkpoint.
func (b *bench) sound() audit.StoreReport {
	b.t.Helper()
	kept := b.checkpoint()
	r := b.verifyStore(kept)
	require.Equal(b.t, auditlog.OK, r.Verdict, "%+v %+v", r.Faults, r.Log.Faults)
	return r
}

func (b *bench) pruned() int {
	b.t.Helper()
	return b.count(`SELECT pruned FROM crmguard_audit_state`)
}

// files are those of a sink whose names begin so.
func files(s *audittest.Sink, prefix string) (out []string) {
	for name := range s.FS() {
		if strings.HasPrefix(name, prefix) {
			out = append(out, name)
		}
	}
	return out
}

func TestPrune(t *testing.T) {
	b, ids := oldBench(t, 700, 100)
	proof, err := b.trail.Proof(t.Context(), ids[5])
	require.NoError(t, err)
	raw, err := b.trail.Leaf(t.Context(), ids[5])
	require.NoError(t, err)
	hashes := files(b.sink, "tile/0/")
	r := b.prune()
	require.Equal(t, audit.PruneReport{Pruned: 512, New: 512, Rows: 512}, r, "whole bundles of what is old")

	report := b.sound()
	require.Equal(t, int64(512), report.Log.Pruned)
	require.Equal(t, auditlog.OK, b.verifyLog(b.checkpoint()).Verdict)
	require.Equal(t, auditlog.Unanchored, b.verifyLog(nil).Verdict, "without a kept checkpoint nobody can tell")
	for _, table := range []string{"entries", "found", "persons", "openings"} {
		require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_`+table+` WHERE idx < 512`), table)
	}
	require.Equal(t, 512, b.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE idx < 512 AND LENGTH(retry) = 0`), "stubs stay, and no tag of a value")
	for _, name := range []string{"tile/entries/000", "tile/entries/001"} {
		require.NotContains(t, b.sink.FS(), name)
	}
	require.Contains(t, b.sink.FS(), "tile/entries/002")
	mirror := b.config.Mirror.(*audittest.Sink)
	require.NotContains(t, mirror.FS(), "openings/000")
	require.NotContains(t, mirror.FS(), "openings/001")
	require.Contains(t, mirror.FS(), "openings/002")
	for _, name := range hashes {
		if !strings.Contains(name, ".p") {
			require.Contains(t, b.sink.FS(), name, "hash tiles stay")
		}
	}

	// What is gone is said to be gone, everywhere.
	_, err = b.trail.Event(t.Context(), ids[5])
	require.ErrorIs(t, err, audit.ErrPruned)
	var gone *audit.PrunedError
	require.ErrorAs(t, err, &gone)
	require.Equal(t, int64(512), gone.Entries)
	_, err = b.trail.Leaf(t.Context(), ids[5])
	require.ErrorIs(t, err, audit.ErrPruned)
	_, err = b.trail.Disclose(t.Context(), ids[5], "email", "p2", auditlog.SideNew)
	require.ErrorIs(t, err, audit.ErrPruned)
	_, err = b.trail.Event(t.Context(), ids[600])
	require.NoError(t, err)
	_, err = b.trail.Published(t.Context(), "tile/entries/001")
	require.ErrorIs(t, err, audit.ErrPruned)
	require.ErrorIs(t, err, fs.ErrNotExist, "a file that is not there, to whoever asks over HTTP")
	_, err = b.trail.Published(t.Context(), "tile/0/001")
	require.NoError(t, err)

	// Who kept the leaf proves it, as before and anew.
	fresh, err := b.trail.Proof(t.Context(), ids[5])
	require.NoError(t, err)
	for _, p := range [][]byte{proof, fresh} {
		leaf, err := auditlog.Verify(b.trust(), raw, p)
		require.NoError(t, err)
		require.Equal(t, ids[5], leaf.ID)
	}

	// A late retry is refused, and makes no second event.
	late := update("p2", 5)
	late.ID = ids[5]
	require.ErrorIs(t, b.sale(late), audit.ErrConflict)

	// Again: there is nothing more.
	require.Equal(t, audit.PruneReport{Pruned: 512}, b.prune())
	b.fill(10)
	b.run()
	b.sound()
}

// Answers end where the entries do, and say so.
func TestAnswersEndAtTheMark(t *testing.T) {
	b, _ := oldBench(t, 300, 30)
	ask := func() (n int, pruned int64) {
		t.Helper()
		for page := (audit.Page{Size: 7}); ; {
			found, err := b.trail.Find(t.Context(), audit.Filter{Tenant: "main", Action: "contact.update"}, page)
			require.NoError(t, err)
			n, pruned = n+len(found.Entries), found.Pruned
			if page.Before = found.Next; found.Next == "" {
				return n, pruned
			}
		}
	}
	n, pruned := ask()
	require.Equal(t, 330, n)
	require.Zero(t, pruned)
	first, err := b.trail.Find(t.Context(), audit.Filter{Tenant: "main", Action: "contact.update"}, audit.Page{Size: 40})
	require.NoError(t, err)
	last := first.Entries[39]
	b.prune()
	n, pruned = ask()
	require.Equal(t, 330-256, n)
	require.Equal(t, int64(256), pruned)
	rest, err := b.trail.Find(t.Context(), audit.Filter{Tenant: "main", Action: "contact.update"}, audit.Page{Size: 1000, Before: last.Cursor})
	require.NoError(t, err)
	require.Len(t, rest.Entries, 330-256-40, "a cursor from before goes on")
	require.Equal(t, int64(256), rest.Pruned)

	var seen int
	var end error
	for _, err := range b.trail.History(t.Context(), "main", audit.PersonRef("contact", "p1"), audit.Page{Size: 1000}) {
		if end = err; err == nil {
			seen++
		}
	}
	require.Equal(t, (330-256+2)/3, seen)
	require.ErrorIs(t, end, audit.ErrPruned, "never silently less")
	for _, err := range b.trail.History(t.Context(), "main", audit.PersonRef("contact", "p1"), audit.Page{Size: 5}) {
		require.NoError(t, err, "a page that is full has not come so far")
	}
	var out strings.Builder
	exported, err := b.trail.Export(t.Context(), &out, audit.Filter{Tenant: "main", Action: "contact.update"})
	require.NoError(t, err)
	require.Equal(t, int64(256), exported.Pruned)
	require.Equal(t, int64(330-256), exported.Entries)
}

func TestPruneNeedsAKeptCheckpoint(t *testing.T) {
	b, _ := oldBench(t, 300, 30)
	kept := b.config.Kept
	b.config.Kept = nil
	b.open()
	_, err := b.trail.Prune(t.Context(), b.yearAgo())
	require.ErrorIs(t, err, audit.ErrUnanchored)
	b.config.Kept = func(ctx) ([]byte, error) { return nil, nil }
	b.open()
	_, err = b.trail.Prune(t.Context(), b.yearAgo())
	require.ErrorIs(t, err, audit.ErrUnanchored)
	require.Zero(t, b.actions("audit.prune"))
	b.config.Kept = kept
	b.open()
	require.Equal(t, int64(256), b.prune().Pruned)
}

// Only what the kept checkpoint covers goes.
func TestPruneEndsAtTheKeptCheckpoint(t *testing.T) {
	b := newBench(t)
	b.fill(300)
	b.run()
	kept := b.checkpoint()
	b.config.Kept = func(ctx) ([]byte, error) { return kept, nil }
	b.open()
	b.fill(500)
	b.run()
	b.advance(2 * year)
	b.fill(3)
	b.run()
	require.Equal(t, int64(256), b.prune().Pruned, "800 are old, 301 are kept")
	require.Equal(t, auditlog.OK, b.verifyStore(kept).Verdict)
	kept = b.checkpoint()
	require.Equal(t, int64(768), b.prune().Pruned)
	b.sound()
}

func TestPruneRefusesWhatItCannotKeep(t *testing.T) {
	b, _ := oldBench(t, 300, 30)
	_, err := new(audit.Trail).Prune(t.Context(), b.yearAgo())
	require.ErrorIs(t, err, audit.ErrNotOpen)
	_, err = b.trail.Prune(t.Context(), b.config.Now().Add(-23*time.Hour))
	require.ErrorIs(t, err, audit.ErrInvalid, "a retry may still come")
	type plain struct{ audit.Sink }
	for name, change := range map[string]func(){
		"Sink":      func() { b.config.Sink = plain{b.sink} },
		"Mirror":    func() { b.config.Mirror = plain{b.config.Mirror} },
		"Copies[0]": func() { b.config.Copies = []audit.Sink{plain{&audittest.Sink{}}} },
	} {
		config := b.config
		change()
		b.open()
		_, err = b.trail.Prune(t.Context(), b.yearAgo())
		require.ErrorIs(t, err, audit.ErrInvalid)
		require.ErrorContains(t, err, name, "it cannot forget")
		b.config = config
	}
	b.open()
	require.Zero(t, b.pruned())
	require.Zero(t, b.actions("audit.prune"))
}

// A clock that is years off takes nothing with it: what is old is told by when it
// was signed, and the clock must agree with the newest signature.
func TestPruneUnderAClockThatIsOff(t *testing.T) {
	b, _ := oldBench(t, 300, 300)
	b.advance(10 * year)
	_, err := b.trail.Prune(t.Context(), b.yearAgo())
	require.ErrorIs(t, err, audit.ErrInvalid)
	b.advance(-20 * year)
	_, err = b.trail.Prune(t.Context(), b.config.Now().Add(15*year))
	require.ErrorIs(t, err, audit.ErrInvalid)
	b.advance(10 * year)
	require.Zero(t, b.pruned())
	// One signature under a clock that was ten years back makes nothing younger old.
	b.advance(-10 * year)
	b.fill(10)
	b.run()
	b.advance(10 * year)
	b.fill(10)
	b.run()
	require.Equal(t, int64(256), b.prune().Pruned)
	b.sound()
}

// A tenant with a hold keeps its entries, and all behind them.
func TestALegalHoldEndsAPrune(t *testing.T) {
	b := newBench(t)
	b.keeps()
	b.fill(300)
	e := update("q1", 1)
	e.Tenant = "held"
	b.record(e)
	b.fill(400)
	b.run()
	b.advance(2 * year)
	b.fill(3)
	b.run()
	var until time.Time
	var fails error
	b.config.Hold = func(_ ctx, tenant string) (time.Time, error) {
		if tenant == "held" {
			return until, fails
		}
		return time.Time{}, nil
	}
	b.open()
	until = b.config.Now().Add(time.Hour)
	require.Equal(t, audit.PruneReport{Pruned: 256, New: 256, Rows: 256, Held: "held"}, b.prune())
	b.sound()
	fails = errCue
	_, err := b.trail.Prune(t.Context(), b.yearAgo())
	require.ErrorIs(t, err, errCue)
	require.Equal(t, 256, b.pruned())
	fails, until = nil, b.config.Now().Add(-time.Hour)
	require.Equal(t, int64(512), b.prune().Pruned, "a hold that is over")
	b.sound()
}
