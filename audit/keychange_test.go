package audit_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/sqltrail"
)

// pair is a signing key of the log of a bench and its verifier key.
type pair struct {
	sign note.Signer
	key  string
}

func newPair(t *testing.T, name string) pair {
	t.Helper()
	secret, key, err := audit.GenerateKey(name, 0)
	require.NoError(t, err)
	signer, err := note.NewSigner(secret)
	require.NoError(t, err)
	return pair{signer, key}
}

// with opens the trail as another process does, with these keys.
func (b *bench) with(sign pair, former ...pair) *audit.Trail {
	b.t.Helper()
	c := b.config
	c.Signer, c.Verifier, c.Former, c.SignAlso = sign.sign, sign.key, nil, nil
	for _, f := range former {
		c.Former = append(c.Former, f.key)
		if f.sign != nil {
			c.SignAlso = append(c.SignAlso, f.sign)
		}
	}
	store, err := sqltrail.Open(b.t.Context(), b.db)
	require.NoError(b.t, err)
	trail, err := audit.Open(b.t.Context(), store, c)
	require.NoError(b.t, err)
	return trail
}

func (b *bench) turn(trail *audit.Trail) {
	b.t.Helper()
	b.fill(1)
	_, err := trail.RunOnce(b.t.Context())
	require.NoError(b.t, err)
}

// The signing key changes while processes of the old and of the new
// configuration run beside each other, and while some who verify the log know
// the one key and some the other.
func TestASigningKeyChangesWithoutAPause(t *testing.T) {
	b := newBench(t)
	old, fresh := pair{b.config.Signer, b.config.Verifier}, newPair(t, "crm.example/audit")
	before := b.with(old)
	b.turn(before)
	kept := b.checkpoint()

	verdict := func(key pair, kept []byte, former ...string) auditlog.Verdict {
		t.Helper()
		r, err := auditlog.VerifyLog(t.Context(), b.sink.FS(), auditlog.Trust{Key: key.key, Former: former, Kept: kept})
		require.NoError(t, err)
		return r.Verdict
	}
	first, second := b.with(fresh, old), b.with(fresh, old)
	b.turn(first)
	b.turn(second)
	require.Equal(t, auditlog.OK, verdict(old, kept))
	require.Equal(t, auditlog.OK, verdict(fresh, kept, old.key))
	require.Equal(t, auditlog.Unanchored, verdict(fresh, nil))
	b.turn(before) // is still there, signs alone, and makes no event about its key
	require.Equal(t, auditlog.Tampered, verdict(fresh, nil))
	require.Equal(t, auditlog.OK, verdict(fresh, kept, old.key))
	b.turn(first)
	b.turn(second)

	last := b.with(fresh, pair{key: old.key}) // the overlap is over
	b.turn(last)
	require.Equal(t, auditlog.Tampered, verdict(old, nil))
	require.Equal(t, auditlog.Unanchored, verdict(fresh, nil))
	r, err := auditlog.VerifyLog(t.Context(), b.sink.FS(), auditlog.Trust{Key: fresh.key, Former: []string{old.key}, Kept: kept})
	require.NoError(t, err)
	require.Equal(t, auditlog.OK, r.Verdict, "%+v", r.Faults)
	require.Len(t, r.Keys, 1, "every process has recorded the one change")
	require.Equal(t, strings.TrimPrefix(fresh.key, "crm.example/audit/0+"), r.Keys[0].Key)
	require.False(t, r.Keys[0].Revoked)
	leaf := b.leaves()[r.Keys[0].Index]
	require.Equal(t, []string{auditlog.KindKey, "audit.key", "rotated", "key"}, []string{leaf.Kind, leaf.Action, leaf.Reason, leaf.Object.Kind})

	_, err = before.RunOnce(t.Context())
	require.ErrorIs(t, err, auditlog.ErrNotSigned, "a process that was forgotten signs nothing")
	require.ErrorContains(t, err, "Former")
	report, err := last.VerifyStore(t.Context(), kept)
	require.NoError(t, err)
	require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
	proof, err := last.Proof(t.Context(), leaf.ID)
	require.NoError(t, err)
	raw, err := last.Leaf(t.Context(), leaf.ID)
	require.NoError(t, err)
	_, err = auditlog.Verify(auditlog.Trust{Key: fresh.key}, raw, proof)
	require.NoError(t, err)
	_, err = auditlog.Verify(auditlog.Trust{Key: old.key}, raw, proof)
	require.ErrorIs(t, err, auditlog.ErrNotSigned)
	_, err = auditlog.Verify(auditlog.Trust{Key: newPair(t, "crm.example/audit").key, Former: []string{old.key, fresh.key}}, raw, proof)
	require.NoError(t, err)
}

