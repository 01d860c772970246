package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/localstore"
	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// afterTheTour is an installation that has seen all twelve steps.
func afterTheTour(t *testing.T) *crm {
	t.Helper()
	c, err := newCRM(t.Context(), settings{}, t.TempDir(), newScreen(io.Discard))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.close() })
	require.NoError(t, c.walk(t.Context()))
	return c
}

// Whatever is wrong, the error says what and where and what to do, and nothing
// is lost: the folder is byte for byte what it was.
func TestWhatIsWrongIsNamedAndNothingIsLost(t *testing.T) {
	c := afterTheTour(t)
	for _, at := range []struct {
		name   string
		folder string // that must not change
		spoil  func(t *testing.T)
		meet   func(t *testing.T) error
		want   error
		says   []string
	}{
		{"wrong KEK", "keys", nil, func(t *testing.T) error { t.Helper(); return openKeys(t, c, wrongKEKs(t, "kek-2")) }, encryption.ErrKEK, []string{"kek-2"}},
		{"missing key file", "keys", nil, func(t *testing.T) error {
			t.Helper()
			return openKeys(t, c, newKEKs(filepath.Join(t.TempDir(), "kek")))
		}, encryption.ErrKEK, []string{"kek-2"}},
		{"damaged repository", "backup/a", func(t *testing.T) { t.Helper(); flipByte(t, mustGlob(t, c.path("backup", "a", "data", "*", "*"))[0]) }, func(t *testing.T) error {
			t.Helper()
			_, err := c.repos[0].Check(t.Context(), backup.ReadAll)
			return err
		}, backup.ErrCorrupt, nil},
		{"wrong repository password", "backup/b", nil, func(t *testing.T) error {
			t.Helper()
			store, err := localstore.Open(c.path("backup", "b"))
			require.NoError(t, err)
			_, err = backup.Open(t.Context(), store, backup.Config{Key: backup.NewMachineKey()})
			return err
		}, backup.ErrPassword, nil},
		{"ledger unreachable", "ledger", func(t *testing.T) {
			t.Helper()
			require.NoError(t, os.Rename(ledgerFile(t, c), ledgerFile(t, c)+".away"))
		}, ledgerMet(c), erasurelog.ErrUnreachable, []string{"ledger", "remedy"}},
		{"ledger rewound to a shorter valid chain", "ledger", func(t *testing.T) {
			t.Helper()
			lines := bytes.SplitAfter(read(t, ledgerFile(t, c)), []byte("\n"))
			write(t, ledgerFile(t, c), bytes.Join(lines[:len(lines)-2], nil))
		}, ledgerMet(c), erasurelog.ErrRewound, []string{"ledger", "remedy"}},
		{"ledger with a forged entry", "ledger", func(t *testing.T) {
			t.Helper()
			whole := read(t, ledgerFile(t, c))
			first, _, _ := bytes.Cut(whole, []byte("\n"))
			write(t, ledgerFile(t, c), append(append(whole, first...), '\n'))
		}, ledgerMet(c), erasurelog.ErrForged, []string{"ledger", "remedy"}},
		{"ledger of another system", "ledger", func(t *testing.T) {
			t.Helper()
			other := afterTheTour(t)
			write(t, ledgerFile(t, c), read(t, ledgerFile(t, other)))
		}, ledgerMet(c), erasurelog.ErrForeign, []string{"ledger", "remedy"}},
	} {
		t.Run(at.name, func(t *testing.T) {
			whole, err := readTree(c.path(filepath.FromSlash(at.folder)))
			require.NoError(t, err)
			if at.spoil != nil {
				at.spoil(t)
				defer putBack(t, c.path(filepath.FromSlash(at.folder)), whole)
			}
			before, err := folderDigest(c.path(filepath.FromSlash(at.folder)))
			require.NoError(t, err)
			err = at.meet(t)
			require.ErrorIs(t, err, at.want)
			for _, says := range at.says {
				require.ErrorContains(t, err, says)
			}
			for _, p := range c.people {
				require.NotContains(t, err.Error(), p.id)
				if email := p.values["email"]; email != "" {
					require.NotContains(t, err.Error(), email)
				}
			}
			after, err := folderDigest(c.path(filepath.FromSlash(at.folder)))
			require.NoError(t, err)
			require.Equal(t, before, after, "looking changed the folder")
		})
	}
	require.NoError(t, c.bootGate(t.Context()), "all is put back")
}

// openKeys opens the key store with other KEKs, on a connection of its own.
func openKeys(t *testing.T, c *crm, k *keks) error {
	t.Helper()
	db, err := openDatabase(c.path("keys", "keys.db"))
	require.NoError(t, err)
	defer db.Close()
	store, err := sqlkeys.Open(t.Context(), db)
	require.NoError(t, err)
	vault, err := encryption.Open(t.Context(), encryption.Config{Keys: store, KEK: k.get, Now: c.clock.now})
	if err != nil {
		return err
	}
	_, err = vault.Tagger("seal").Tag(t.Context(), tenant, []byte("x"))
	return err
}

func wrongKEKs(t *testing.T, name string) *keks {
	t.Helper()
	k := newKEKs(filepath.Join(t.TempDir(), "kek"))
	require.NoError(t, k.create(name))
	return k
}

// ledgerMet asks everything that reads the ledger: all must refuse alike.
func ledgerMet(c *crm) func(*testing.T) error {
	return func(t *testing.T) error {
		t.Helper()
		_, replayed := c.live.desk.Replay(t.Context())
		_, head := c.live.desk.LedgerHead(t.Context())
		require.Error(t, replayed)
		require.Error(t, head)
		return errors.Join(replayed, head)
	}
}

func ledgerFile(t *testing.T, c *crm) string {
	t.Helper()
	return mustGlob(t, c.path("ledger", "ledger.jsonl*"))[0]
}

func flipByte(t *testing.T, path string) {
	t.Helper()
	data := read(t, path)
	data[len(data)/2] ^= 1
	write(t, path, data)
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	require.NoError(t, overwrite(path, data))
}

// putBack makes a folder what it was.
func putBack(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	now, err := readTree(dir)
	require.NoError(t, err)
	for name := range now {
		if _, there := files[name]; !there {
			require.NoError(t, os.Remove(filepath.Join(dir, filepath.FromSlash(name))))
		}
	}
	for name, data := range files {
		if !bytes.Equal(now[name], data) {
			write(t, filepath.Join(dir, filepath.FromSlash(name)), data)
		}
	}
}
