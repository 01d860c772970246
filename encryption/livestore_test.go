package encryption_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/testdb"
)

// keyTables are those of the key store.
func keyTables() []string {
	return []string{"store", "keyset", "generation", "owner", "key", "alias", "index", "mark"}
}

// On each database: the tables of the key store are put back to an hour ago under
// a vault that runs, and others go on with them. What the vault knows of the lost
// hour it neither opens nor seals with any more; a new process goes on.
func TestAStoreThatIsPutBackUnderALiveVaultIsNoticed(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		w := newWorn(t, d)
		for _, table := range keyTables() {
			w.exec(t, `CREATE TABLE kept_`+table+` AS SELECT * FROM crmguard_encryption_`+table)
		}
		note := w.cell(t, "note", "r0")
		lost, err := w.people.Writer(t.Context(), tenant, "lost")
		require.NoError(t, err)
		sealed, err := lost.Seal("note", []byte("x"))
		require.NoError(t, err)
		_, err = w.vault.Erase(t.Context(), tenant, "p0")
		require.NoError(t, err)
		position := mustPosition(t, w.vault)

		for _, table := range keyTables() {
			w.exec(t, `DELETE FROM crmguard_encryption_`+table)
			w.exec(t, `INSERT INTO crmguard_encryption_`+table+` SELECT * FROM kept_`+table)
		}
		other := w.another(t)
		for range 10 {
			mustPosition(t, other)
		}
		w.clock.Move(encryption.DefaultLease)
		for _, person := range []string{"lost", "p0", "new"} {
			_, err = w.people.Writer(t.Context(), tenant, person)
			require.ErrorIs(t, err, encryption.ErrRewound)
		}
		_, err = lost.Seal("note", []byte("x"))
		require.Error(t, err)
		_, err = w.people.Row(t.Context(), tenant, "p0", "r0")
		require.ErrorIs(t, err, encryption.ErrRewound)
		require.Equal(t, encryption.HealthAlarm, found(t, w.vault, "encryption.store.rewound", "").Level)
		written, err := other.WriteCopy(t.Context(), t.TempDir())
		require.NoError(t, err)
		require.ErrorIs(t, written.Covers(position), encryption.ErrNotCovered)

		table := w.table(t, other, peopleTable)
		row, err := table.Row(t.Context(), tenant, "p0", "r0")
		require.NoError(t, err)
		_, err = row.Text(t.Context(), "note", note)
		require.NoError(t, err, "the erasure is lost with the store: the ledger is there to replay it")
		row, err = table.Row(t.Context(), tenant, "lost", "")
		if err == nil {
			_, err = row.Text(t.Context(), "note", sealed)
		}
		require.ErrorIs(t, err, encryption.ErrNoKey)
	})
}

// On each database: while the KEK of one tenant hangs, those of another are
// written, read and erased as ever, and nothing of that waits for the one that
// hangs; which of them took how long is logged.
func TestAKEKThatHangsIsOfNoConcernToOtherTenants(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		w := newWorn(t, d)
		entered, free := make(chan struct{}), make(chan struct{})
		var once sync.Once
		cfg := w.cfg
		cfg.KEK = func(ctx context.Context, of, name string) (tink.AEADWithContext, error) {
			if of == seven {
				once.Do(func() { close(entered) })
				<-free // whatever the context says
			}
			return w.kek(ctx, of, name)
		}
		vault, err := encryption.Open(t.Context(), cfg)
		require.NoError(t, err)
		table := w.table(t, vault, peopleTable)
		hung := make(chan error, 1)
		go func() { hung <- vault.Ensure(t.Context(), seven, "p1") }()
		<-entered

		const workers, each = 4, 12
		took := make([][]time.Duration, workers)
		var wg sync.WaitGroup
		for n := range workers {
			wg.Go(func() {
				for i := range each {
					began := time.Now()
					person := fmt.Sprint("new ", n, " ", i)
					writer, err := table.Writer(t.Context(), tenant, person)
					if err != nil {
						t.Error(err)
						return
					}
					sealed, err := writer.Seal("note", []byte("x"))
					if err != nil {
						t.Error(err)
						return
					}
					row, err := table.Row(t.Context(), tenant, person, "")
					if err == nil {
						_, err = row.Text(t.Context(), "note", sealed)
					}
					if err != nil {
						t.Error(err)
						return
					}
					took[n] = append(took[n], time.Since(began))
				}
			})
		}
		wg.Wait()
		_, err = vault.Erase(t.Context(), tenant, "new 0 0")
		require.NoError(t, err)
		_, err = vault.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		select {
		case err := <-hung:
			require.FailNow(t, "it did not hang", "%v", err)
		default:
		}
		all := slices.Sorted(slices.Values(slices.Concat(took...)))
		require.Len(t, all, workers*each)
		t.Logf("p50 %v, p99 %v", all[len(all)/2], all[len(all)*99/100])
		close(free)
		require.NoError(t, <-hung)
	})
}

