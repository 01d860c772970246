package erasurelog_test

import (
	"bytes"
	"context"
	"iter"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// counting is a medium that counts the lines that were read.
type counting struct {
	erasurelog.Medium
	lines int
}

func (c *counting) Read(ctx context.Context, from erasurelog.Position) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for line, err := range c.Medium.Read(ctx, from) {
			c.lines++
			if !yield(line, err) {
				return
			}
		}
	}
}

// counted opens the ledger so that lines read, and answers of the keys, are
// counted; the func returned says how many since it was asked last.
func (f *fixture) counted() func() (lines, answers int) {
	medium, asked := &counting{Medium: erasurelog.Folder(f.dir)}, 0
	digests := digestsOf(f.roots...)
	f.cfg.Medium = medium
	f.open()
	f.cfg.Digests = func(ctx context.Context, label string, data []byte) ([]uint32, [][]byte, error) {
		asked++
		return digests(ctx, label, data)
	}
	var err error
	f.log, err = erasurelog.Open(f.cfg)
	require.NoError(f.t, err)
	return func() (int, int) {
		defer func() { medium.lines, asked = 0, 0 }()
		return medium.lines, asked
	}
}

// A read costs what is new: the last line known, and those behind it.
func TestAReadReadsWhatIsNew(t *testing.T) {
	f := newFixture(t)
	f.erase("ann")
	f.erase("bob")
	other := *f
	other.open()
	count := f.counted()
	check := func(what string, wantLines, wantAnswers int, call func()) {
		t.Helper()
		call()
		lines, answers := count()
		require.Equal(t, wantLines, lines, what+": lines")
		require.Equal(t, wantAnswers, answers, what+": answers of the keys, one for the roots")
	}
	read := func() { f.read() }
	check("the first read", 4, 1+4, read)
	check("nothing new", 1, 1, read)
	other.erase("carl")
	check("two entries of another process", 3, 1+2, read)
	check("verify, all of it known", 6, 1, func() {
		_, err := f.log.Verify(t.Context())
		require.NoError(t, err)
	})
	f.now = f.now.Add(time.Hour - 1)
	check("before the recheck", 1, 1, read)
	f.now = f.now.Add(1)
	check("the recheck", 6, 1, read)
	check("after the recheck", 1, 1, read)
	f.now = f.now.Add(-time.Minute)
	check("a clock that was set back", 6, 1, read)
}

// changed writes the ledger anew with the same size and the same time, as
// whoever wants to stay unnoticed would.
func (f *fixture) changed(change func(data []byte) []byte) {
	f.t.Helper()
	info, err := os.Stat(f.path())
	require.NoError(f.t, err)
	f.put(change(bytes.Clone(f.data())))
	require.NoError(f.t, os.Chtimes(f.path(), info.ModTime(), info.ModTime()))
}

// A running process has verified the ledger many times. What is done to the last
// line is noticed at the next read, what is done to others by Verify and at the
// recheck.
func TestALedgerVerifiedBeforeIsRefusedAllTheSame(t *testing.T) {
	f := newFixture(t)
	for _, person := range []string{"a", "b", "c"} {
		f.erase(person)
	}
	good := f.data()
	list := bytes.SplitAfter(good, []byte("\n"))
	flip := func(line int) func([]byte) []byte {
		return func(data []byte) []byte {
			at := bytes.Index(data, list[line]) + bytes.Index(list[line], []byte(`"op":"`)) + len(`"op":"`)
			data[at] ^= 1
			return data
		}
	}
	verify := func() error {
		_, err := f.log.Verify(t.Context())
		return err
	}
	read := func() error {
		_, err := f.log.Read(t.Context())
		return err
	}
	for name, c := range map[string]struct {
		change  func([]byte) []byte
		noticed bool // by a read
	}{
		"first line":  {flip(0), false},
		"middle line": {flip(3), false},
		"last line":   {flip(5), true},
		"two lines swapped": {func([]byte) []byte {
			return bytes.Join([][]byte{list[0], list[1], list[3], list[2], list[4], list[5]}, nil)
		}, false},
		"appended":        {func(data []byte) []byte { return append(data, list[5]...) }, true},
		"first line gone": {func([]byte) []byte { return bytes.Join(list[1:], nil) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			f.now = f.now.Add(time.Minute)
			require.NoError(t, verify())
			f.changed(c.change)
			if c.noticed {
				require.ErrorIs(t, read(), erasurelog.ErrForged)
			} else {
				require.NoError(t, read(), "said in the package comment")
			}
			require.ErrorIs(t, verify(), erasurelog.ErrForged)
			require.ErrorIs(t, read(), erasurelog.ErrForged, "and from then on")
			f.changed(func([]byte) []byte { return good })
			require.NoError(t, read())
			f.changed(c.change)
			f.now = f.now.Add(time.Hour)
			require.ErrorIs(t, read(), erasurelog.ErrForged, "at the recheck")
			f.changed(func([]byte) []byte { return good })
			require.NoError(t, read())
		})
	}
}

