package backuptest

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/crmguard/crmguard/backup"
)

// Vanishing judges a store whose place can go away under it, as that of an
// unmounted disk does. open gives a fresh one for each subtest, and what takes
// its place away and brings it back.
func Vanishing(t *testing.T, open func(t *testing.T) (s backup.Store, vanish, comeBack func())) {
	t.Helper()
	for name, start := range map[string]func(t *testing.T, s backup.Store, vanish func()){
		"while it is used": func(t *testing.T, s backup.Store, vanish func()) {
			t.Helper()
			makePlace(t, s)
			put(t, s, pack, []byte("a"))
			put(t, s, "config", []byte("c"))
			vanish()
		},
		"before its first file": func(t *testing.T, s backup.Store, vanish func()) {
			t.Helper()
			makePlace(t, s)
			vanish()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, vanish, comeBack := open(t)
			start(t, s, vanish)
			everythingIsGone(t, s)
			comeBack()
			want := []string{}
			if name == "while it is used" {
				want = []string{pack + " 1"}
			}
			if got := names(t, s, "data"); len(got) != len(want) {
				t.Errorf("after it came back, List gave %v, not %v", got, want)
			}
			put(t, s, pack2, []byte("b"))
		})
	}
}

// everythingIsGone asks twice: the first call must not have made a place.
func everythingIsGone(t *testing.T, s backup.Store) {
	t.Helper()
	for range 2 {
		for _, name := range []string{pack, index, "locks/4f", "config"} {
			_, err := s.Read(t.Context(), name, 0, 1)
			isGone(t, "Read of "+name, err)
			isGone(t, "Delete of "+name, s.Delete(t.Context(), name))
			isGone(t, "Put of "+name, s.Put(t.Context(), name, []byte("x")))
		}
		for _, folder := range []string{"data", "snapshots", "locks", ""} {
			err := errors.New("an empty list")
			for _, err = range s.List(t.Context(), folder) {
				break
			}
			isGone(t, "List of "+folder, err)
		}
	}
}

func isGone(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, backup.ErrGone) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s gave %v where the place has vanished; it must give backup.ErrGone, and not that the file alone is missing", what, err)
	}
}
