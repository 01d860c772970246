package audit_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/internal/testdb"
)

// BenchmarkFind is a page of 50 with its values opened, somewhere in the past of an
// actor, a record or a person, of 10,000 events and among as many rows of others as
// the size says: they are in the tables and their indexes, and nobody asks for them.
func BenchmarkFind(b *testing.B) {
	const events = 10000
	for _, size := range []int{events, 1000000} {
		b.Run(fmt.Sprintf("entries=%d", size), func(b *testing.B) {
			a := newAsker(b, testdb.New(b, testdb.PostgresC).OpenWith(b, "pgx"))
			a.sell(b, events)
			if size > events {
				a.others(b, size-events)
			}
			for name, of := range map[string]func(n int) audit.Filter{
				"actor":  func(n int) audit.Filter { return audit.Filter{Actor: fmt.Sprintf("u-%d", n%20)} },
				"record": func(n int) audit.Filter { return audit.Filter{Object: audit.Ref("deal", fmt.Sprint(n%20))} },
				"person": func(n int) audit.Filter { return audit.Filter{Person: fmt.Sprintf("p%d", n%20)} },
			} {
				b.Run(name, func(b *testing.B) { a.pages(b, of) })
			}
		})
	}
}

// sell records n events in few transactions.
func (a *asker) sell(b *testing.B, n int) {
	b.Helper()
	for first := 0; first < n; first += 50 {
		var persons []string
		for i := range 20 {
			persons = append(persons, fmt.Sprintf("p%d", i))
		}
		require.NoError(b, a.trail.Prepare(b.Context(), "main", persons...))
		tx, err := a.db.BeginTx(b.Context(), nil)
		require.NoError(b, err)
		for i := range 50 {
			a.advance(time.Second)
			k := (i + first) * 7
			_, err := a.trail.Record(b.Context(), tx, audit.Event{
				Tenant: "main", Actor: fmt.Sprintf("u-%d", k%20), Action: "deal.update", Object: audit.Ref("deal", fmt.Sprint((i+first)%20)),
				Changes: []audit.Change{{Path: "stage", Who: fmt.Sprintf("p%d", ((i+first)/3)%20), Old: "lead", New: "won"}},
			})
			require.NoError(b, err)
		}
		require.NoError(b, tx.Commit())
		if first%1000 == 950 {
			a.run()
		}
	}
}

// others puts rows of strangers beside, between them in time.
func (a *asker) others(b *testing.B, n int) {
	b.Helper()
	from, step := may.UnixMicro(), int64(10000*1e6)/int64(n)
	for _, statement := range []string{
		`INSERT INTO crmguard_audit_entries (idx, id, leaf, at, filed) SELECT -i, decode(md5(i::text), 'hex'), decode(repeat(md5(i::text), 15), 'hex') || decode(repeat(md5((i+1)::text), 15), 'hex'), $2 + i * $3::bigint, $2 + i * $3::bigint FROM generate_series(1, $1::bigint) i`,
		`INSERT INTO crmguard_audit_found (idx, at, tenant_k, actor_k, object_k, action_k, outcome_k) SELECT -i, $2 + i * $3::bigint, 1, i % 1000, hashint8(i % 100000), i % 30, CASE WHEN i % 50 = 0 THEN 1 END FROM generate_series(1, $1::bigint) i`,
		`INSERT INTO crmguard_audit_persons (idx, k, at) SELECT -i, hashint8(i % 50000), $2 + i * $3::bigint FROM generate_series(1, $1::bigint) i`,
		`INSERT INTO crmguard_audit_openings (idx, owner, sealed) SELECT -i, decode(md5((i % 50000)::text), 'hex'), decode(repeat(md5(i::text), 18), 'hex') FROM generate_series(1, $1::bigint) i WHERE $2::bigint > 0 AND $3::bigint >= 0`,
		`INSERT INTO crmguard_audit_surrogates (tenant, surrogate, k, person, head, state, tag) SELECT 'main', decode(md5('s' || i::text), 'hex'), hashint8(i), 'q' || i, decode(repeat(md5(i::text), 10), 'hex'), 0, decode(repeat(md5(i::text), 2), 'hex') FROM generate_series(1, 50000) i WHERE $1::bigint > 0 AND $2::bigint > 0 AND $3::bigint >= 0`,
	} {
		_, err := a.db.ExecContext(b.Context(), statement, n, from, step)
		require.NoError(b, err)
	}
	_, err := a.db.ExecContext(b.Context(), `VACUUM ANALYZE`)
	require.NoError(b, err)
}

// pages reads pages anywhere in the past, and reports the 99th of a hundred.
func (a *asker) pages(b *testing.B, of func(n int) audit.Filter) {
	b.Helper()
	r := rand.New(rand.NewPCG(5, 6))
	var took []time.Duration
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		f := of(r.IntN(1000))
		f.Tenant, f.To = "main", may.Add(time.Duration(2500+r.IntN(7500))*time.Second)
		began := time.Now()
		found, err := a.trail.Find(b.Context(), f, audit.Page{Size: 50})
		took = append(took, time.Since(began))
		if err != nil || len(found.Entries) != 50 {
			b.Fatal(len(found.Entries), err)
		}
		for i := range found.Entries {
			if found.Entries[i].Changes[0].Verdict != audit.OpeningOK {
				b.Fatal("it does not open")
			}
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms-p99")
}
