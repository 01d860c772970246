//go:build unix

package encryption_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/killtest"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A process stands still for longer than its lease, in the middle of its work, and
// a person is erased meanwhile. When it goes on it opens and seals nothing of that
// person, by whatever it still has in its hands.
func TestAProcessThatStoodStillOpensNothingOfWhoWasErasedMeanwhile(t *testing.T) {
	const lease = 100 * time.Millisecond
	ad := []byte("ad")
	open := func(dir string) *site {
		s := openSite(t, dir)
		s.cfg.Now, s.cfg.Wait = nil, nil // by the real clocks
		s.reopened(t)
		s.contacts = s.table(t, s.vault, contactsTable)
		return s
	}
	if dir := killtest.Dir(); dir != "" {
		s := open(dir)
		sealer := s.vault.PersonSealer("opening")
		row := s.read(t)[0]
		note, err := os.ReadFile(filepath.Join(dir, "note"))
		require.NoError(t, err)
		var wg sync.WaitGroup
		var once sync.Once
		all := make(chan struct{}) // have what they use
		for range 4 {
			r, err := s.contacts.Reader(t.Context(), tenant, "p1")
			require.NoError(t, err)
			w, err := s.contacts.Writer(t.Context(), tenant, "p1")
			require.NoError(t, err)
			wg.Go(func() {
				for after := 0; after < 3; {
					_, err := os.Stat(filepath.Join(dir, "erased"))
					erased := !errors.Is(err, fs.ErrNotExist)
					_, byReader := r.Row("p1", row.ID).Text(t.Context(), "email", row.email.Bytes())
					_, byWriter := w.Seal("email", []byte("new"))
					_, bySealer := sealer.Open(t.Context(), tenant, "p1", note, ad)
					switch {
					case erased && (byReader == nil || byWriter == nil || bySealer == nil):
						t.Errorf("used after the erasure: %v, %v, %v", byReader, byWriter, bySealer)
						return
					case erased:
						after++
					case byReader == nil && bySealer == nil:
						once.Do(func() {
							<-all
							if err := killtest.Stand("opens"); err != nil {
								t.Error(err)
							}
						})
					}
				}
			})
		}
		close(all)
		wg.Wait()
		return
	}
	for range 3 {
		s := newSite(t, testdb.New(t, testdb.SQLite))
		require.NoError(t, s.vault.AddTenant(t.Context(), tenant))
		require.NoError(t, s.vault.ChangeLease(t.Context(), lease))
		_, err := s.db.ExecContext(t.Context(), contactsSQL)
		require.NoError(t, err)
		s = open(s.dir)
		s.insert(t, "c1", "p1")
		note, err := s.vault.PersonSealer("opening").Seal(t.Context(), tenant, "p1", []byte("note"), ad)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, "note"), note, 0o600))
		killtest.Pause(t, s.dir, "opens", func() {
			_, err := s.vault.Erase(t.Context(), tenant, "p1") // waits for the lease
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(s.dir, "erased"), nil, 0o600))
		})
	}
}

// A process stands still in the middle of a batch of Reseal, and another one
// destroys the key version that it seals under. On each database the destruction
// waits, no value is lost, and the batch comes to its end under the key version of
// now, or is left to the next run.
func TestAResealThatStoodStillLosesNothing(t *testing.T) {
	if dir := killtest.Dir(); dir != "" {
		s := openSite(t, dir)
		s.keysDB = openDB(t, filepath.Join(dir, "keys.db"), 2)
		s.cfg.Keys = keysIn(t, s.keysDB)
		s.cfg.Now, s.cfg.Wait = nil, nil
		s.reopened(t)
		for _, c := range keyedCases(t, s.env, s.db)[:1] {
			table := s.table(t, s.vault, c.definition())
			stand := sync.OnceValue(func() error { return killtest.Stand("in the middle") })
			_, err := table.Reseal(t.Context(), s.db, seven, jobs.ResealOptions{AfterRow: func(context.Context, *sql.Tx, string, string) error {
				return stand()
			}})
			require.NoError(t, err)
		}
		return
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		s := newSite(t, d)
		s.keysApart(t)
		c := keyedCases(t, s.env, s.db)[0]
		c.create(t)
		under, err := s.vault.NewKeyVersion(t.Context(), seven)
		require.NoError(t, err)
		destroyer, table, waits := c.destroyer(t)
		done := make(chan error, 1)
		killtest.Pause(t, s.dir, "in the middle", func() {
			_, err := s.vault.NewKeyVersion(t.Context(), seven)
			require.NoError(t, err)
			go func() { done <- destroyer.DestroyKeyVersion(t.Context(), seven, under, table.Holder(s.db)) }()
			select {
			case <-waits:
			case err := <-done:
				require.FailNow(t, "the destruction did not wait", "%v", err)
			}
			c.requireOpens(t)
		})
		if err := <-done; err != nil {
			require.ErrorIs(t, err, encryption.ErrInUse)
		}
		s.reopened(t)
		c.table = s.table(t, s.vault, c.definition())
		c.requireOpens(t)
		_, err = c.table.Reseal(t.Context(), s.db, seven, jobs.ResealOptions{})
		require.NoError(t, err)
		s.destroyRetired(t, []*keyedCase{c})
		c.requireOpens(t)
	})
}

// keysApart begins anew with keys in a file of their own: SQLite has one writer a
// file, and it stands still.
func (s *site) keysApart(t *testing.T) {
	t.Helper()
	s.keysDB = openDB(t, filepath.Join(s.dir, "keys.db"), 2)
	require.NoError(t, sqlkeys.Install(t.Context(), s.keysDB))
	s.cfg.Keys = keysIn(t, s.keysDB)
	var err error
	s.vault, err = encryption.Create(t.Context(), s.cfg)
	require.NoError(t, err)
	require.NoError(t, s.vault.AddTenant(t.Context(), seven))
}
