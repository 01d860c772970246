package accesscontrol_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// number is one of the environment, or the usual one.
func number(t *testing.T, name string, usual uint64) uint64 {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return usual
	}
	n, err := strconv.ParseUint(s, 10, 64)
	require.NoError(t, err)
	return n
}

// byValue asks for the condition of each item, and of an outer join's miss.
func byValue(ctx context.Context, db *sql.DB, d testdb.Database, where accesscontrol.Where) (map[string]sql.NullBool, error) {
	condition, args := rendered(d, where.Value(), "c")
	rows, err := db.QueryContext(ctx, "SELECT k.id, "+condition+" FROM ids AS k LEFT JOIN items AS c ON c.id = k.id", args...)
	if err != nil {
		return nil, fmt.Errorf("%w in %s", err, condition)
	}
	defer rows.Close()
	out := map[string]sql.NullBool{}
	for rows.Next() {
		var id string
		var v sql.NullBool
		if err := rows.Scan(&id, &v); err != nil {
			return nil, err
		}
		out[id] = v
	}
	return out, rows.Err()
}

func byWhere(ctx context.Context, db *sql.DB, d testdb.Database, where accesscontrol.Where) (map[string]bool, error) {
	condition, args := rendered(d, where, "c")
	rows, err := db.QueryContext(ctx, "SELECT c.id FROM items AS c WHERE "+condition, args...)
	if err != nil {
		return nil, fmt.Errorf("%w in %s", err, condition)
	}
	defer rows.Close()
	out := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out[id] = true
	}
	return out, rows.Err()
}

// The heart of the package: on each database the filter selects exactly the
// rows for which a check answers yes, in both of its forms, and the check is
// Cedar's answer. Random valid policy sets, rows as the driver gives them.
func TestFilterEqualsChecks(t *testing.T) {
	rounds := number(t, "CRMGUARD_RANDOM_ROUNDS", 90) // 4 x 90 sets x 200 rows x 3 principals are 216,000
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		seed := number(t, "CRMGUARD_SEED", 20261122)
		g := generator{Rand: rand.New(rand.NewPCG(seed, uint64(slices.Index(testdb.Names(), d.Name)))), native: true, times: d.Name != testdb.SQLite}
		const many = 200
		db := nativeDB(t, d, g, many)
		records := nativeRecords(t, db, d.Name)
		require.Len(t, records, many)
		asCedar := make([]accesscontrol.Resource, len(records))
		for i, r := range records {
			asCedar[i] = forCedar(r)
		}
		people := nativePrincipals()
		var sets uint64
		var refused int
		var seen tally
		for sets < rounds {
			text := g.policies()
			policy, err := accesscontrol.Load(t.Context(), nativeConfig(d.Name, text))
			if err != nil {
				require.ErrorIs(t, err, accesscontrol.ErrPolicy)
				require.Contains(t, err.Error(), "optional attribute", "the generator writes nothing else that is refused:\n%s", text)
				refused++
				continue
			}
			if sets++; sets == 1 {
				require.NoError(t, policy.CheckSchema(t.Context(), db))
			}
			for _, principal := range people {
				seen.items(t, db, d, policy, principal, text, fixedText, records, asCedar)
			}
		}
		t.Logf("seed %d: %d valid sets, %d refused, %v", seed, sets, refused, &seen)
		seen.proves(t, 10)
		require.NotZero(t, seen.failing)
		require.NotZero(t, refused)
	})
}
