package erasurelog_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/durable/durabletest"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// What a running process has read it remembers: an older state of the file, and
// another ledger of the same keys, are refused by it, whoever else keeps no head.
func TestAProcessRemembers(t *testing.T) {
	f, other := newFixture(t), newFixture(t)
	f.erase("ann")
	older := f.data()
	f.erase("bob")
	newest := f.data()
	other.erase("carl")
	other.erase("dora")
	other.erase("emil")
	before := f.read()
	refused := func(want error) {
		t.Helper()
		for range 2 {
			_, err := f.log.Read(t.Context())
			require.ErrorIs(t, err, want)
			require.ErrorContains(t, err, "this process")
			require.ErrorIs(t, f.try(f.entry(erasurelog.Intent, newID(), "fred")), want)
		}
	}
	f.put(older)
	refused(erasurelog.ErrRewound)
	require.Equal(t, older, f.data(), "nothing was written behind it")
	f.put(nil)
	refused(erasurelog.ErrRewound)
	f.put(other.data())
	refused(erasurelog.ErrForged)
	require.NoError(t, os.Remove(f.path()))
	require.ErrorIs(t, f.log.Create(t.Context()), erasurelog.ErrRewound)

	f.put(newest)
	require.Equal(t, before.Head(), f.read().Head(), "the remedy")
	f.roots = append([]root{{7, seqKey(70)}}, f.roots...)
	f.put(older)
	f.open()
	require.Equal(t, int64(2), f.read().Head().N, "a new process remembers nothing")
}

// A line that another process wrote and took back, because its disk failed, is
// none that is remembered.
func TestALineThatWasTakenBack(t *testing.T) {
	f := newFixture(t)
	f.erase("ann")
	before := f.data()
	other := &fixture{t: t, dir: f.dir, now: f.now, roots: f.roots}
	other.open()
	f.erase("bob")
	f.put(f.data()[:len(before)+len(f.lines()[2])]) // the intent, seen before it was flushed
	require.Equal(t, int64(3), other.read().Head().N)
	f.put(before)
	require.Equal(t, int64(2), other.read().Head().N)
	other.erase("carl")
}

// A head that others keep is one that stays: it is made durable before it is given
// away.
func TestAHeadIsDurable(t *testing.T) {
	f := newFixture(t)
	f.erase("ann")
	broken := true
	f.over(durabletest.Ask(func(step, _ string) error {
		if step == "sync" && broken {
			return syscall.EIO
		}
		return nil
	}))
	require.Equal(t, int64(2), f.read().Head().N)
	_, err := f.log.Head(t.Context())
	require.ErrorIs(t, err, erasurelog.ErrUnreachable)
	broken = false
	data, err := f.log.Head(t.Context())
	require.NoError(t, err)
	head, err := erasurelog.ParseHead(data)
	require.NoError(t, err)
	require.Equal(t, f.read().Head(), head)
}