// A new key whose predecessor is not named stops the log, and the error says
// what is missing.
func TestANewKeyNamesTheOneBefore(t *testing.T) {
	b := newBench(t)
	b.turn(b.trail)
	_, err := b.with(newPair(t, "crm.example/audit")).RunOnce(t.Context())
	require.ErrorIs(t, err, auditlog.ErrNotSigned)
	require.ErrorContains(t, err, "Former")
}

// A stolen key can be taken out of the log for good.
func TestARevokedKeySignsNothing(t *testing.T) {
	b := newBench(t)
	old, fresh := pair{b.config.Signer, b.config.Verifier}, newPair(t, "crm.example/audit")
	b.turn(b.trail)
	trail := b.with(fresh, pair{key: old.key})
	require.ErrorIs(t, trail.RevokeKey(t.Context(), old.key), audit.ErrNotPublished, "the log would be without any key")
	b.turn(trail)
	require.ErrorIs(t, trail.RevokeKey(t.Context(), fresh.key), audit.ErrInvalid, "it is in use")
	require.ErrorIs(t, trail.RevokeKey(t.Context(), "x"), audit.ErrInvalid)
	require.ErrorIs(t, trail.RevokeKey(t.Context(), newPair(t, "other").key), audit.ErrOrigin)
	for range 2 {
		require.NoError(t, trail.RevokeKey(t.Context(), old.key))
		b.turn(trail)
	}
	trust := auditlog.Trust{Key: fresh.key, Former: []string{old.key}}
	r, err := auditlog.VerifyLog(t.Context(), b.sink.FS(), trust)
	require.NoError(t, err)
	require.Equal(t, auditlog.Unanchored, r.Verdict, "%+v", r.Faults)
	require.Len(t, r.Keys, 2)
	require.Equal(t, auditlog.KeyChange{Index: r.Keys[1].Index, Key: strings.TrimPrefix(old.key, "crm.example/audit/0+"), Revoked: true}, r.Keys[1])

	// The thief signs the log as it is, or as it was a moment ago.
	thief := &bench{t: t, config: audit.Config{Signer: old.sign}}
	files := b.sink.FS()
	thief.signed("crm.example/audit/0\n"+sizeAndRoot(r)+"\n")(t, files)
	r, err = auditlog.VerifyLog(t.Context(), files, trust)
	require.NoError(t, err)
	require.Equal(t, auditlog.Tampered, r.Verdict)
	require.Contains(t, r.Faults[0].What, "revokes")
}

// What a key signed before it was revoked is no fault of the database where that key
// is known no more: the tag of the head vouches, and nobody forges that with the key.
func TestAHeadOfARevokedKeyStands(t *testing.T) {
	b := newBench(t)
	old, fresh := pair{b.config.Signer, b.config.Verifier}, newPair(t, "crm.example/audit")
	b.turn(b.trail)
	trail := b.with(fresh, pair{key: old.key})
	b.turn(trail)
	require.NoError(t, trail.RevokeKey(t.Context(), old.key))
	b.turn(trail)
	kept, err := trail.Checkpoint(t.Context())
	require.NoError(t, err)
	verdict := func() auditlog.Verdict {
		r, err := b.with(fresh).VerifyStore(t.Context(), kept)
		require.NoError(t, err)
		return r.Verdict
	}
	require.Equal(t, auditlog.OK, verdict())
	b.config.Keys = otherTags{b.keys, audittest.NewKeys()}
	require.NoError(t, b.with(fresh, pair{key: old.key}).CatchUp(t.Context()), "which tags what a known key signed")
	require.Equal(t, auditlog.OK, verdict())
	b.exec(`UPDATE crmguard_audit_heads SET tag = zeroblob(length(tag)) WHERE size = (SELECT MIN(size) FROM crmguard_audit_heads)`)
	require.Equal(t, auditlog.Tampered, verdict())
}

