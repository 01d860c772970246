package sqlkeys_test

import (
	"context"
	"database/sql"
	"fmt"
	"runtime"
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
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
)

const tenant = "t1"

func config(keys keystore.Store) encryption.Config {
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

// BenchmarkEnsure makes the keys of 3,000 new persons, and after each round
// inserts the rows that it has written into another database of the same kind,
// plainly: in one transaction as durable, in statements of as many rows. That is
// the floor below which nothing can come, and both meet the same machine.
// Time and allocations are those of Ensure; floor-ms is the median of the
// insertions, and times-floor the median of Ensure by it.
func BenchmarkEnsure(b *testing.B) {
	for _, name := range testdb.Names() {
		b.Run(string(name), func(b *testing.B) {
			d, plain := testdb.New(b, name), testdb.New(b, name)
			vault := installed(b, d, name.Drivers()[0])
			installed(b, plain, name.Drivers()[0])
			from, into := d.Open(b), plain.Open(b)
			var ours, floor []time.Duration
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				owners := persons(n)
				start := time.Now()
				require.NoError(b, vault.Ensure(b.Context(), tenant, owners...))
				ours = append(ours, time.Since(start))
				b.StopTimer()
				written := written(b, name, from, owners)
				runtime.GC() // what one leaves behind is not for the other to clear away
				start = time.Now()
				insertPlainly(b, name, into, written)
				floor = append(floor, time.Since(start))
				runtime.GC()
				b.StartTimer()
			}
			b.ReportMetric(1000*median(floor).Seconds(), "floor-ms")
			b.ReportMetric(median(ours).Seconds()/median(floor).Seconds(), "times-floor")
		})
	}
}

func median(of []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(of))[len(of)/2]
}

func persons(round int) []string {
	out := make([]string, imported)
	for i := range out {
		out[i] = fmt.Sprintf("person-%06d-%06d", round, i)
	}
	return out
}

// tables are those that Ensure writes, with their columns.
func tables() []string {
	return []string{"crmguard_encryption_owner (tenant, owner, state, sequence)", "crmguard_encryption_key (tenant, owner, generation, wrapped)"}
}

// written are the rows of owners, by table, each in the order of its key.
func written(tb testing.TB, name testdb.Name, db *sql.DB, owners []string) (out [][][]any) {
	tb.Helper()
	for _, table := range tables() {
		at, columns, _ := strings.Cut(table, " ")
		query := "SELECT " + strings.Trim(columns, "()") + " FROM " + at + " WHERE tenant = 't1' AND owner BETWEEN " + strings.Trim(strings.Replace(placeholders(name, 1, 2), ",", " AND", 1), "()") + " ORDER BY owner"
		rows, err := db.QueryContext(tb.Context(), query, owners[0], owners[len(owners)-1])
		require.NoError(tb, err)
		var all [][]any
		for rows.Next() {
			row := make([]any, 4)
			require.NoError(tb, rows.Scan(&row[0], &row[1], &row[2], &row[3]))
			all = append(all, row)
		}
		require.NoError(tb, rows.Err())
		require.NoError(tb, rows.Close())
		require.Len(tb, all, len(owners))
		out = append(out, all)
	}
	return out
}

// floorRows is how many rows a statement of the floor has: as many as one of
// the library.
const floorRows = 500

func insertPlainly(tb testing.TB, name testdb.Name, db *sql.DB, rows [][][]any) {
	tb.Helper()
	tx, err := db.BeginTx(tb.Context(), nil)
	require.NoError(tb, err)
	defer func() { _ = tx.Rollback() }()
	for i, table := range tables() {
		for some := range slices.Chunk(rows[i], floorRows) {
			_, err := tx.ExecContext(tb.Context(), "INSERT INTO "+table+" VALUES "+placeholders(name, len(some), 4), slices.Concat(some...)...)
			require.NoError(tb, err)
		}
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
