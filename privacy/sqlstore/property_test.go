package sqlstore_test

import (
	"context"
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
		randomschema.Walk(t, d, 12, func(rt *rapid.T, c *randomschema.Case, db wholedb.DB) {
			s, err := sqlstore.Open(t.Context(), sqlstore.Config{
				DB: db.SQL, Map: c.Map, Redact: func(_ context.Context, r sqlstore.JointRow) (sqlstore.Redaction, error) {
					return sqlstore.Redaction{Apply: func(ctx context.Context, tx datastore.Tx) error {
						return c.Redact(ctx, tx, r.Table, r.Key)
					}}, nil
				},
			})
			require.NoError(rt, err)
			who := rapid.IntRange(0, len(c.People)-1).Draw(rt, "erased")
			scope := datastore.Scope{Tenant: fmt.Sprint(c.People[who].Tenant), Person: c.People[who].ID, Now: randomschema.Now()}
			others := c.Others(t, db, who)
			found, err := s.Find(t.Context(), scope)
			require.NoError(rt, err)
			require.NotEmpty(rt, found)
			rehearsed, err := s.Rehearse(t.Context(), []datastore.Scope{scope})
			require.NoError(rt, err)
			for i := range rehearsed {
				require.Equal(rt, scope.Person, rehearsed[i].Person)
				rehearsed[i].Person = ""
			}
			require.ElementsMatch(rt, found, rehearsed)

			require.NoError(rt, s.Erase(t.Context(), scope, nil))
			require.NoError(rt, s.Flush(t.Context()))
			require.Empty(rt, db.Search(t, c.Needles(who)), "left")
			require.Empty(rt, wholedb.Lost(db.Search(t, c.Kept(who)), c.Kept(who)), "lost")
			require.Equal(rt, others, c.Others(t, db, who))
			left, err := s.Remaining(t.Context(), scope, found)
			require.NoError(rt, err)
			require.Zero(rt, left)
		})
	})
}