// otherwise are texts of one key that package note takes as well.
func otherwise(key string) []string {
	p := strings.SplitN(key, "+", 3)
	return []string{key + "\n", p[0] + "+" + strings.ToUpper(p[1]) + "+" + p[2], p[0] + "+" + p[1] + "+" + p[2][:9] + "\r\n" + p[2][9:]}
}

// A key that is read from a file with its line break is the same key: to revoke it
// is to revoke it, and processes that spell it in two ways announce one key.
func TestAKeyIsTheSameHoweverItIsSpelt(t *testing.T) {
	for i := range otherwise(newPair(t, "x").key) {
		b := newBench(t)
		old, fresh := newPair(t, "crm.example/audit"), newPair(t, "crm.example/audit")
		b.config.Signer, b.config.Verifier = old.sign, old.key
		b.turn(b.with(old))
		spelt, before := fresh, old
		spelt.key, before.key = otherwise(fresh.key)[i], otherwise(old.key)[i]
		one, two := b.with(fresh, old), b.with(spelt, before)
		for range 2 { // the old process signs alone in between
			b.turn(one)
			b.turn(b.with(old))
			b.turn(two)
			b.turn(b.with(old))
		}
		trail := b.with(spelt, pair{key: before.key})
		b.turn(trail)
		require.NoError(t, trail.RevokeKey(t.Context(), before.key))
		b.turn(trail)
		kept, err := trail.Checkpoint(t.Context())
		require.NoError(t, err)
		trust := auditlog.Trust{Key: fresh.key, Former: []string{old.key}, Kept: kept}
		r, err := auditlog.VerifyLog(t.Context(), b.sink.FS(), trust)
		require.NoError(t, err)
		require.Equal(t, auditlog.OK, r.Verdict, "%+v", r.Faults)
		require.Len(t, r.Keys, 2)
		require.Equal(t, strings.TrimPrefix(fresh.key, "crm.example/audit/0+"), b.leaves()[r.Keys[0].Index].Object.ID)
		require.Equal(t, strings.TrimPrefix(old.key, "crm.example/audit/0+"), b.leaves()[r.Keys[1].Index].Object.ID)

		thief := &bench{t: t, config: audit.Config{Signer: old.sign}}
		files := b.sink.FS()
		thief.signed("crm.example/audit/0\n"+sizeAndRoot(r)+"\n")(t, files)
		r, err = auditlog.VerifyLog(t.Context(), files, trust)
		require.NoError(t, err)
		require.Equal(t, auditlog.Tampered, r.Verdict)
		require.Contains(t, r.Faults[0].What, "revokes")
	}
}

func sizeAndRoot(r auditlog.Report) string {
	return fmt.Sprintf("%d\n%s", r.Size, tlog.Hash(r.Root))
}

