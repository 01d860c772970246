package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/internal/randomschema"
	"github.com/crmguard/crmguard/privacy/internal/wholedb"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// On schemas that nobody thought of: an erasure leaves nothing of the person
// anywhere in the database, what is kept is there, and rows of others are as they
// were. A longer walk is CRMGUARD_RANDOM_ROUNDS=1000.
func TestErasuresOnRandomSchemas(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		require.NoError(t, privacy.Install(t.Context(), d.Open(t)))
		randomschema.Walk(t, d, 12, randomschema.Options{Undated: true, Shared: true}, func(rt *rapid.T, c *randomschema.Case, db wholedb.DB) {
			s := openRandom(t, rt, c, db)
			group := c.Group(rapid.IntRange(0, len(c.People)-1).Draw(rt, "erased"))
			scopes := make([]datastore.Scope, len(group))
			for i, n := range group {
				scopes[i] = datastore.Scope{Tenant: fmt.Sprint(c.People[n].Tenant), Person: c.People[n].ID, Now: randomschema.Now()}
			}
			others := c.Others(t, db, group...)
			found, err := s.FindAll(t.Context(), scopes)
			require.NoError(rt, err, "%v", errors.Unwrap(err))
			require.NotEmpty(rt, found)
			rehearsed, err := s.Rehearse(t.Context(), scopes)
			require.NoError(rt, err)
			require.Equal(rt, fates(found), fates(rehearsed))

			require.NoError(rt, s.EraseIn(t.Context(), scopes, func(context.Context, datastore.Tx, []datastore.Row) error { return nil }))
			require.NoError(rt, s.Flush(t.Context()))
			require.Empty(rt, db.Search(t, c.Needles(group...)), "left")
			require.Empty(rt, wholedb.Lost(db.Search(t, c.Kept(group...)), c.Kept(group...)), "lost")
			require.Equal(rt, others, c.Others(t, db, group...))
			require.Empty(rt, c.Live(group...), "key owners of records")
			for _, scope := range scopes {
				left, err := s.Remaining(t.Context(), scope, found)
				require.NoError(rt, err)
				require.Zero(rt, left)
			}
		})
	})
}

// openRandom is a store over a random schema.
func openRandom(t *testing.T, rt require.TestingT, c *randomschema.Case, db wholedb.DB) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{
		DB: db.SQL, Map: c.Map, Pseudonym: c.Pseudonym, Open: c.Keys.Open, Search: c.Search(db.SQL),
		Scrub: func(_ context.Context, text sqlstore.ScrubText) (string, error) { return c.Scrub(text.Text), nil },
		Redact: func(_ context.Context, r sqlstore.JointRow) (sqlstore.Redaction, error) {
			return redaction(c, r), nil
		},
		EraseOwner: c.Keys.Erase, LeaveShared: c.Shared(),
	})
	require.NoError(rt, err)
	return s
}

// redaction takes everything about persons out of a record.
func redaction(c *randomschema.Case, r sqlstore.JointRow) (out sqlstore.Redaction) {
	apply, retire := c.Redact(randomschema.Record{Tenant: r.Tenant, Table: r.Table, Key: r.Key, Owner: r.Owner})
	if retire != "" {
		out.Retire = []string{retire}
	}
	out.Apply = func(ctx context.Context, tx datastore.Tx) error { return apply(ctx, tx) }
	return out
}

// fates are what becomes of rows in the end. A search lists a row once for each of
// the persons who are erased together, and for each edge by which it points to one;
// an erasure meets those that go once.
func fates(rows []datastore.Row) map[[2]string]datastore.Class {
	all := map[[2]string]datastore.Class{}
	own := map[[2]string]bool{}
	for _, r := range rows {
		place := [2]string{r.Table, r.Key}
		if _, known := all[place]; !known || r.Class == datastore.Deleted || all[place] != datastore.Deleted && !own[place] {
			all[place] = r.Class
		}
		own[place] = own[place] || !r.Others
	}
	return all
}
