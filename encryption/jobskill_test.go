package encryption_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/killtest"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A site is an installation that several processes open: a folder that says where
// its database is, which KEKs are destroyed, and holds its key copies.
type site struct {
	*env
	dir string
}

func (s *site) copies() string         { return filepath.Join(s.dir, "copies") }
func (s *site) gone(kek string) string { return filepath.Join(s.dir, "gone-"+kek) }

// kek answers to every name that was not destroyed.
func (s *site) kek(_ context.Context, tenant, name string) (tink.AEADWithContext, error) {
	if _, err := os.Stat(s.gone(name)); err == nil {
		return nil, errors.New("destroyed")
	}
	sum := sha256.Sum256([]byte(tenant + "\x00" + name))
	return insecurekeys.KEK(sum[:])
}

func (s *site) destroy(_ context.Context, kek string) error {
	return os.WriteFile(s.gone(kek), nil, 0o600)
}

// newSite makes an installation whose keys are beside its rows.
func newSite(t *testing.T, d testdb.Database) *site {
	t.Helper()
	driver := d.Name.Drivers()[0]
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "copies"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "database"), []byte(driver+"\n"+d.DSN(driver)), 0o600))
	db := d.Open(t)
	typesOf(t, db, d.Name)
	require.NoError(t, sqlkeys.Install(t.Context(), db))
	s := siteOver(t, dir, db)
	var err error
	s.vault, err = encryption.Create(t.Context(), s.cfg)
	require.NoError(t, err)
	require.NoError(t, s.vault.AddTenant(t.Context(), seven))
	return s
}

func siteOver(t *testing.T, dir string, db *sql.DB) *site {
	t.Helper()
	store, err := sqlkeys.Open(t.Context(), db)
	require.NoError(t, err)
	s := &site{env: &env{db: db, keysDB: db, store: store, clock: &clock{t: time.Now()}}, dir: dir}
	s.cfg = encryption.Config{Keys: store, KEK: s.kek, Now: s.clock.Now, Wait: s.clock.Wait}
	return s
}

// openSite is another process of the installation.
func openSite(t *testing.T, dir string) *site {
	t.Helper()
	where, err := os.ReadFile(filepath.Join(dir, "database"))
	require.NoError(t, err)
	driver, dsn, _ := strings.Cut(string(where), "\n")
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return siteOver(t, dir, db)
}

// reopened is the same site as a process sees it that remembers nothing.
func (s *site) reopened(t *testing.T) {
	t.Helper()
	var err error
	s.vault, err = encryption.Open(t.Context(), s.cfg)
	require.NoError(t, err)
}

// killRounds is how often a process is killed on each database.
func killRounds(t *testing.T) (rounds int, moments *rand.Rand) {
	t.Helper()
	rounds, moments = killtest.Rounds(t)
	return max(1, rounds/5), moments
}

