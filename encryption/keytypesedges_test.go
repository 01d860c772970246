package encryption_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// someKeyTypes are the keys of [keyedTables] that a test takes which does little
// that depends on the key.
var someKeyTypes = []string{"auto increment", "bigserial", "citext", "enum", "no case", "rowid", "several", "text", "uuid", "varchar"}

// eachKeyType makes a table of each of those keys on each database, and runs f.
func eachKeyType(t *testing.T, f func(t *testing.T, c *keyedCase)) {
	t.Helper()
	testdb.Each(t, func(t *testing.T, database testdb.Database) {
		e := newEnv(t, 4)
		require.NoError(t, e.vault.AddTenant(t.Context(), seven))
		db := database.Open(t)
		typesOf(t, db, database.Name)
		for _, c := range keyedCases(t, e, db) {
			t.Run(c.name, func(t *testing.T) {
				c.create(t)
				f(t, c)
			})
		}
	})
}

// keyedCases are tables of those keys that are not made yet.
func keyedCases(t *testing.T, e *env, db *sql.DB) (out []*keyedCase) {
	t.Helper()
	d := dialectOf(t, db)
	all := keyedTables(d.Kind)
	for _, what := range slices.Sorted(maps.Keys(all)) {
		if slices.Contains(someKeyTypes, what) {
			out = append(out, &keyedCase{keyedTable: all[what], env: e, db: db, d: d, name: "crm_" + strings.ReplaceAll(what, " ", "_"), ids: map[string]int{}})
		}
	}
	return out
}

func dialectOf(t *testing.T, db *sql.DB) sqldb.Dialect {
	t.Helper()
	d, err := sqldb.Ask(t.Context(), db)
	require.NoError(t, err)
	return d
}

// typesOf makes what the keys need that is not there from the first.
func typesOf(t *testing.T, db *sql.DB, name testdb.Name) {
	t.Helper()
	if name == testdb.PostgresC || name == testdb.PostgresICU {
		_, err := db.ExecContext(t.Context(), `CREATE EXTENSION citext; CREATE TYPE stage AS ENUM ('won', 'new', 'lost', '10')`)
		require.NoError(t, err)
	}
}

// destroyer is another process, and says whom its holder waits for.
func (c *keyedCase) destroyer(t *testing.T) (v *encryption.Vault, table *encryption.SealedTable, waits chan int) {
	t.Helper()
	waits = make(chan int, 1000)
	cfg := c.cfg
	cfg.Observe = func(_ context.Context, name string, value float64, _ ...slog.Attr) {
		if name == "encryption.holder.writers" {
			waits <- int(value)
		}
	}
	v, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	return v, c.env.table(t, v, c.definition()), waits
}

func (c *keyedCase) stateOf(t *testing.T, keyVersion uint32) keystore.KeyVersionState {
	t.Helper()
	all, err := c.vault.KeyVersions(t.Context(), seven)
	require.NoError(t, err)
	for _, g := range all {
		if g.KeyVersion == keyVersion {
			return g.State
		}
	}
	return ""
}

func (c *keyedCase) active(t *testing.T) uint32 {
	t.Helper()
	all, err := c.vault.KeyVersions(t.Context(), seven)
	require.NoError(t, err)
	return all[slices.IndexFunc(all, func(g keystore.KeyVersionRow) bool { return g.State == keystore.Active })].KeyVersion
}

// Whatever the key of the table is made of: a destruction waits for a transaction
// of the application that has written, and spares what it wrote; then it waits for
// a Reseal that stands before a locked row, which comes to its end under the key
// version of now. All values open.
func TestADestructionSparesWhatIsWrittenWhateverTheKeyIs(t *testing.T) {
	eachKeyType(t, func(t *testing.T, c *keyedCase) {
		destroyer, table, waits := c.destroyer(t)
		destroys := func(keyVersion uint32) chan error {
			done := make(chan error, 1)
			go func() { done <- destroyer.DestroyKeyVersion(t.Context(), seven, keyVersion, table.Holder(c.db)) }()
			select {
			case <-waits:
			case err := <-done:
				require.FailNow(t, "the destruction did not wait", "%v", err)
			}
			return done
		}
		old := c.active(t)
		tx, err := c.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), `UPDATE `+c.name+` SET person = person WHERE n = 0`)
		require.NoError(t, err)
		_, err = c.vault.NewKeyVersion(t.Context(), seven)
		require.NoError(t, err)
		done := destroys(old)
		require.NoError(t, tx.Commit())
		require.ErrorIs(t, <-done, encryption.ErrInUse)
		require.Equal(t, keystore.Retired, c.stateOf(t, old))
		c.requireOpens(t)

		under := c.active(t)
		standing, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		resealed := make(chan error, 1)
		go func() {
			report, err := c.table.Reseal(t.Context(), c.db, seven, jobs.ResealOptions{AfterRow: func(context.Context, *sql.Tx, string, string) error {
				once.Do(func() { close(standing); <-goOn })
				return nil
			}})
			if err == nil && report.Cells != 3*len(c.ids) {
				err = fmt.Errorf("%d cells of %d", report.Cells, 3*len(c.ids))
			}
			resealed <- err
		}()
		select {
		case <-standing:
		case err := <-resealed:
			require.FailNow(t, "Reseal did not begin", "%v", err)
		}
		_, err = c.vault.NewKeyVersion(t.Context(), seven)
		require.NoError(t, err)
		done = destroys(under)
		close(goOn)
		require.NoError(t, <-resealed)
		require.NoError(t, <-done)
		require.Equal(t, keystore.Destroyed, c.stateOf(t, under))
		c.requireOpens(t)
		census, err := c.table.Census(t.Context(), c.db, seven)
		require.NoError(t, err)
		require.Equal(t, map[uint32]int64{c.active(t): int64(3 * len(c.ids))}, census.KeyVersions)
	})
}
