package sqltrail_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/capture"
)

// silentKeys answer for all tenants but one.
type silentKeys struct {
	audit.Keys
	tenant string
}

func (k *silentKeys) MACKeys(ctx context.Context, tenant string, info []byte) (ids []uint32, keys [][]byte, err error) {
	if err = errors.New("no answer"); tenant != k.tenant {
		ids, keys, err = k.Keys.MACKeys(ctx, tenant, info)
	}
	return ids, keys, err
}

// While the keys of a tenant do not answer, rows about its persons wait, and nothing
// else does, however many they are: filed without persons they would be so for good.
func TestRowsAboutPersonsWaitForTheKeys(t *testing.T) {
	oneCapturing(t, func(s *capturing) {
		s.exec(`CREATE TABLE notes (id bigint PRIMARY KEY, tenant text, contact text)`)
		s.packs(capture.Table{Name: "notes", Kind: "note", TenantColumn: "tenant", Person: "contact"})
		require.NoError(s.t, s.trail.Prepare(s.t.Context(), "b", "p1"))
		keys := &silentKeys{s.config.Keys, "b"}
		s.config.Keys = keys
		s.trail = s.over(s.db.DB)
		s.exec(`INSERT INTO contacts (id, tenant) SELECT 'p' || g, 'b' FROM generate_series(1, 1500) g`)
		s.exec(`INSERT INTO notes VALUES (1, 'b', 'p1'), (2, 'b', NULL)`)
		s.exec(`INSERT INTO deals VALUES (1, 1)`)
		require.Equal(s.t, 2, s.sequence().Captured)
		require.Equal(s.t, []string{"notes i 2", "deals i 1"}, s.filed())
		require.Equal(s.t, 1501, s.waiting())

		keys.tenant = ""
		for s.waiting() > 0 {
			s.sequence()
		}
		filed := s.filed()
		require.Len(s.t, filed, 1503)
		require.Equal(s.t, "contacts i "+s.surrogate("p1"), filed[2])
		require.Equal(s.t, "notes i 1", filed[1502])
		s.agree()
	})
}
