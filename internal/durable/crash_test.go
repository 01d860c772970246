package durable_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/durable"
	"github.com/crmguard/crmguard/internal/durable/durabletest"
)

const prefix = ".test-"

// job is one thing that a caller does, and what may be under its name.
type job struct {
	name   string
	before string // "" no file
	after  string
	do     func(f *durable.Folder) error
}

func jobs() []job {
	const long = "the new content of the file, longer than the old"
	put := func(f *durable.Folder, name string, end func(*durable.Writer, string) error) error {
		w, err := f.Begin(path.Dir(name), 0o600)
		if err != nil {
			return err
		}
		for _, piece := range []string{long[:10], long[10:11], long[11:]} {
			if _, err = w.Write([]byte(piece)); err != nil {
				break
			}
		}
		if err == nil {
			err = end(w, name)
		}
		return errors.Join(err, w.Discard())
	}
	return []job{
		{"replace", "the old content", long, func(f *durable.Folder) error { return f.Replace("replace", []byte(long), 0o600) }},
		{"shorten", "the old content", "new", func(f *durable.Folder) error { return f.Replace("shorten", []byte("new"), 0o600) }},
		{"empty", "the old content", "\x00", func(f *durable.Folder) error { return f.Replace("empty", []byte("\x00"), 0o600) }},
		{"replace-nothing", "", long, func(f *durable.Folder) error { return f.Replace("replace-nothing", []byte(long), 0o600) }},
		{"create", "", long, func(f *durable.Folder) error { return f.Create("create", []byte(long), 0o400) }},
		{"replace-in-pieces", "old", long, func(f *durable.Folder) error {
			return put(f, "replace-in-pieces", (*durable.Writer).Replace)
		}},
		{"create-in-pieces", "", long, func(f *durable.Folder) error { return put(f, "create-in-pieces", (*durable.Writer).Create) }},
		{"a/b/c/create", "", long, func(f *durable.Folder) error {
			return errors.Join(f.MkdirAll("a/b/c", 0o700), f.Create("a/b/c/create", []byte(long), 0o600))
		}},
		{"a/b/replace", "", long, func(f *durable.Folder) error {
			return errors.Join(f.MkdirAll("a/b", 0o700), f.Replace("a/b/replace", []byte(long), 0o600))
		}},
	}
}

// disk is one on which the job has what it had before, and neighbours.
func (j job) disk(t *testing.T, seed uint64, noLinks bool) *durabletest.Memory {
	t.Helper()
	m := durabletest.NewMemory(seed)
	m.NoLinks = noLinks
	f := durable.On(m, prefix)
	for _, name := range []string{"neighbour", ".test-mine", ".test-abcdefghijklmnopqrstuvwxyz", "sub/neighbour"} {
		require.NoError(t, f.MkdirAll(path.Dir(name), 0o700))
		require.NoError(t, f.Create(name, []byte("content of "+name), 0o600))
	}
	if j.before != "" {
		require.NoError(t, f.Create(j.name, []byte(j.before), 0o600))
	}
	return m
}

// check looks at the disk as whoever starts again finds it.
func (j job) check(t *testing.T, m *durabletest.Memory, done bool, when string) {
	t.Helper()
	data, err := m.Read(j.name)
	switch {
	case err != nil:
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.False(t, done, "%s: what was acknowledged is gone", when)
		require.Empty(t, j.before, "%s: what stood there before is gone", when)
	case done:
		require.Equal(t, j.after, string(data), when)
	default:
		require.Contains(t, []string{j.before, j.after}, string(data), "%s: neither old nor new", when)
		require.NotEmpty(t, data, when)
	}
	for _, name := range []string{"neighbour", ".test-mine", ".test-abcdefghijklmnopqrstuvwxyz", "sub/neighbour"} {
		data, err := m.Read(name)
		require.NoError(t, err, when)
		require.Equal(t, "content of "+name, string(data), "%s: a neighbour came to harm", when)
	}
}

// At whatever step the process or the machine stops: under the name stands the
// old content or the new, whole; after nil the new. Whoever comes next finds
// nothing in the way, tidies up, and what it does holds against the next crash,
// although the one before it was killed half-way.
func TestACrashAtAnyStep(t *testing.T) {
	for _, j := range jobs() {
		for _, noLinks := range []bool{false, true} {
			for _, killed := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/noLinks=%v/killed=%v", j.name, noLinks, killed), func(t *testing.T) {
					for seed := range uint64(40) {
						for step := 1; ; step++ {
							when := fmt.Sprintf("seed %d, step %d", seed, step)
							m := j.disk(t, seed, noLinks)
							m.FailAt(step)
							err := j.do(durable.On(m, prefix))
							failed := m.Failed()
							if !failed {
								require.NoError(t, err, when)
							}
							if killed {
								m.Kill()
							} else {
								m.Crash()
							}
							j.check(t, m, err == nil, when)

							f := durable.On(m, prefix)
							err = j.do(f)
							if errors.Is(err, fs.ErrExist) {
								err = f.Sync(path.Dir(j.name)) // asked again: as durable as the first
							}
							require.NoError(t, err, when)
							m.Crash()
							j.check(t, m, true, when+", the next process")
							f = durable.On(m, prefix)
							f.CleanUp(path.Dir(j.name))
							names, err := m.Names(path.Dir(j.name))
							require.NoError(t, err)
							require.False(t, slices.ContainsFunc(names, func(name string) bool { return durable.Unfinished(prefix, name) }), "%s: %v", when, names)
							j.check(t, m, true, when+", cleaned up")
							if !failed {
								break
							}
						}
					}
				})
			}
		}
	}
}

