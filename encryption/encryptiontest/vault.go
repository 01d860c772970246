package encryptiontest

import (
	"context"
	"testing"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
)

// Vault returns a real vault that lives in memory, with the tenants named. It
// does not wait for leases.
func Vault(tb testing.TB, tenants ...string) *encryption.Vault {
	tb.Helper()
	vault, err := encryption.Create(tb.Context(), encryption.Config{
		Keys: Keys(),
		KEK: func(context.Context, string, string) (tink.AEADWithContext, error) {
			return insecurekeys.KEK(make([]byte, 32))
		},
		Wait: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	})
	if err != nil {
		tb.Fatalf("encryptiontest: create: %v", err)
	}
	for _, tenant := range tenants {
		if err := vault.AddTenant(tb.Context(), tenant); err != nil {
			tb.Fatalf("encryptiontest: add tenant: %v", err)
		}
	}
	return vault
}
