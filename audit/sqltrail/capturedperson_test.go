package sqltrail_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/capture"
)

// The kind person is one of persons whatever the configuration lists: its captured
// rows stand under surrogates, and an erasure reaches those that wait.
func TestTheKindPersonIsOneOfPersons(t *testing.T) {
	oneCapturing(t, func(s *capturing) {
		ctx := t.Context()
		s.exec(`CREATE TABLE people (id text PRIMARY KEY, tenant text NOT NULL DEFAULT 'main', email text)`)
		tables := []capture.Table{{Name: "people", Kind: "person", TenantColumn: "tenant"}}
		up, _, err := capture.Pack(tables...)
		require.NoError(t, err)
		s.exec(up)
		s.config.PersonKinds, s.config.Captured = []string{}, tables
		s.trail = s.over(s.db.DB)
		s.does([]string{`INSERT INTO people (id) VALUES ('canary-1')`})
		n, err := s.trail.Left(ctx, "main", "canary-1")
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.NoError(t, s.trail.Erase(ctx, "main", "canary-1"))
		n, err = s.trail.Left(ctx, "main", "canary-1")
		require.NoError(t, err)
		require.Zero(t, n)
		s.sequence()
		for _, leaf := range s.leaves() {
			require.NotEqual(t, "canary-1", leaf.Object.ID)
		}
	})
}
