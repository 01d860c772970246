package sqlkeys_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
)

const tenant = "t1"

func config(keys encryption.KeyStore) encryption.Config {
	return encryption.Config{
		Keys: keys,
		KEK: func(context.Context, string, string) (tink.AEADWithContext, error) {
			return insecurekeys.KEK(make([]byte, 32))
		},
	}
}

// installed makes the tables and an installation with one tenant.
func installed(tb testing.TB, d testdb.Database, driver string) *encryption.Vault {
	tb.Helper()
	db := d.OpenWith(tb, driver)
	require.NoError(tb, sqlkeys.Install(tb.Context(), db))
	store, err := sqlkeys.Open(tb.Context(), db)
	require.NoError(tb, err)
	vault, err := encryption.Create(tb.Context(), config(store))
	require.NoError(tb, err)
	require.NoError(tb, vault.AddTenant(tb.Context(), tenant))
	return vault
}

// process opens the vault as another process would: with connections of its own.
func process(tb testing.TB, d testdb.Database, driver string) (*encryption.Vault, *sql.DB) {
	tb.Helper()
	db := d.OpenWith(tb, driver)
	store, err := sqlkeys.Open(tb.Context(), db)
	require.NoError(tb, err)
	vault, err := encryption.Open(tb.Context(), config(store))
	require.NoError(tb, err)
	return vault, db
}

// BenchmarkNewPersons: 16 processes make keys of new persons, one at a time.
func BenchmarkNewPersons(b *testing.B) {
	for _, name := range testdb.Names() {
		b.Run(string(name), func(b *testing.B) {
			d := testdb.New(b, name)
			installed(b, d, name.Drivers()[0])
			const writers = 16
			vaults := make([]*encryption.Vault, writers)
			for i := range vaults {
				vaults[i], _ = process(b, d, name.Drivers()[0])
				require.NoError(b, vaults[i].Ensure(b.Context(), tenant, fmt.Sprint("warm-", i)))
			}
			var next atomic.Int64
			taken := make([][]time.Duration, writers)
			b.ResetTimer()
			var wg sync.WaitGroup
			for i, vault := range vaults {
				wg.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						start := time.Now()
						if err := vault.Ensure(b.Context(), tenant, fmt.Sprint("p", n)); err != nil {
							b.Error(err)
							return
						}
						taken[i] = append(taken[i], time.Since(start))
					}
				})
			}
			wg.Wait()
			all := slices.Sorted(slices.Values(slices.Concat(taken...)))
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "persons/s")
			if len(all) > 0 {
				b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
				b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
			}
		})
	}
}

const imported = 3000

// BenchmarkEnsure makes the keys of 3,000 new persons, and beside it the plain
// insertion of the same rows, each table in as few statements as the database
// takes, in one durable transaction: the floor below which nothing can come.
func BenchmarkEnsure(b *testing.B) {
	for _, name := range testdb.Names() {
		b.Run(string(name)+"/vault", func(b *testing.B) {
			d := testdb.New(b, name)
			vault := installed(b, d, name.Drivers()[0])
			for n := 0; b.Loop(); n++ {
				require.NoError(b, vault.Ensure(b.Context(), tenant, persons(n)...))
			}
		})
		b.Run(string(name)+"/insert", func(b *testing.B) {
			d := testdb.New(b, name)
			installed(b, d, name.Drivers()[0])
			db := d.Open(b)
			for n := 0; b.Loop(); n++ {
				insertPlainly(b, name, db, persons(n))
			}
		})
	}
}

func persons(round int) []string {
	out := make([]string, imported)
	for i := range out {
		out[i] = fmt.Sprintf("person-%06d-%06d", round, i)
	}
	return out
}

func insertPlainly(tb testing.TB, name testdb.Name, db *sql.DB, owners []string) {
	tb.Helper()
	tx, err := db.BeginTx(tb.Context(), nil)
	require.NoError(tb, err)
	defer func() { _ = tx.Rollback() }()
	var rows, keys []any
	wrapped := make([]byte, 65)
	for _, owner := range owners {
		rows = append(rows, tenant, owner, "live", 1)
		keys = append(keys, tenant, owner, 7, wrapped)
	}
	for table, args := range map[string][]any{
		"crmguard_encryption_owner (tenant, owner, state, sequence)": rows, "crmguard_encryption_key (tenant, owner, generation, wrapped)": keys,
	} {
		_, err := tx.ExecContext(tb.Context(), "INSERT INTO "+table+" VALUES "+placeholders(name, len(owners), 4), args...)
		require.NoError(tb, err)
	}
	require.NoError(tb, tx.Commit())
}

func placeholders(name testdb.Name, rows, columns int) string {
	var out strings.Builder
	for i := range rows * columns {
		switch {
		case i > 0 && i%columns == 0:
			out.WriteString("), (")
		case i > 0:
			out.WriteString(", ")
		default:
			out.WriteString("(")
		}
		if name == testdb.PostgresC || name == testdb.PostgresICU {
			fmt.Fprintf(&out, "$%d", i+1)
		} else {
			out.WriteString("?")
		}
	}
	return out.String() + ")"
}
