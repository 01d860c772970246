package audit_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// A log that begins has no change of keys, whatever former keys the configuration
// names.
func TestALogThatBeginsAnnouncesNoKey(t *testing.T) {
	b := newBench(t)
	old, fresh := pair{b.config.Signer, b.config.Verifier}, newPair(t, "crm.example/audit")
	trail := b.with(fresh, old)
	b.turn(trail)
	b.turn(trail)
	for _, l := range b.leaves() {
		require.NotEqual(t, auditlog.KindKey, l.Kind)
	}
}

// A key that the log announced can be revoked as any other: the two are two events.
func TestAnAnnouncedKeyIsRevoked(t *testing.T) {
	b := newBench(t)
	first, second, third := pair{b.config.Signer, b.config.Verifier}, newPair(t, "crm.example/audit"), newPair(t, "crm.example/audit")
	b.turn(b.with(first))
	for range 2 {
		b.turn(b.with(second, pair{key: first.key}))
	}
	last := b.with(third, pair{key: second.key}, pair{key: first.key})
	for range 2 {
		b.turn(last)
	}
	require.NoError(t, last.RevokeKey(t.Context(), second.key))
	b.turn(last)
	r, err := auditlog.VerifyLog(t.Context(), b.sink.FS(), auditlog.Trust{Key: third.key, Former: []string{second.key, first.key}})
	require.NoError(t, err)
	name := func(p pair) string { return strings.TrimPrefix(p.key, "crm.example/audit/0+") }
	var got []auditlog.KeyChange
	for _, k := range r.Keys {
		k.Index = 0
		got = append(got, k)
	}
	require.Equal(t, []auditlog.KeyChange{{Key: name(second)}, {Key: name(third)}, {Key: name(second), Revoked: true}}, got)
}
