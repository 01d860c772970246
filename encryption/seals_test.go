package encryption

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// The count itself is set here: no test seals two thousand million values.
func TestAKeyThatSealedTooMuchIsFound(t *testing.T) {
	for seals, want := range map[uint64]int{0: 0, 1<<30 - 1: 0, 1 << 30: 1, 1 << 31: 1, 1<<31 + 1: 2, 1 << 40: 2} {
		findings := sealed(keystore.Inventory{Tenants: []keystore.TenantInventory{{Tenant: "calm", MostSeals: 7}, {Tenant: "busy", MostSeals: seals}}})
		require.Equal(t, want, int(findings[0].Level), seals)
		require.InDelta(t, float64(max(seals, 7)), findings[0].Value, 0)
		if want > 0 {
			require.Equal(t, "busy", findings[1].Subject)
		}
	}
}
