package sqltrail_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/internal/testdb"
)

// between does something before the first statement that holds a text, and
// counts those that do.
type between struct {
	*sql.Tx
	text string
	do   func()
	met  int
}

func (b *between) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if strings.Contains(query, b.text) {
		b.met++
		if do := b.do; do != nil {
			b.do = nil
			do()
		}
	}
	return b.Tx.ExecContext(ctx, query, args...)
}

// Two processes deliver one event at the same time: the one that comes second
// has prepared, and in between the other one's was recorded, published and its
// person erased. Nothing of it is written. On SQLite nobody writes in between.
func TestTheSecondOfTwoDeliveriesBringsNobodyBack(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		if d.Name == testdb.SQLite {
			return // one writer at a time
		}
		s := newShop(t, d.OpenWith(t, driver), "crm.example/audit")
		e := sale(t, "p1")
		e.Persons = []string{"p2"}
		require.NoError(t, s.sell(s.db.DB, s.trail, sale(t, "p2")))
		require.NoError(t, s.trail.Prepare(t.Context(), "main", "p1", "p2"))
		tx, err := s.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer func() { _ = tx.Rollback() }() // of one that has not committed
		late := &between{Tx: tx, text: "crmguard_audit_events", do: func() {
			require.NoError(t, s.sell(s.db.DB, s.trail, e))
			s.sequence()
			require.NoError(t, s.trail.Erase(t.Context(), "main", "p1"))
		}}
		require.ErrorIs(t, only(s.trail.Record(t.Context(), late, e)), audit.ErrConflict)
		require.Nil(t, late.do, "the other one came in between")
		require.NoError(t, tx.Commit())
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE person <> ''`), "p2 was known before, p1 is erased")
		s.sequence()
		s.sound()
	})
}

// A retry is one statement and inserts nothing, queued or sequenced, equal or not.
func TestARetryInsertsNothing(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		s := newShop(t, d.OpenWith(t, driver), "crm.example/audit")
		e := sale(t, "p1")
		require.NoError(t, s.sell(s.db.DB, s.trail, e))
		other := e
		other.Persons = []string{"p2"}
		require.NoError(t, s.trail.Prepare(t.Context(), "main", "p2"))
		for range 2 {
			tx, err := s.db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			counted := &between{Tx: tx, text: "INTO"}
			require.NoError(t, only(s.trail.Record(t.Context(), counted, e)))
			require.ErrorIs(t, only(s.trail.Record(t.Context(), counted, other)), audit.ErrConflict)
			require.Equal(t, 2, counted.met)
			require.NoError(t, tx.Commit())
			s.sequence()
		}
		require.Equal(t, 2, s.count(`SELECT COUNT(*) FROM crmguard_audit_events`), "and the beat")
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM crmguard_audit_openings`))
		s.sound()
	})
}
