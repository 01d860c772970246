package keyring

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// Config is what Config of package encryption describes, complete: nothing is
// left for a default.
type Config struct {
	Keys               keystore.Store // and the others: as described there
	KEK                func(ctx context.Context, tenant, kek string) (tink.AEADWithContext, error)
	KEKs               []string
	KEKTimeout         time.Duration
	NewKEK             string
	Lease              time.Duration
	LongestTransaction time.Duration
	CacheKeys          int
	Now                func() time.Time
	Wait               func(ctx context.Context, d time.Duration) error
	Observe            func(ctx context.Context, name string, value float64, attrs ...slog.Attr)
}

// PermitsKEK reports whether a KEK may have this name. The name comes from the
// key store: whoever writes there must not choose whose KEK opens or wraps a
// keyset. Behind a prefix stands one plain name, so that nothing there leads to
// another account, key ring, host or folder.
func (c Config) PermitsKEK(name string) bool {
	if len(c.KEKs) == 0 {
		return isPlainKEK(name)
	}
	return slices.ContainsFunc(c.KEKs, func(entry string) bool {
		if !IsKEKPrefix(entry) {
			return name == entry
		}
		rest, ok := strings.CutPrefix(name, entry)
		return ok && isPlainKEK(rest)
	})
}

// CheckKEKs refuses entries that are no name, and prefixes that pin nothing: a
// bare "gcp-kms://" leaves the account open.
func CheckKEKs(entries []string) error {
	for _, entry := range entries {
		stem := strings.TrimRight(entry, "/:")
		switch {
		case CheckID("KEK", entry) != nil || strings.Contains(entry, "\n"):
			return fmt.Errorf("%w: Config.KEKs holds what is no name of a KEK (1 to 255 bytes of UTF-8 without NUL and line breaks)", ErrDefinition)
		case IsKEKPrefix(entry) && (stem == "" || len(entry)-len(stem) > 1):
			return fmt.Errorf("%w: Config.KEKs: the prefix %q does not say whose KEKs they are; it ends behind the account and the key ring", ErrDefinition, entry)
		}
	}
	return nil
}

// IsKEKPrefix tells an entry of Config.KEKs that ends behind account and key ring.
func IsKEKPrefix(entry string) bool {
	return strings.HasSuffix(entry, "/") || strings.HasSuffix(entry, ":")
}

// isPlainKEK: letters, digits, '-', '_' and '.', which is not the first one.
func isPlainKEK(name string) bool {
	if name == "" || name[0] == '.' || len(name) > 255 {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

// Wait waits for real.
func Wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
