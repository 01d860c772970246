package audit_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
)

// Somebody whose head was damaged is merged into somebody else: what was recorded
// before the damage goes along.
func TestWhoeverHasADamagedHeadIsMergedWhole(t *testing.T) {
	b := newBench(t)
	b.record(update("p", 1))
	b.record(update("q", 1))
	b.run()
	b.damage("p")
	b.open()
	b.record(update("p", 2))
	require.NoError(t, b.merge("p", "q"))
	b.run()
	require.Equal(t, 3, b.updates("q"))
	owners := [][]byte{b.surrogate("p"), b.surrogate("q")}
	require.NoError(t, b.trail.Erase(t.Context(), "main", "q"))
	b.run()
	for _, owner := range owners {
		require.Zero(t, b.openingsOf(owner))
	}
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
}

// A mirror that cannot be asked for a damaged head is told of; one that has no such
// file yet is well.
func TestAMirrorThatCannotMendAHeadIsToldOf(t *testing.T) {
	for name, away := range map[string]bool{"away": true, "empty": false} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.record(update("p", 1))
			b.run()
			mirror := &audittest.Sink{}
			if away {
				mirror.Fail = func(string, string) error { return errCue }
			}
			failed := 0
			b.config.Mirror = mirror
			b.config.Observe = func(_ ctx, name string, _ float64, _ ...slog.Attr) {
				if name == "audit.mirror.failed" {
					failed++
				}
			}
			b.damage("p")
			b.open()
			require.NoError(t, b.trail.Prepare(t.Context(), "main", "p"))
			require.Equal(t, away, failed > 0)
		})
	}
}

// laterTags are other keys of the tags under another number, as those of a service have.
type laterTags struct{ otherTags }

func (k laterTags) MACKeys(c context.Context, tenant string, info []byte) ([]uint32, [][]byte, error) {
	ids, keys, err := k.otherTags.MACKeys(c, tenant, info)
	for i := range ids {
		ids[i] += 7
	}
	return ids, keys, err
}

// What was set aside before the keys of the tags changed is explained afterwards. What
// somebody parked under the new ones, without having them, is not.
func TestWhatWasSetAsideOutlivesItsKeys(t *testing.T) {
	for name, parked := range map[string]bool{"set aside": false, "parked": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.keeps()
			b.record(update("p", 1))
			b.run()
			b.rewrite(b.record(update("p", 2)), "contact", "kontact")
			b.run()
			require.Equal(t, 1, b.count(`SELECT COUNT(*) FROM crmguard_audit_aside`))
			keys := laterTags{otherTags{b.keys, audittest.NewKeys()}}
			b.config.Keys = keys
			b.open()
			want := auditlog.OK
			if parked {
				ids, _, err := keys.MACKeys(t.Context(), "main", nil)
				require.NoError(t, err)
				b.exec(`UPDATE crmguard_audit_aside SET tag = ?`, append(binary.BigEndian.AppendUint32([]byte{1}, ids[0]), make([]byte, 32)...))
				want = auditlog.Tampered
			}
			require.NoError(t, b.trail.CatchUp(t.Context()))
			b.run()
			report := b.verifyStore(b.checkpoint())
			require.Equal(t, want, report.Verdict, "%+v", report.Faults)
		})
	}
}

// interrupted are keys that have something done once: before they seal about somebody,
// or after they could not open what is about them.
type interrupted struct {
	*audittest.Keys
	person      string
	seals, open func()
}

func (k *interrupted) Seal(c ctx, tenant, person string, plain, ad []byte) ([]byte, error) {
	if do := k.seals; do != nil && person == k.person {
		k.seals = nil
		do()
	}
	return k.Keys.Seal(c, tenant, person, plain, ad)
}

func (k *interrupted) Open(c ctx, tenant, person string, sealed, ad []byte) ([]byte, error) {
	plain, err := k.Keys.Open(c, tenant, person, sealed, ad)
	if do := k.open; err != nil && do != nil && person == k.person {
		k.open = nil
		do()
	}
	return plain, err
}