// Reseal is killed at any moment, on each database, with keys of their own types.
// At once every value is what it was; the next Reseal does the rest, and what was
// under the old key version then needs it no more.
func TestAResealThatIsKilledAnywhereLosesNothing(t *testing.T) {
	if dir := killtest.Dir(); dir != "" {
		s := openSite(t, dir)
		s.reopened(t)
		killtest.Say("open")
		for _, c := range keyedCases(t, s.env, s.db) {
			table := s.table(t, s.vault, c.definition())
			_, err := table.Reseal(t.Context(), s.db, seven, jobs.ResealOptions{
				Batch: 2, Progress: func(jobs.ResealReport) { killtest.Say("batch") },
			})
			require.NoError(t, err)
		}
		return
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		s := newSite(t, d)
		cases := keyedCases(t, s.env, s.db)
		batches := 0
		for _, c := range cases {
			c.create(t)
			batches += (len(c.ids) + 1) / 2
		}
		rounds, moments := killRounds(t)
		for range rounds {
			_, err := s.vault.NewKeyVersion(t.Context(), seven)
			require.NoError(t, err)
			killtest.Kill(t, s.dir, killtest.At{Count: 1 + moments.IntN(batches), Pause: time.Duration(moments.IntN(3000)) * time.Microsecond})
			s.reopened(t)
			fresh := cases[0].active(t)
			for _, c := range cases {
				c.table = s.table(t, s.vault, c.definition())
				c.requireOpens(t)
				census, err := c.table.Census(t.Context(), s.db, seven)
				require.NoError(t, err)
				var cells int64
				for _, n := range census.KeyVersions {
					cells += n
				}
				require.EqualValues(t, 3*len(c.ids), cells)
				report, err := c.table.Reseal(t.Context(), s.db, seven, jobs.ResealOptions{})
				require.NoError(t, err)
				require.Equal(t, []int{len(c.ids), 0, 0, 0}, []int{report.Rows, report.Unreadable, report.Refused, report.Locked})
				census, err = c.table.Census(t.Context(), s.db, seven)
				require.NoError(t, err)
				require.Equal(t, jobs.Census{KeyVersions: map[uint32]int64{fresh: int64(3 * len(c.ids))}}, census)
				var clear string
				require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT mail FROM `+c.name+` WHERE tenant = '8'`).Scan(&clear))
				require.Equal(t, "another tenant's, and clear", clear)
			}
			s.destroyRetired(t, cases)
			for _, c := range cases {
				c.requireOpens(t)
			}
		}
	})
}

// destroyRetired destroys all key versions but the active one.
func (s *site) destroyRetired(t *testing.T, cases []*keyedCase) {
	t.Helper()
	var holders []jobs.Holder
	for _, c := range cases {
		holders = append(holders, c.table.Holder(s.db))
	}
	all, err := s.vault.KeyVersions(t.Context(), seven)
	require.NoError(t, err)
	for _, g := range all {
		if g.State == keystore.Retired {
			require.NoError(t, s.vault.DestroyKeyVersion(t.Context(), seven, g.KeyVersion, holders...))
		}
	}
}

// persons of the rows have keys; more of them make an epoch long.
func (s *site) morePersons(t *testing.T, n int) {
	t.Helper()
	everybody := make([]string, n)
	for i := range everybody {
		everybody[i] = fmt.Sprintf("x%04d", i)
	}
	require.NoError(t, s.vault.Ensure(t.Context(), seven, everybody...))
}

// kek of a round, and the one before.
func kekOf(round int) string { return fmt.Sprint("kek-", round+1) }

// The process that closes an epoch is killed at any moment, on each database. At
// once all values open; the epoch is closed by the next call, and then older key
// copies open nothing, the old KEK is gone, and the copy of today brings all back.
func TestAnEpochThatIsKilledAnywhereIsClosedByTheNextCall(t *testing.T) {
	epoch := func(s *site, kek string) keycopy.Rewrap {
		return keycopy.Rewrap{KEK: kek, Copy: s.vault.Copier(s.copies()), Destroy: s.destroy}
	}
	if dir := killtest.Dir(); dir != "" {
		s := openSite(t, dir)
		s.cfg.Keys = sayingStore{s.cfg.Keys}
		s.reopened(t)
		killtest.Say("open")
		next, err := os.ReadFile(filepath.Join(dir, "next"))
		require.NoError(t, err)
		_, err = s.vault.RewrapKeys(t.Context(), epoch(s, string(next)))
		require.NoError(t, err)
		return
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		s := newSite(t, d)
		c := keyedCases(t, s.env, s.db)[0]
		c.create(t)
		s.morePersons(t, 1100)
		rounds, moments := killRounds(t)
		for round := 1; round <= rounds; round++ {
			s.clock.Move(encryption.DefaultLease)
			written, err := s.vault.WriteCopy(t.Context(), s.copies())
			require.NoError(t, err)
			older := kept(t, written.Path)
			require.NoError(t, os.WriteFile(filepath.Join(s.dir, "next"), []byte(kekOf(round)), 0o600))
			killtest.Kill(t, s.dir, killtest.At{Count: 1 + moments.IntN(9), Pause: time.Duration(moments.IntN(5000)) * time.Microsecond})

			s.reopened(t)
			c.table = s.table(t, s.vault, c.definition())
			c.requireOpens(t)
			status, err := s.vault.Inventory(t.Context())
			require.NoError(t, err)
			closed := status.KEK == kekOf(round) && len(status.Retiring) == 0
			_, err = s.vault.RewrapKeys(t.Context(), epoch(s, kekOf(round)))
			if closed {
				require.ErrorIs(t, err, encryption.ErrRewrap)
			} else {
				require.NoError(t, err)
			}
			_, err = os.Stat(s.gone(kekOf(round - 1)))
			require.NoError(t, err, "the old KEK is gone")
			s.reopened(t)
			c.table = s.table(t, s.vault, c.definition())
			c.requireOpens(t)
			status, err = s.vault.Inventory(t.Context())
			require.NoError(t, err)
			require.Equal(t, kekOf(round), status.KEK)
			require.Empty(t, status.Retiring)
			require.Equal(t, []string{kekOf(round)}, status.Tenants[0].KEKs)
			require.EqualValues(t, round+1, status.Epoch, "each epoch once")
			cfg := s.cfg
			cfg.Keys = encryptiontest.Keys()
			_, err = encryption.RestoreCopy(t.Context(), cfg, older)
			require.ErrorIs(t, err, encryption.ErrKEK, "an older copy opens nothing")
			written, err = s.vault.WriteCopy(t.Context(), s.copies())
			require.NoError(t, err)
			require.Equal(t, []string{filepath.Base(written.Path)}, names(t, s.copies()))
			cfg.Keys = encryptiontest.Keys()
			restored, err := encryption.RestoreCopy(t.Context(), cfg, written.Path)
			require.NoError(t, err)
			c.table = s.table(t, restored, c.definition())
			c.requireOpens(t)
			require.NoError(t, restored.Ensure(t.Context(), seven, "x0000", "x1099"))
		}
	})
}