// An older state of the file is shorter: it is read whole, and a process that has
// not read the newer one needs a head kept elsewhere to tell.
func TestAnOlderStateOfTheFile(t *testing.T) {
	f := newFixture(t)
	f.erase("ann")
	older := f.data()
	f.erase("bob")
	before := f.read()
	f.put(older)
	f.open()
	s := f.read()
	require.Equal(t, int64(2), s.Head().N)
	require.Empty(t, s.Person(f.keys("bob")...).Erasures)
	require.Len(t, before.Person(f.keys("bob")...).Erasures, 1, "a State stays what it was")
	_, err := f.log.Read(t.Context(), erasurelog.Kept{Name: "mark", Head: before.Head()})
	require.ErrorIs(t, err, erasurelog.ErrRewound)
	f.erase("carl")
	f.erase("dora")
	s = f.read()
	require.Len(t, s.Person(f.keys("carl")...).Erasures, 1)
	require.Len(t, before.Plan(before.Person(f.keys("bob")...).Erasures[0].Plan), 2)
}

// What one root verified says nothing once that root is taken away.
func TestALedgerVerifiedBeforeIsForeignWithoutItsRoot(t *testing.T) {
	f := newFixture(t)
	f.erase("ann")
	digests := digestsOf(f.roots...)
	f.cfg.Digests = func(ctx context.Context, label string, data []byte) ([]uint32, [][]byte, error) {
		return digests(ctx, label, data)
	}
	log, err := erasurelog.Open(f.cfg)
	require.NoError(t, err)
	read := func() error {
		_, err := log.Read(t.Context())
		return err
	}
	require.NoError(t, read())
	digests = digestsOf(root{0x0a0b0c0d, seqKey(9)})
	require.ErrorIs(t, read(), erasurelog.ErrForeign)
	digests = digestsOf(root{f.roots[0].id, seqKey(9)})
	require.ErrorIs(t, read(), erasurelog.ErrForged, "the same id, another key")
	digests = digestsOf(f.roots...)
	require.NoError(t, read())
}

// Readers share what is verified while it grows, and each State stays as it was.
func TestManyReadersOfALedgerThatGrows(t *testing.T) {
	f := newFixture(t)
	keys := f.keys("p")
	stop := make(chan struct{})
	var all sync.WaitGroup
	failed := make(chan error, 8)
	for range 4 {
		all.Go(func() {
			var states []*erasurelog.State
			for {
				select {
				case <-stop:
					for _, s := range states {
						if n := len(s.Person(keys...).Erasures); int64(n) != s.Head().N {
							failed <- context.Canceled
						}
					}
					return
				default:
				}
				s, err := f.log.Read(context.WithoutCancel(t.Context()))
				if err != nil {
					failed <- err
					return
				}
				if len(states) == 0 || states[len(states)-1].Head() != s.Head() {
					states = append(states, s)
				}
				s.Tops()
				s.IntentsSince(f.now)
			}
		})
	}
	for range 50 {
		f.append(f.entry(erasurelog.Intent, newID(), "p"))
	}
	close(stop)
	all.Wait()
	require.Empty(t, failed)
	require.Len(t, f.lines(), 50)
}
