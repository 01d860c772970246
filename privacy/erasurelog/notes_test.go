package erasurelog_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// notes are those that open, and the errors of the others by name.
func (f *fixture) notes() (notes map[string]string, failed map[string]error) {
	f.t.Helper()
	notes, failed = map[string]string{}, map[string]error{}
	for note, err := range f.log.Notes(f.t.Context()) {
		if err != nil {
			failed[note.Name] = err
			continue
		}
		notes[note.Name] = string(note.Data)
	}
	return notes, failed
}

func (f *fixture) noteFile(name string) string { return filepath.Join(f.dir, "notes", name+".note") }

func TestNotes(t *testing.T) {
	f := newFixture(t)
	plan := newID()
	require.NoError(t, f.log.Note(t.Context(), plan, []byte("where ann is")))
	require.NoError(t, f.log.Note(t.Context(), "b", nil))
	require.NoError(t, f.log.Note(t.Context(), "c", []byte("old")))
	require.NoError(t, f.log.Note(t.Context(), "c", []byte("new")))
	want := map[string]string{plan: "where ann is", "b": "", "c": "new"}
	got, failed := f.notes()
	require.Equal(t, want, got)
	require.Empty(t, failed)
	data, err := os.ReadFile(f.noteFile(plan))
	require.NoError(t, err)
	require.False(t, bytes.Contains(data, []byte("ann")))
	info, err := os.Stat(f.noteFile(plan))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	f.roots = append([]root{{99, seqKey(50)}}, f.roots...)
	f.open()
	require.NoError(t, f.log.Note(t.Context(), "d", []byte("under the new root")))
	got, _ = f.notes()
	want["d"] = "under the new root"
	require.Equal(t, want, got)

	require.NoError(t, f.log.Forget(t.Context(), plan, "b", "never-there"))
	require.NoError(t, f.log.Forget(t.Context()))
	got, _ = f.notes()
	require.Equal(t, map[string]string{"c": "new", "d": "under the new root"}, got)
	require.NoFileExists(t, f.noteFile(plan))

	for _, name := range []string{"", "A", "a/b", "..", "a.b", "ä", strings.Repeat("a", 65)} {
		require.ErrorIs(t, f.log.Note(t.Context(), name, nil), erasurelog.ErrEntry)
		require.ErrorIs(t, f.log.Forget(t.Context(), "c", name), erasurelog.ErrEntry)
	}
	require.ErrorIs(t, f.log.Note(t.Context(), "large", make([]byte, erasurelog.MaxLine)), erasurelog.ErrEntry)
	require.NoFileExists(t, f.noteFile("large"))
}

// An older note that is put back opens, also one that was forgotten: it may only
// cause more work. Nothing here can tell, as the package comment says.
func TestANoteThatIsPutBack(t *testing.T) {
	f := newFixture(t)
	require.NoError(t, f.log.Note(t.Context(), "a", []byte("old")))
	older, err := os.ReadFile(f.noteFile("a"))
	require.NoError(t, err)
	require.NoError(t, f.log.Note(t.Context(), "a", []byte("new")))
	require.NoError(t, f.log.Forget(t.Context(), "a"))
	require.NoError(t, os.WriteFile(f.noteFile("a"), older, 0o600))
	got, failed := f.notes()
	require.Equal(t, map[string]string{"a": "old"}, got)
	require.Empty(t, failed)
}

// One note that is damaged, exchanged or another system's hides no other.
func TestANoteThatDoesNotOpen(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		require.NoError(t, f.log.Note(t.Context(), name, []byte("what "+name+" says")))
	}
	other := newFixture(t)
	other.roots = []root{{7, seqKey(7)}}
	other.open()
	require.NoError(t, other.log.Note(t.Context(), "e", []byte("foreign")))
	read := func(path string) []byte {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		return data
	}
	flipped := read(f.noteFile("a"))
	flipped[len(flipped)-1] ^= 1
	for name, data := range map[string][]byte{
		"a": flipped, "b": read(f.noteFile("c")), "d": {1, 2}, "e": read(other.noteFile("e")), "f": make([]byte, erasurelog.MaxLine+1),
	} {
		require.NoError(t, os.WriteFile(f.noteFile(name), data, 0o600))
	}
	got, failed := f.notes()
	require.Equal(t, map[string]string{"c": "what c says"}, got)
	require.ErrorIs(t, failed["a"], erasurelog.ErrForged)
	require.ErrorIs(t, failed["b"], erasurelog.ErrForged, "another note's, under this name")
	require.ErrorIs(t, failed["d"], erasurelog.ErrForged)
	require.ErrorIs(t, failed["e"], erasurelog.ErrForeign)
	require.ErrorIs(t, failed["f"], erasurelog.ErrUnreachable)
	for _, err := range failed {
		require.ErrorContains(t, err, "remedy: ")
	}
	require.NoError(t, f.log.Forget(t.Context(), "a", "b", "d", "e", "f")) // the remedy
	_, failed = f.notes()
	require.Empty(t, failed)
}

// The bytes of a note are those of formats.md: what opened once opens for ever.
func TestFrozenNote(t *testing.T) {
	f := newFixture(t)
	sealed, err := hex.DecodeString("0101020304" + frozenNote)
	require.NoError(t, err)
	require.NoError(t, f.log.Note(t.Context(), "a", nil))
	require.NoError(t, os.WriteFile(f.noteFile("frozen-1"), sealed, 0o600))
	got, failed := f.notes()
	require.Empty(t, failed)
	require.Equal(t, "a note", got["frozen-1"])
}

const frozenNote = "eedf59728e3698ccda3379ca5b5362a4827e2f07f62d76fb04d832765688b9fb297a"

// What a medium has under another name is no note.
func TestNotesOfOtherNames(t *testing.T) {
	f := newFixture(t)
	require.NoError(t, f.log.Note(t.Context(), "plan", []byte("x")))
	var sealed erasurelog.SealedNote
	for note := range f.cfg.Medium.Notes(t.Context()) {
		sealed = note
	}
	f.cfg.Medium = named{f.cfg.Medium, []erasurelog.SealedNote{{Name: "Ann Example", Sealed: sealed.Sealed}, sealed, {Name: "ann@example.org"}}}
	f.open()
	notes, failed := f.notes()
	require.Empty(t, failed)
	require.Equal(t, map[string]string{"plan": "x"}, notes)
}

type named struct {
	erasurelog.Medium
	all []erasurelog.SealedNote
}

func (n named) Notes(context.Context) iter.Seq2[erasurelog.SealedNote, error] {
	return func(yield func(erasurelog.SealedNote, error) bool) {
		for _, note := range n.all {
			if !yield(note, nil) {
				return
			}
		}
	}
}