// Keys that do not fit together are found at the start.
func TestKeysOfALogFitTogether(t *testing.T) {
	b := newBench(t)
	store, err := sqltrail.Open(t.Context(), b.db)
	require.NoError(t, err)
	fresh, third, other := newPair(t, "crm.example/audit"), newPair(t, "crm.example/audit"), newPair(t, "other")
	for want, change := range map[string]func(c *audit.Config){
		"Former: it is empty":                    func(c *audit.Config) { c.Former = []string{""} },
		"a key of Former belongs to \"other/0\"": func(c *audit.Config) { c.Former = []string{other.key} },
		"a key stands there twice, or is Key":    func(c *audit.Config) { c.Former = []string{c.Verifier} },
		"Former: a key stands there twice":       func(c *audit.Config) { c.Former = []string{fresh.key, fresh.key} },
		"a signer of SignAlso is nil":            func(c *audit.Config) { c.SignAlso = []note.Signer{nil} },
		"signs for \"other/0\"":                  func(c *audit.Config) { c.Former, c.SignAlso = []string{fresh.key}, []note.Signer{other.sign} },
		"does not stand in Former":               func(c *audit.Config) { c.Former, c.SignAlso = []string{fresh.key}, []note.Signer{third.sign} },
		"of a signer of SignAlso does not stand": func(c *audit.Config) { c.SignAlso = []note.Signer{c.Signer} },
	} {
		c := b.config
		change(&c)
		_, err := audit.Open(t.Context(), store, c)
		require.Error(t, err, want)
		require.ErrorContains(t, err, want)
	}
	_, err = auditlog.VerifyLog(t.Context(), b.sink.FS(), auditlog.Trust{Key: b.config.Verifier, Former: []string{"x"}})
	require.ErrorIs(t, err, auditlog.ErrInvalid)
}

// A process that was not told of the new key does not put a checkpoint of its own
// over one of that key, whether its database is whole or an older one.
func TestRepublishWithAnOldKeyReplacesNothing(t *testing.T) {
	for _, rewound := range []bool{false, true} {
		b := newBench(t)
		old, fresh := pair{b.config.Signer, b.config.Verifier}, newPair(t, "crm.example/audit")
		b.fill(5)
		b.run()
		kept := b.checkpoint()
		b.copyState()
		trail := b.with(fresh, pair{key: old.key})
		for range 5 {
			b.turn(trail)
		}
		require.NoError(t, trail.RevokeKey(t.Context(), old.key))
		b.turn(trail)
		newest, err := trail.Checkpoint(t.Context())
		require.NoError(t, err)
		if rewound {
			b.putBack()
		}
		b.config.Kept = func(ctx) ([]byte, error) { return kept, nil }
		b.open() // the old keys, and no Former
		files := b.sink.FS()
		for range 2 {
			_, err = b.trail.Republish(t.Context())
			require.ErrorIs(t, err, auditlog.ErrNotSigned)
			_, err = b.trail.RebuildTiles(t.Context())
			require.ErrorIs(t, err, auditlog.ErrNotSigned)
		}
		require.Equal(t, files, b.sink.FS(), "nothing was written")
		r, err := auditlog.VerifyLog(t.Context(), b.sink.FS(), auditlog.Trust{Key: fresh.key, Former: []string{old.key}, Kept: newest})
		require.NoError(t, err)
		require.Equal(t, auditlog.OK, r.Verdict)
	}
}

// A checkpoint that was damaged still says how many entries there were: a database
// with fewer does not take its place unasked.
func TestRepublishLooksAtWhatADamagedCheckpointSays(t *testing.T) {
	b := newBench(t)
	b.fill(5)
	b.run()
	kept := b.checkpoint()
	b.config.Kept = func(ctx) ([]byte, error) { return kept, nil }
	b.copyState()
	b.fill(9)
	b.run()
	newest := b.checkpoint()
	b.putBack()
	b.open()
	for _, damaged := range [][]byte{newest[:len(newest)-9], []byte(strings.Replace(string(newest), "AA", "BB", 1) + "x")} {
		require.NoError(t, b.sink.WriteFile(t.Context(), "checkpoint", damaged))
		_, err := b.trail.Republish(t.Context())
		require.ErrorIs(t, err, auditlog.ErrRolledBack)
		require.ErrorContains(t, err, "says 15 entries, the database has 6")
		there, err := b.sink.ReadFile(t.Context(), "checkpoint")
		require.NoError(t, err)
		require.Equal(t, damaged, there)
	}
	require.NoError(t, b.sink.WriteFile(t.Context(), "checkpoint", []byte("crm.example/audit/0\n99")))
	_, err := b.trail.Republish(t.Context())
	require.NoError(t, err, "it ends within the number")
}
