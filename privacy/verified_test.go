package privacy_test

import (
	"bytes"
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
)

// changed writes the ledger anew with the same size and the same time, as
// whoever wants to stay unnoticed would.
func (s *system) changed(f func(data []byte) []byte) {
	info, err := os.Stat(s.ledgerPath())
	require.NoError(s.t, err)
	data, err := os.ReadFile(s.ledgerPath())
	require.NoError(s.t, err)
	data = f(bytes.Clone(data))
	require.NoError(s.t, os.WriteFile(s.ledgerPath(), data, 0o600))
	require.NoError(s.t, os.Chtimes(s.ledgerPath(), info.ModTime(), info.ModTime()))
}

// A running process has verified the ledger many times; each refusal stands.
func TestALedgerVerifiedBeforeIsRefusedAllTheSame(t *testing.T) {
	s := newSystem(t)
	for _, mail := range []string{"a@a.example", "b@b.example", "c@c.example"} {
		s.erase(s.contact(mail))
	}
	require.NoError(t, s.ledger.Verify(t.Context()))
	good, err := os.ReadFile(s.ledgerPath())
	require.NoError(t, err)
	list := bytes.SplitAfter(good, []byte("\n"))
	flip := func(line int) func([]byte) []byte {
		return func(data []byte) []byte {
			at := bytes.Index(data, list[line]) + bytes.Index(list[line], []byte(`"op":"`)) + len(`"op":"`)
			data[at] ^= 1
			return data
		}
	}
	for name, change := range map[string]func([]byte) []byte{
		"first line": flip(0), "middle line": flip(3), "last line": flip(5),
		"two lines swapped": func([]byte) []byte {
			return bytes.Join([][]byte{list[0], list[1], list[3], list[2], list[4], list[5]}, nil)
		},
		"appended": func(data []byte) []byte { return append(data, list[5]...) },
	} {
		s.changed(change)
		require.ErrorIs(t, s.ledger.Verify(t.Context()), privacy.ErrLedgerForged, name)
		s.changed(func([]byte) []byte { return good })
		require.NoError(t, s.ledger.Verify(t.Context()), name)
	}
	s.changed(func([]byte) []byte { return bytes.Join(list[:4], nil) })
	require.ErrorIs(t, s.desk.Current(t.Context()), privacy.ErrLedgerRewound)
	s.changed(func([]byte) []byte { return good })
	require.NoError(t, s.desk.Current(t.Context()))
}

// What one root verified says nothing once that root is taken away.
func TestALedgerVerifiedBeforeIsForeignWithoutItsRoot(t *testing.T) {
	s := newSystem(t)
	s.erase(s.contact("ann@a.example"))
	digests := digestsOf(s.roots...)
	ledger, err := privacy.NewLedger(privacy.LedgerConfig{Dir: s.ledgerDir(), Digests: func(ctx context.Context, label string, data []byte) ([]uint32, [][]byte, error) {
		return digests(ctx, label, data)
	}})
	require.NoError(t, err)
	require.NoError(t, ledger.Verify(t.Context()))
	digests = digestsOf(root{0x0a0b0c0d, seqKey(9)})
	require.ErrorIs(t, ledger.Verify(t.Context()), privacy.ErrLedgerForeign)
	digests = digestsOf(root{s.roots[0].id, seqKey(9)})
	require.ErrorIs(t, ledger.Verify(t.Context()), privacy.ErrLedgerForged, "the same id, another key")
	digests = digestsOf(s.roots...)
	require.NoError(t, ledger.Verify(t.Context()))
}

// An erasure costs what it adds, not what the ledger holds.
func TestVerifiedEntriesAreNotVerifiedAgain(t *testing.T) {
	s := newSystem(t)
	asked := 0
	digests := digestsOf(s.roots...)
	ledger, err := privacy.NewLedger(privacy.LedgerConfig{Dir: s.ledgerDir(), Digests: func(ctx context.Context, label string, data []byte) ([]uint32, [][]byte, error) {
		asked++
		return digests(ctx, label, data)
	}})
	require.NoError(t, err)
	calls := func() int {
		before := asked
		require.NoError(t, ledger.Verify(t.Context()))
		return asked - before
	}
	s.erase(s.contact("ann@a.example"))
	s.erase(s.contact("bob@b.example"))
	once, all := 1, 4
	require.Equal(t, once+all, calls())
	require.Equal(t, once, calls(), "nothing new")
	s.erase(s.contact("carl@c.example"))
	require.Equal(t, once+2, calls(), "the intent and the done of another process")
}

// Readers share what is verified while it grows.
func TestManyReadersOfALedgerThatGrows(t *testing.T) {
	s := newSystem(t)
	s.cfg.Delay, s.cfg.Lease = -1, -1
	s.reopen()
	ledger := s.ledger
	stop := make(chan struct{})
	var wg sync.WaitGroup
	failed := make(chan error, 4)
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := ledger.Verify(context.WithoutCancel(t.Context())); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	for range 5 {
		s.now = s.now.Add(time.Second)
		p, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: s.contact("a@a.example"), Reason: "r", By: "user/1"})
		require.NoError(t, err)
		require.NoError(t, s.desk.Approve(t.Context(), p.ID, "user/2"))
		o, err := s.desk.Execute(t.Context(), p.ID)
		require.NoError(t, err)
		require.Equal(t, privacy.Done, o.State)
	}
	close(stop)
	wg.Wait()
	require.Empty(t, failed)
	require.Len(t, ops(t, s), 10)
}
