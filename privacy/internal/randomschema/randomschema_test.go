package randomschema_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/internal/randomschema"
	"github.com/crmguard/crmguard/privacy/internal/wholedb"
)

// Every case can be created and filled on its database, its map is true, and what
// has to be gone and to stay is found where it was put. Servers, where tables take
// long to be made, see fewer.
func TestEveryCaseIsOne(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		draw := func(rt *rapid.T) *randomschema.Case {
			return randomschema.Draw(rt, d.Name, randomschema.Options{Undated: true})
		}
		if d.Name == testdb.SQLite {
			rapid.Check(t, func(rt *rapid.T) { isOne(t, rt, d, draw(rt)) })
			return
		}
		for seed := range 25 {
			isOne(t, t, d, rapid.Custom(draw).Example(seed))
		}
	})
}

// isOne tells rt of what is wrong with a case.
func isOne(t *testing.T, rt require.TestingT, d testdb.Database, c *randomschema.Case) {
	t.Helper()
	require.NoError(rt, c.Map.Validate())
	require.Empty(rt, c.Map.Gaps(), "purposes and bases")
	handle, err := c.Create(t.Context(), d)
	require.NoError(rt, err)
	defer func() { require.NoError(rt, c.Drop(t.Context(), handle)) }()
	db := wholedb.DB{Name: d.Name, SQL: handle}
	for n := range c.People {
		needles := c.Needles(n)
		require.Empty(rt, wholedb.Lost(db.Search(t, needles), needles))
		require.Empty(rt, wholedb.Lost(db.Search(t, c.Kept(n)), c.Kept(n)))
		require.NotEmpty(rt, c.Others(t, db, n))
		require.Contains(rt, c.Group(n), n)
	}
	redacted(t, rt, c, db)
}

// redacted shows that Redact leaves nothing of what records of several persons hold.
func redacted(t *testing.T, rt require.TestingT, c *randomschema.Case, db wholedb.DB) {
	t.Helper()
	linked := func(table string) bool {
		mapped, ok := c.Map.Table(table)
		return ok && mapped.Link != nil
	}
	var records []wholedb.Row
	db.Rows(t, func(r wholedb.Row) {
		if linked(r.Table) {
			records = append(records, r)
		}
	})
	if len(records) == 0 {
		return
	}
	tx, err := db.SQL.BeginTx(t.Context(), nil)
	require.NoError(rt, err)
	defer func() { _ = tx.Rollback() }()
	for _, r := range records {
		apply, _ := c.Redact(randomschema.Record{Tenant: r.Text("tenant"), Table: r.Table, Key: r.Text("id"), Owner: r.Text("owner")})
		require.NoError(rt, apply(t.Context(), tx))
	}
	require.NoError(rt, tx.Commit())
	for n := range c.People {
		for _, w := range db.Search(t, c.Needles(n)) {
			require.False(rt, linked(w.Table), "%s", w)
		}
	}
}