// Two processes find a damaged head at the same time, and the one mends it while the
// other is about to: there is one new surrogate, or one new head of what is about
// nobody, and what either records opens.
func TestTwoProcessesFindADamagedHead(t *testing.T) {
	for _, person := range []string{"p", ""} {
		for _, seals := range []bool{true, false} {
			b := newBench(t)
			first := b.record(update("p", 1))
			b.run()
			b.damage(person)
			other := b.beside(func(*audit.Config) {})
			do := func() {
				require.NoError(t, other.Prepare(t.Context(), "main", "p"))
				require.NoError(t, b.in(func(tx *sql.Tx) error { return only(other.Record(t.Context(), tx, update("p", 2))) }))
			}
			keys := &interrupted{Keys: b.keys, person: person, seals: do}
			if !seals {
				keys.seals, keys.open = nil, do
			}
			b.openWith(keys)
			b.record(update("p", 3))
			b.openWith(b.keys)
			b.run()
			require.Equal(t, 1, b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE state = 4`), "%q", person)
			merges := 1
			if person == "" {
				merges = 0
			}
			require.Equal(t, merges, b.toldOf(auditlog.KindMerge), "which the log tells of")
			require.Equal(t, 3, b.updates("p"))
			for _, e := range b.history(audit.About("p")) {
				for _, c := range e.Changes {
					if e.Leaf.ID != first { // which was sealed under the head that is damaged
						require.Equal(t, audit.OpeningOK, c.Verdict, "%q", person)
					}
				}
			}
		}
	}
}

// Who is to be one with whom is said by two ids that the log could have.
func TestAMergeNeedsTwoPersons(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	for _, pair := range [][2]string{{"", "p1"}, {"p1", ""}, {"p1", "p\x00"}} {
		require.ErrorIs(t, b.merge(pair[0], pair[1]), audit.ErrInvalid, "%q", pair)
	}
	require.ErrorIs(t, b.trail.Merge(t.Context(), "", "p1", "p2"), audit.ErrInvalid)
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE into_surrogate IS NOT NULL`))
}

// A file of heads that the mirror has lost comes back in the next round.
func TestHeadsThatTheMirrorLostComeBack(t *testing.T) {
	b, mirror := mirrored(t)
	b.fill(3)
	b.run()
	full := mirror.FS()
	delete(full, "people/000")
	mirror.Set(full)
	b.advance(time.Hour)
	b.run()
	require.Contains(t, mirror.FS(), "people/000")
}

// mergedSince brings a database level that is from before two persons were recorded, and
// the one merged into the other: it says which surrogates they had.
func (b *bench) mergedSince() (owners [][]byte) {
	b.t.Helper()
	b.fill(1)
	b.run()
	file := b.backup()
	b.record(update("p", 1))
	b.record(update("q", 1))
	require.NoError(b.t, b.merge("q", "p"))
	b.run()
	owners = [][]byte{b.surrogate("p"), b.surrogate("q")}
	b.restore(file)
	require.NoError(b.t, b.trail.CatchUp(b.t.Context()))
	b.run()
	return owners
}

// A restore brought back a person whom somebody was merged into, and nobody has named
// them since: an erasure reaches both.
func TestAnErasureAfterARestoreReachesWhoWasMerged(t *testing.T) {
	b, _ := mirrored(t)
	owners := b.mergedSince()
	for _, owner := range owners {
		require.Equal(t, 1, b.openingsOf(owner))
	}
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p"))
	b.run()
	for _, owner := range owners {
		require.Zero(t, b.openingsOf(owner))
	}
	report := b.verifyStore(b.checkpoint())
	require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
}

// awayToOpen are keys that can be asked for tags while the service that opens is away.
type awayToOpen struct{ *audittest.Keys }

func (awayToOpen) Prepare(context.Context, string, ...string) error { return errAway }

func (awayToOpen) Open(context.Context, string, string, []byte, []byte) ([]byte, error) {
	return nil, errAway
}

// loaded are keys that open nothing before they were prepared.
type loaded struct {
	*audittest.Keys
	ready map[string]bool
}

func (k loaded) Prepare(_ context.Context, tenant string, _ ...string) error {
	k.ready[tenant] = true
	return nil
}

func (k loaded) Open(c context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
	if !k.ready[tenant] {
		return nil, errAway
	}
	return k.Keys.Open(c, tenant, person, sealed, ad)
}

// CatchUp prepares the keys that it opens with.
func TestCatchUpPreparesKeys(t *testing.T) {
	b := newBench(t)
	b.record(update("p", 1))
	b.record(update("q", 1))
	b.run()
	b.exchange("p", "q")
	b.openWith(loaded{b.keys, map[string]bool{}})
	require.NoError(t, b.trail.CatchUp(t.Context()))
	require.Len(t, b.history(audit.About("p")), 1)
	require.Len(t, b.history(audit.About("q")), 1)
	report := b.verifyStore(b.checkpoint())
	require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
}

// CatchUp takes nobody's name away because the keys do not answer.
func TestKeysThatAreAwayTakeNoNames(t *testing.T) {
	b := newBench(t)
	b.record(update("p", 1))
	b.record(update("q", 1))
	b.run()
	b.exchange("p", "q")
	b.openWith(awayToOpen{b.keys})
	require.ErrorIs(t, b.trail.CatchUp(t.Context()), errAway)
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE state = 2`))
	b.openWith(b.keys)
	require.NoError(t, b.trail.CatchUp(t.Context()))
	for _, person := range []string{"p", "q"} {
		require.Len(t, b.history(audit.About(person)), 1)
	}
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
}

// awayFrom are keys that have everything but what opens one head.
type awayFrom struct {
	*audittest.Keys
	head []byte
}

func (k awayFrom) Open(c context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
	if bytes.Equal(sealed, k.head) {
		return nil, errAway
	}
	return k.Keys.Open(c, tenant, person, sealed, ad)
}

// A key that is away for one head only says nothing of the head.
func TestAHeadWhoseKeyIsAwayStays(t *testing.T) {
	b := newBench(t)
	b.record(update("p", 1))
	b.run()
	before := b.surrogate("p")
	b.openWith(awayFrom{b.keys, b.blob(`SELECT head FROM crmguard_audit_surrogates WHERE person = 'p'`)})
	require.ErrorIs(t, b.trail.Prepare(t.Context(), "main", "p"), audit.ErrKeys)
	require.Equal(t, before, b.surrogate("p"))
}

// Whoever was merged before is never named as who merges.
func TestNobodyIsNamedAsWhoMerges(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	require.NoError(t, b.merge("p0", "p1"))
	b.config.From = func(context.Context) audit.Caller { return audit.Caller{Actor: "p0", Request: "p0"} }
	b.open()
	require.NoError(t, b.merge("p1", "p2"))
	b.run()
	for _, who := range b.callers(auditlog.KindMerge) {
		require.NotContains(t, who, "p0")
	}
}

// Whom somebody was merged into nobody knows since a restore: that is said, and who it
// is has to be named first.
func TestAMergeIntoSomebodyWhoIsNotKnown(t *testing.T) {
	b, _ := mirrored(t)
	b.mergedSince()
	require.ErrorIs(t, b.merge("q", "p0"), audit.ErrInvalid)
	require.NoError(t, b.trail.Prepare(t.Context(), "main", "p"))
	require.NoError(t, b.merge("q", "p0"))
	b.run()
	require.Equal(t, 3, b.updates("p0"))
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
}

// A merge that the published log tells of stops no restore that has nothing of those
// whom it names.
func TestARestoreWithoutThePersonsOfAMerge(t *testing.T) {
	b := newBench(t)
	b.mergedSince()
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
	require.Empty(t, b.history(audit.About("p")))
}