// On each database: an epoch is closed, persons are erased, key versions begin,
// rows are resealed and written, all at once and in processes of their own. Whoever
// was erased is erased, every other value opens, and the old key versions go.
func TestAllThatChangesKeysAtOnce(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		s := newSite(t, d)
		require.NoError(t, s.vault.AddTenant(t.Context(), tenant))
		cell := bytesOf(d.Name)
		_, err := s.db.ExecContext(t.Context(), `CREATE TABLE letters (id VARCHAR(40) NOT NULL PRIMARY KEY, person VARCHAR(40) NOT NULL, body `+cell+`)`)
		require.NoError(t, err)
		bind := dialectOf(t, s.db).Bind
		insert := func(table *encryption.SealedTable, id, person string) error {
			return again(t, func() error {
				w, err := table.Writer(t.Context(), tenant, person)
				if err != nil {
					return err
				}
				_, err = s.db.ExecContext(t.Context(), bind(`INSERT INTO letters (id, person, body) VALUES (?, ?, ?)`), id, person, w.Text("body", "body of "+id))
				return err
			})
		}
		table := s.table(t, s.vault, lettersTable)
		model := map[string]string{} // row -> person
		for i := range 40 {
			id, person := fmt.Sprintf("a%02d", i), fmt.Sprintf("p%02d", i%20)
			require.NoError(t, insert(table, id, person))
			model[id] = person
		}
		var erased []string
		for i := range 10 {
			erased = append(erased, fmt.Sprintf("p%02d", 2*i))
		}
		var mu sync.Mutex
		var wg sync.WaitGroup
		beside := func(work func(v *encryption.Vault, table *encryption.SealedTable) error) {
			v := s.another(t)
			table := s.table(t, v, lettersTable)
			wg.Go(func() {
				if err := work(v, table); err != nil {
					t.Error(err)
				}
			})
		}
		beside(func(v *encryption.Vault, _ *encryption.SealedTable) error {
			return again(t, func() error {
				_, err := v.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: v.Copier(s.copies()), Destroy: s.destroy})
				return err
			})
		})
		beside(func(v *encryption.Vault, _ *encryption.SealedTable) error {
			return again(t, func() error {
				_, err := v.EraseMany(t.Context(), tenant, erased...)
				return err
			})
		})
		beside(func(v *encryption.Vault, _ *encryption.SealedTable) error {
			for range 3 {
				if err := again(t, func() error { _, err := v.NewKeyVersion(t.Context(), tenant); return err }); err != nil {
					return err
				}
			}
			return nil
		})
		for range 2 {
			beside(func(_ *encryption.Vault, table *encryption.SealedTable) error {
				for range 2 {
					if err := again(t, func() error {
						_, err := table.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{Batch: 7})
						return err
					}); err != nil {
						return err
					}
				}
				return nil
			})
		}
		for n := range 2 {
			beside(func(_ *encryption.Vault, table *encryption.SealedTable) error {
				for i := range 20 {
					id, person := fmt.Sprintf("b%d%02d", n, i), fmt.Sprintf("p%02d", 2*(i%10)+1)
					if err := insert(table, id, person); err != nil {
						return err
					}
					mu.Lock()
					model[id] = person
					mu.Unlock()
				}
				return nil
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		check := func() {
			table := s.table(t, s.another(t), lettersTable)
			for id, person := range model {
				var cell encryption.Sealed
				require.NoError(t, s.db.QueryRowContext(t.Context(), bind(`SELECT body FROM letters WHERE id = ?`), id).Scan(&cell))
				row, err := table.Row(t.Context(), tenant, person, id)
				var text string
				if err == nil {
					text, err = row.Text(t.Context(), "body", cell.Bytes())
				}
				if slices.Contains(erased, person) {
					require.ErrorIs(t, err, encryption.ErrErased, "%s of %s", id, person)
					continue
				}
				require.NoError(t, err, "%s of %s", id, person)
				require.Equal(t, "body of "+id, text)
			}
		}
		check()
		fresh := s.another(t)
		table = s.table(t, fresh, lettersTable)
		for _, person := range erased {
			require.NoError(t, table.ClearRows(s.db)(t.Context(), tenant, person))
		}
		for id, person := range model {
			if slices.Contains(erased, person) {
				delete(model, id)
			}
		}
		_, err = table.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{})
		require.NoError(t, err)
		all, err := fresh.KeyVersions(t.Context(), tenant)
		require.NoError(t, err)
		require.Len(t, all, 4)
		for _, g := range all {
			if g.State == keystore.Retired {
				require.NoError(t, fresh.DestroyKeyVersion(t.Context(), tenant, g.KeyVersion, table.Holder(s.db)))
			}
		}
		check()
		status, err := fresh.Inventory(t.Context())
		require.NoError(t, err)
		require.Equal(t, "kek-2", status.KEK)
		_, err = fresh.WriteCopy(t.Context(), s.copies())
		require.NoError(t, err)
	})
}

// again calls again what says that it is to be called again: the clock of these
// processes is moved by whoever waits.
func again(t *testing.T, f func() error) (err error) {
	t.Helper()
	for range 100 {
		if err = f(); !errors.Is(err, encryption.ErrLease) {
			return err
		}
	}
	return err
}
