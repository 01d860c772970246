package backuptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/crmguard/crmguard/backup"
)

const (
	pack  = "data/4f/4f00000000000000000000000000000000000000000000000000000000000000"
	pack2 = "data/50/5000000000000000000000000000000000000000000000000000000000000000"
	index = "index/4f00000000000000000000000000000000000000000000000000000000000000"
)

// Run judges a store. open gives a fresh, empty one for each subtest; a
// backup.Maker is made before it is used.
func Run(t *testing.T, open func(t *testing.T) backup.Store) {
	t.Helper()
	for name, rule := range map[string]func(t *testing.T, s backup.Store){
		"put then read": putThenRead, "create only": createOnly, "put again": putAgain, "ranges": ranges, "missing": missing, "list": list,
		"delete": remove, "cancelled": cancelled, "concurrent": concurrent, "one wins": oneWins, "name": named, "errors": errorsName,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			makePlace(t, s)
			rule(t, s)
		})
	}
}

func makePlace(t *testing.T, s backup.Store) {
	t.Helper()
	if m, ok := s.(backup.Maker); ok {
		if err := errors.Join(m.Make(t.Context()), m.Make(t.Context())); err != nil {
			t.Fatalf("Make, twice, gave %v", err)
		}
	}
}

func put(t *testing.T, s backup.Store, name string, data []byte) {
	t.Helper()
	if err := s.Put(t.Context(), name, data); err != nil {
		t.Fatalf("Put of a new file gave %v", err)
	}
}

func read(t *testing.T, s backup.Store, name string, offset, limit int64) []byte {
	t.Helper()
	data, err := s.Read(t.Context(), name, offset, limit)
	if err != nil {
		t.Fatalf("Read of %d bytes at %d gave %v", limit, offset, err)
	}
	return data
}

func names(t *testing.T, s backup.Store, folder string) []string {
	t.Helper()
	var out []string
	for info, err := range s.List(t.Context(), folder) {
		if err != nil {
			t.Fatalf("List gave %v", err)
		}
		out = append(out, fmt.Sprintf("%s %d", info.Name, info.Size))
	}
	slices.Sort(out)
	return out
}

func putThenRead(t *testing.T, s backup.Store) {
	t.Helper()
	want := bytes.Repeat([]byte{0, 1, 0xff}, 100_000)
	buffer := slices.Clone(want)
	put(t, s, pack, buffer)
	clear(buffer) // the caller's buffer is its own again
	if !bytes.Equal(read(t, s, pack, 0, 1<<20), want) {
		t.Error("Read gave other bytes than Put took; a store must not keep the caller's slice")
	}
	put(t, s, "config", nil)
	if len(read(t, s, "config", 0, 10)) != 0 {
		t.Error("an empty file is a file")
	}
}

func createOnly(t *testing.T, s backup.Store) {
	t.Helper()
	put(t, s, pack, []byte("first"))
	if err := s.Put(t.Context(), pack, []byte("other")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Put of a name that exists gave %v; it must give fs.ErrExist", err)
	}
	if string(read(t, s, pack, 0, 100)) != "first" {
		t.Error("a refused Put changed the file")
	}
}

// putAgain: a client that lost the answer asks again.
func putAgain(t *testing.T, s backup.Store) {
	t.Helper()
	for name, data := range map[string]string{pack: "whole", index: "", "config": "c"} {
		put(t, s, name, []byte(data))
		if err := s.Put(t.Context(), name, []byte(data)); err != nil {
			t.Errorf("a second Put of equal bytes gave %v; it is a success", err)
		}
		for _, other := range []string{data + "x", "X" + data[min(1, len(data)):]} {
			if err := s.Put(t.Context(), name, []byte(other)); !errors.Is(err, fs.ErrExist) {
				t.Errorf("a second Put of other bytes gave %v; it must give fs.ErrExist", err)
			}
		}
		if got := string(read(t, s, name, 0, 100)); got != data {
			t.Errorf("a repeated Put changed the file to %q", got)
		}
	}
}

// errorsName: whoever reads an error has to find the file.
func errorsName(t *testing.T, s backup.Store) {
	t.Helper()
	put(t, s, pack, []byte("first"))
	_, readErr := s.Read(t.Context(), pack2, 0, 1)
	_, rangeErr := s.Read(t.Context(), pack, -1, 1)
	for what, c := range map[string]struct {
		err  error
		name string
	}{
		"Put of other bytes": {s.Put(t.Context(), pack, []byte("other")), pack}, "Read of an absent file": {readErr, pack2},
		"Read of a bad range": {rangeErr, pack}, "Delete of an absent file": {s.Delete(t.Context(), pack2), pack2},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.name) {
			t.Errorf("%s gave %q; it must name %s", what, fmt.Sprint(c.err), c.name)
		}
	}
}

