// The race detector empties pools at will.
//go:build !race

package audit

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
)

// idle is a transaction that does nothing.
type idle struct{}

func (idle) ExecContext(context.Context, string, ...any) (sql.Result, error) {
	return driver.RowsAffected(1), nil
}
func (idle) Commit() error { return nil }

// An event about one person with one field costs few allocations beside those
// of the driver.
func TestAllocationsOfASale(t *testing.T) {
	s := newTill(t, testdb.New(t, testdb.SQLite).Open(t))
	s.prepared("p1")
	e := sold(t, "p1")
	e.ID = ""
	n := testing.AllocsPerRun(200, func() {
		if _, err := s.Record(t.Context(), idle{}, e); err != nil {
			t.Fatal(err)
		}
	})
	require.LessOrEqual(t, n, 40.0)
	t.Log(n)
}

// BenchmarkSale is what recording costs beside the database.
func BenchmarkSale(b *testing.B) {
	s := newTill(b, testdb.New(b, testdb.SQLite).Open(b))
	s.prepared("p1")
	e := Event{
		Tenant: "main", Actor: "u-1", Action: "contact.update", Object: PersonRef("contact", "p1"),
		Changes: []Change{{Path: "email", Who: "p1", Old: "old@canary.example", New: "new@canary.example"}},
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.recordIn(b.Context(), idle{}, e); err != nil {
			b.Fatal(err)
		}
	}
}
