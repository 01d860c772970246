package adoption_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/testdb"
)

// awayKeys is a key store that is away.
type awayKeys struct {
	keystore.Store
	away bool
}

var errAway = errors.New("the key store is away")

func (k *awayKeys) Owners(ctx context.Context, tenant string, owners []string) (keystore.Rows, error) {
	if k.away {
		return keystore.Rows{}, errAway
	}
	return k.Store.Owners(ctx, tenant, owners)
}

// A key store that is away ends each job and each page with an error that says so, and
// takes no value for damaged or erased; when it is back they go on.
func TestAKeyStoreThatIsAwayIsNoVerdict(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
		e.old(t, "1", "p1", "ann@b.example")
		e.to(t, adoption.SealedOnly)
		e.exec(t, `INSERT INTO contacts (id, person, email) VALUES ('2', 'p2', 'bob@b.example')`)
		keys := &awayKeys{Store: e.cfg.Keys}
		cfg := e.cfg
		cfg.Keys = keys
		vault, err := encryption.Open(t.Context(), cfg)
		require.NoError(t, err)
		a := e.open(t, vault)
		keys.away = true
		before := e.rows(t, "")
		for name, call := range map[string]func() error{
			"sealed":      func() error { return adoption.OpenAll(t.Context(), a, tenant, e.rows(t, "WHERE id = '1'")) },
			"in clear":    func() error { return adoption.OpenAll(t.Context(), a, tenant, e.rows(t, "WHERE id = '2'")) },
			"writer":      func() error { _, err := a.Writer(t.Context(), tenant, "p3"); return err },
			"backfill":    func() error { _, err := a.Backfill(t.Context(), tenant, adoption.JobOptions{}); return err },
			"clear":       func() error { _, err := a.Clear(t.Context(), tenant, adoption.JobOptions{}); return err },
			"clearErased": func() error { _, err := a.ClearErased(t.Context(), tenant, adoption.JobOptions{}); return err },
		} {
			err := call()
			require.Error(t, err, name)
			var some *encryption.RowsError
			require.NotErrorAs(t, err, &some, name)
			require.NotErrorIs(t, err, encryption.ErrErased, name)
			require.ErrorContains(t, err, "key store", name)
		}
		require.Equal(t, before, e.rows(t, ""), "nothing has changed")
		keys.away = false
		report, err := a.Backfill(t.Context(), tenant, adoption.JobOptions{})
		require.NoError(t, err)
		require.EqualValues(t, 1, report.Changed)
		require.Equal(t, map[string]string{"1": "ann@b.example", "2": "bob@b.example"}, e.read(t, a))
		finished := adoption.Finished(t.Context(), e.db, "contacts")
		require.ErrorIs(t, finished, adoption.ErrStage)
		require.ErrorContains(t, finished, "Clear")
		condition, err := a.Lookup(t.Context(), tenant, "email", "ann@b.example")
		require.NoError(t, err)
		require.Equal(t, "condition(masked)", condition.LogValue().String())
	})
}