func ranges(t *testing.T, s backup.Store) {
	t.Helper()
	put(t, s, pack, []byte("0123456789"))
	for _, c := range []struct {
		offset, limit int64
		want          string
	}{{0, 10, "0123456789"}, {0, 11, "0123456789"}, {3, 4, "3456"}, {8, 100, "89"}, {10, 5, ""}, {20, 5, ""}, {4, 0, ""}, {1, 1 << 50, "123456789"}} {
		if got := read(t, s, pack, c.offset, c.limit); string(got) != c.want {
			t.Errorf("Read at %d of at most %d bytes gave %q, not %q", c.offset, c.limit, got, c.want)
		}
	}
	if _, err := s.Read(t.Context(), pack, -1, 5); err == nil {
		t.Error("Read took a negative offset")
	}
}

func missing(t *testing.T, s backup.Store) {
	t.Helper()
	if _, err := s.Read(t.Context(), pack, 0, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read of an absent file gave %v; it must give fs.ErrNotExist", err)
	}
	if err := s.Delete(t.Context(), pack); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Delete of an absent file gave %v; it must give fs.ErrNotExist", err)
	}
	if got := names(t, s, "data"); len(got) != 0 {
		t.Errorf("List of an absent folder gave %v; it is empty, not an error", got)
	}
}

func list(t *testing.T, s backup.Store) {
	t.Helper()
	put(t, s, pack, []byte("a"))
	put(t, s, pack2, []byte("bc"))
	put(t, s, index, nil)
	if got, want := names(t, s, "data"), []string{pack + " 1", pack2 + " 2"}; !slices.Equal(got, want) {
		t.Errorf("List of data gave %v, not %v", got, want)
	}
	if got, want := names(t, s, "index"), []string{index + " 0"}; !slices.Equal(got, want) {
		t.Errorf("List of index gave %v, not %v", got, want)
	}
	put(t, s, "config", []byte("def"))
	if got, want := names(t, s, ""), []string{"config 3", pack + " 1", pack2 + " 2", index + " 0"}; !slices.Equal(got, want) {
		t.Errorf("List of the whole store gave %v, not %v", got, want)
	}
	for _, err := range s.List(t.Context(), "data") {
		if err != nil {
			t.Errorf("List of data failed at its first file: %v", err)
		}
		break // must not panic when the caller stops early
	}
}

func remove(t *testing.T, s backup.Store) {
	t.Helper()
	put(t, s, pack, []byte("a"))
	put(t, s, pack2, []byte("b"))
	if err := s.Delete(t.Context(), pack); err != nil {
		t.Fatalf("Delete gave %v", err)
	}
	if got, want := names(t, s, "data"), []string{pack2 + " 1"}; !slices.Equal(got, want) {
		t.Errorf("after Delete, List gave %v, not %v", got, want)
	}
	put(t, s, pack, []byte("again"))
}

func cancelled(t *testing.T, s backup.Store) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Put(ctx, pack, []byte("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("Put under a cancelled context gave %v", err)
	}
	if got := names(t, s, "data"); len(got) != 0 {
		t.Errorf("Put under a cancelled context left %v", got)
	}
	if _, err := s.Read(ctx, pack, 0, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Read under a cancelled context gave %v", err)
	}
	for _, err := range s.List(ctx, "data") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("List under a cancelled context gave %v", err)
		}
	}
}

func concurrent(t *testing.T, s backup.Store) {
	t.Helper()
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			name := fmt.Sprintf("data/%02x/%02x%062x", i, i, 0)
			if err := s.Put(t.Context(), name, []byte{byte(i)}); err != nil {
				t.Errorf("concurrent Put gave %v", err)
			}
			if data, err := s.Read(t.Context(), name, 0, 2); err != nil || !bytes.Equal(data, []byte{byte(i)}) {
				t.Errorf("Read after a concurrent Put gave %v, %v", data, err)
			}
		})
	}
	all.Wait()
	if got := names(t, s, "data"); len(got) != 20 {
		t.Errorf("List after 20 concurrent Puts gave %d files", len(got))
	}
}

func oneWins(t *testing.T, s backup.Store) {
	t.Helper()
	var all sync.WaitGroup
	wins := make(chan byte, 20)
	for i := range 20 {
		all.Go(func() {
			if err := s.Put(t.Context(), pack, bytes.Repeat([]byte{byte(i)}, 1000)); err == nil {
				wins <- byte(i)
			} else if !errors.Is(err, fs.ErrExist) {
				t.Errorf("a lost race gave %v; it must give fs.ErrExist", err)
			}
		})
	}
	all.Wait()
	if len(wins) != 1 {
		t.Fatalf("%d of 20 concurrent Puts of one name succeeded", len(wins))
	}
	if !bytes.Equal(read(t, s, pack, 0, 2000), bytes.Repeat([]byte{<-wins}, 1000)) {
		t.Error("the file is not what the only successful Put wrote")
	}
}

func named(t *testing.T, s backup.Store) {
	t.Helper()
	if s.Name() == "" {
		t.Error("a store has a name for reports")
	}
}
