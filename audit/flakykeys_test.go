package audit_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
)

// flakyKeys are a key service that does not verify tags for some calls.
type flakyKeys struct {
	*audittest.Keys
	in  atomic.Int64 // the first of them, from now on
	out int64        // how many
}

var errService = errors.New("key service: no answer")

func (k *flakyKeys) Verify(ctx context.Context, tenant string, data, tag []byte) error {
	if n := k.in.Add(-1); n <= 0 && n > -k.out {
		return errService
	}
	return k.Keys.Verify(ctx, tenant, data, tag)
}

// A key service that fails one call accuses nobody, and ends nothing.
func TestOneFailedCallOfTheKeysIsNoForgery(t *testing.T) {
	for name, do := range map[string]func(b *bench) error{
		"RunOnce": func(b *bench) error {
			b.fill(1)
			_, err := b.trail.RunOnce(b.t.Context())
			return err
		},
		"Prune": func(b *bench) error {
			r, err := b.trail.Prune(b.t.Context(), b.yearAgo())
			require.Equal(b.t, int64(256), r.Pruned)
			return err
		},
		"VerifyStore": func(b *bench) error {
			r, err := b.trail.VerifyStore(b.t.Context(), b.checkpoint())
			require.Empty(b.t, r.Faults)
			return err
		},
		"CatchUp": catchUp,
	} {
		t.Run(name, func(t *testing.T) {
			b, keys := flakyBench(t)
			for n := int64(1); n < 12; n++ {
				keys.in.Store(n)
				require.NoError(t, do(b), "call %d", n)
			}
		})
	}
}

func flakyBench(t *testing.T) (*bench, *flakyKeys) {
	t.Helper()
	b, _ := oldBench(t, 300, 5)
	keys := &flakyKeys{Keys: b.keys, out: 1}
	keys.in.Store(1 << 40)
	b.config.Keys = keys
	b.open()
	return b, keys
}

// One that is out for longer is said: a head whose tag nobody could verify does not
// count as one that says nothing.
func TestKeysThatAreOutWhileHeadsAreReadAreAnError(t *testing.T) {
	for _, out := range []int64{2, 1 << 20} {
		b, keys := flakyBench(t)
		keys.out = out
		for name, do := range map[string]func() error{
			"Prune":         func() error { _, err := b.trail.Prune(t.Context(), b.yearAgo()); return err },
			"PruneOpenings": b.pruneOpenings,
			"VerifyStore":   func() error { _, err := b.trail.VerifyStore(t.Context(), b.checkpoint()); return err },
		} {
			for n := int64(1); ; n++ {
				keys.in.Store(n)
				err := do()
				if keys.in.Load() > 0 { // it has not so many calls
					require.NoError(t, err, name)
					break
				}
				require.ErrorIs(t, err, errService, "%s, call %d of %d", name, n, out)
				require.NotErrorIs(t, err, auditlog.ErrTampered, "%s, call %d of %d", name, n, out)
			}
		}
	}
}
