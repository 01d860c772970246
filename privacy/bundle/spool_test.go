package bundle

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/datastore"
)

const needle = "Ann Example, Bern, +41 31 123"

func person(rows int) func(func(datastore.Record, error) bool) {
	return func(yield func(datastore.Record, error) bool) {
		for range rows {
			r := datastore.Record{Table: "contacts", Fields: []datastore.Field{{Name: "name", Value: needle}}, Files: []datastore.File{{Name: "x.txt", Data: []byte(needle)}}}
			if !yield(r, nil) {
				return
			}
		}
	}
}

// What waits on the disk cannot be read, and has no name where the system
// permits that.
func TestTheTemporaryFileIsSealed(t *testing.T) {
	s, err := newSpool(t.TempDir())
	require.NoError(t, err)
	defer s.close()
	info, err := s.file.Stat()
	require.NoError(t, err)
	if runtime.GOOS != "windows" {
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		_, err = os.Stat(s.file.Name())
		require.ErrorIs(t, err, os.ErrNotExist, "no name")
	}
	var parts []part
	for range 3 {
		at, err := s.put([]byte(needle))
		require.NoError(t, err)
		parts = append(parts, at)
	}
	require.NoError(t, s.flush())
	raw, err := io.ReadAll(io.NewSectionReader(s.file, 0, s.end))
	require.NoError(t, err)
	require.Len(t, raw, int(s.end))
	require.NotContains(t, string(raw), "Bern")
	first := raw[:parts[0].length]
	require.False(t, bytes.Contains(raw[len(first):], first), "equal rows are no equal bytes")
	for _, at := range parts {
		got, err := s.get(at)
		require.NoError(t, err)
		require.Equal(t, needle, string(got))
	}

	// Rows change neither their bytes nor their places.
	_, err = s.file.WriteAt(first, parts[1].offset)
	require.NoError(t, err)
	_, err = s.get(parts[1])
	require.ErrorIs(t, err, ErrSpool)
	_, err = s.get(parts[2])
	require.NoError(t, err)
	require.NoError(t, s.file.Truncate(parts[2].offset+1))
	_, err = s.get(parts[2])
	require.ErrorIs(t, err, ErrSpool)
}

// However Write ends, its file is gone.
func TestNothingStaysBehind(t *testing.T) {
	dir := t.TempDir()
	c := Config{Tenant: "main", Made: time.Unix(1, 0), Dir: dir}
	var out bytes.Buffer
	_, err := Write(t.Context(), &out, c, person(3))
	require.NoError(t, err)
	_, err = Write(t.Context(), &out, c, func(yield func(datastore.Record, error) bool) { yield(datastore.Record{}, errors.New("down")) })
	require.Error(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Write(ctx, &out, c, person(3))
	require.ErrorIs(t, err, context.Canceled)
	require.Panics(t, func() {
		_, _ = Write(t.Context(), &out, c, func(func(datastore.Record, error) bool) { panic("store") })
	})
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
	open, _ := os.ReadDir("/proc/self/fd") // of Linux
	for _, fd := range open {
		name, _ := os.Readlink("/proc/self/fd/" + fd.Name())
		require.NotContains(t, name, dir, "a file without a name that is still open")
	}

	c.Dir = filepath.Join(dir, "none")
	_, err = Write(t.Context(), &out, c, person(3))
	require.ErrorIs(t, err, ErrSpool)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A disk that fails is named, whenever it fails.
func TestADiskThatFails(t *testing.T) {
	s, err := newSpool(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, s.file.Close())
	_, err = s.put(make([]byte, 1<<17)) // beyond the buffer
	require.ErrorIs(t, err, ErrSpool)
	require.ErrorIs(t, s.flush(), ErrSpool)
	require.ErrorIs(t, s.close(), ErrSpool)
	s, err = newSpool(t.TempDir())
	require.NoError(t, err)
	g := &gathering{config: Config{}, spool: s, sheets: map[string]*sheet{}, attached: map[string]part{}}
	require.NoError(t, s.file.Close())
	big := datastore.Record{Table: "t", Fields: []datastore.Field{{Name: "x", Value: strings.Repeat("x", 1<<17)}}}
	require.ErrorIs(t, g.add(t.Context(), big), ErrSpool)
	big.Files = []datastore.File{{Data: make([]byte, 1<<17)}}
	require.ErrorIs(t, g.add(t.Context(), big), ErrSpool)
}

// failAfter is a writer that takes so many bytes.
type failAfter struct{ left int }

var errFull = errors.New("no room")

func (w *failAfter) Write(data []byte) (int, error) {
	if w.left -= len(data); w.left < 0 {
		return 0, errFull
	}
	return len(data), nil
}

// A writer that fails at any byte is no bundle, and its error comes back.
func TestAWriterThatFails(t *testing.T) {
	var whole bytes.Buffer
	noise := make([]byte, 20000) // several buffers of package zip
	_, _ = rand.Read(noise)
	records := func(yield func(datastore.Record, error) bool) {
		yield(datastore.Record{Table: "contacts", Fields: []datastore.Field{{Name: "x", Value: noise}}, Files: []datastore.File{{Name: "x", Data: noise}}}, nil)
	}
	c := Config{Tenant: "main", Made: time.Unix(1, 0), Dir: t.TempDir()}
	_, err := Write(t.Context(), &whole, c, records)
	require.NoError(t, err)
	for at := 0; at < whole.Len(); at += 997 {
		made, err := Write(t.Context(), &failAfter{at}, c, records)
		require.ErrorIs(t, err, errFull, "%d of %d", at, whole.Len())
		require.Nil(t, made)
		_, err = Verify(bytes.NewReader(whole.Bytes()[:at]), int64(at))
		require.ErrorIs(t, err, ErrManifest)
	}
}