// What Append has acknowledged stays, what stood there before it stays, and
// what a crash leaves of a line goes with the next one.
func TestACrashWhileAppending(t *testing.T) {
	const old, line = "first line\nsecond\n", "the third line\n"
	for seed := range uint64(200) {
		for step := 1; ; step++ {
			torn := []string{"", "thi", "the rest of a line that was longer than the next"}[seed%3]
			m := durabletest.NewMemory(seed)
			f := durable.On(m, prefix)
			require.NoError(t, f.Create("log", []byte(old+torn), 0o600))
			m.FailAt(step)
			err := f.Append("log", int64(len(old+torn)), int64(len(old)), []byte(line))
			failed := m.Failed()
			m.Crash()
			data, readErr := m.Read("log")
			require.NoError(t, readErr)
			if err == nil {
				require.Equal(t, old+line, string(data))
			} else {
				require.ErrorIs(t, err, durabletest.ErrPower)
			}
			require.GreaterOrEqual(t, len(data), len(old))
			require.Equal(t, old, string(data[:len(old)]), "seed %d, step %d", seed, step)
			f = durable.On(m, prefix)
			require.NoError(t, f.Append("log", int64(len(data)), int64(len(old)), []byte(line)))
			m.Crash()
			data, readErr = m.Read("log")
			require.NoError(t, readErr)
			require.Equal(t, old+line, string(data))
			if !failed {
				break
			}
		}
	}
}

// A file that was appended to behind the back of its reader is left alone.
func TestAFileThatHasChangedIsNotAppendedTo(t *testing.T) {
	m := durabletest.NewMemory(1)
	f := durable.On(m, prefix)
	require.NoError(t, f.Create("log", []byte("of another\n"), 0o600))
	for _, seen := range []int64{0, 10, 12} {
		require.ErrorIs(t, f.Append("log", seen, 0, []byte("x")), durable.ErrChanged)
	}
	require.ErrorIs(t, f.Append("missing", 0, 0, []byte("x")), fs.ErrNotExist)
	data, err := m.Read("log")
	require.NoError(t, err)
	require.Equal(t, "of another\n", string(data))
}

// Files under their own names are durable once they are finished and their
// folder is flushed, however many there are.
func TestManyFilesAndOneFlushOfTheirFolder(t *testing.T) {
	for seed := range uint64(20) {
		for step := 1; ; step++ {
			m := durabletest.NewMemory(seed)
			f := durable.On(m, prefix)
			m.FailAt(step)
			err := func() error {
				for i := range 3 {
					w, err := f.New(fmt.Sprint(i), 0o600)
					if err != nil {
						return err
					}
					_, err = w.Write([]byte("content"))
					if err = errors.Join(err, w.Finish()); err != nil {
						return err
					}
				}
				return f.Sync(".")
			}()
			failed := m.Failed()
			m.Crash()
			for i := range 3 {
				if data, readErr := m.Read(fmt.Sprint(i)); err == nil {
					require.NoError(t, readErr)
					require.Equal(t, "content", string(data))
				}
			}
			if !failed {
				require.NoError(t, err)
				break
			}
		}
	}
}

// The steps, in their order: nothing gets a name before it is on disk, and
// nothing is acknowledged before its name is.
func TestTheOrderOfSteps(t *testing.T) {
	m := durabletest.NewMemory(1)
	f := durable.On(m, prefix)
	log := func() []string {
		out := slices.Clone(m.Log)
		m.Log = nil
		for i, step := range out {
			verb, name, _ := strings.Cut(step, " ")
			if durable.Unfinished(prefix, path.Base(name)) {
				out[i] = verb + " " + path.Join(path.Dir(name), "unfinished")
			}
		}
		return out
	}
	require.NoError(t, f.MkdirAll("a/b", 0o700))
	require.Equal(t, []string{"mkdir a", "sync .", "mkdir a/b", "sync a"}, log())
	require.NoError(t, f.Create("a/b/x", []byte("1"), 0o600))
	require.Equal(t, []string{"create a/b/unfinished", "write a/b/unfinished", "sync a/b/unfinished", "link a/b/x", "remove a/b/unfinished", "sync a/b"}, log())
	require.NoError(t, f.MkdirAll("a/b", 0o700))
	require.Empty(t, log(), "a folder that shows something needs no flush")
	require.ErrorIs(t, f.Create("a/b/x", []byte("2"), 0o600), fs.ErrExist)
	require.Empty(t, log(), "nothing is written in vain")
	require.NoError(t, f.Replace("a/b/x", []byte("2"), 0o600))
	require.Equal(t, []string{"create a/b/unfinished", "write a/b/unfinished", "sync a/b/unfinished", "rename a/b/x", "sync a/b"}, log())
	require.NoError(t, f.Append("a/b/x", 1, 1, []byte("3")))
	require.Equal(t, []string{"write a/b/x", "sync a/b/x"}, log())
	require.NoError(t, f.Remove("a/b/x"))
	require.Equal(t, []string{"remove a/b/x", "sync a/b"}, log())
}
