package encryption

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// permitsKEK reports whether a KEK may have this name. The name comes from the
// key store: whoever writes there must not choose whose KEK opens or wraps a
// keyset. Behind a prefix stands one plain name, so that nothing there leads to
// another account, key ring, host or folder.
func (c Config) permitsKEK(name string) bool {
	if len(c.KEKs) == 0 {
		return isPlainKEK(name)
	}
	return slices.ContainsFunc(c.KEKs, func(entry string) bool {
		if !isKEKPrefix(entry) {
			return name == entry
		}
		rest, ok := strings.CutPrefix(name, entry)
		return ok && isPlainKEK(rest)
	})
}

func isKEKPrefix(entry string) bool {
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

// checkKEKs refuses entries that are no name, and prefixes that pin nothing: a
// bare "gcp-kms://" leaves the account open.
func (c Config) checkKEKs() error {
	for _, entry := range c.KEKs {
		stem := strings.TrimRight(entry, "/:")
		switch {
		case checkID("KEK", entry) != nil || strings.Contains(entry, "\n"):
			return fmt.Errorf("%w: Config.KEKs holds what is no name of a KEK (1 to 255 bytes of UTF-8 without NUL and line breaks)", ErrDefinition)
		case isKEKPrefix(entry) && (stem == "" || len(entry)-len(stem) > 1):
			return fmt.Errorf("%w: Config.KEKs: the prefix %q does not say whose KEKs they are; it ends behind the account and the key ring", ErrDefinition, entry)
		}
	}
	return nil
}

// firstKEK is the name of the first KEK where nobody chose one.
func (c Config) firstKEK() string {
	if c.permitsKEK(DefaultKEK) {
		return DefaultKEK
	}
	for _, entry := range c.KEKs {
		if !isKEKPrefix(entry) {
			return entry
		}
	}
	return DefaultKEK // Create refuses it
}

// refusedKEK says why a keyset's KEK is not asked.
func refusedKEK(tenant, purpose, name string) error {
	return fmt.Errorf("%w: keyset %q of %s names the KEK %.300q, which Config.KEKs does not permit: it was planted, or the name is missing there; the KEK was not asked", ErrKeyset, purpose, keysetsOf(tenant), name)
}

// askKEK is the only place where a KEK is asked for.
func (v *Vault) askKEK(ctx context.Context, tenant, purpose, name string) (tink.AEADWithContext, error) {
	if !v.cfg.permitsKEK(name) {
		return nil, refusedKEK(tenant, purpose, name)
	}
	kek, err := v.cfg.KEK(ctx, tenant, name)
	if err == nil && kek == nil {
		err = errors.New("the KEK func answered nil")
	}
	return kek, err
}

// kekError marks what a KEK answered; what was refused before stays as it is.
func kekError(tenant, purpose, name string, err error) error {
	if errors.Is(err, ErrKeyset) {
		return err
	}
	return &KEKError{Tenant: tenant, Purpose: purpose, KEK: name, Err: err}
}

// wrapKeyset wraps a keyset under the KEK that the row names, and has the KEK,
// asked for anew as after a restart, open it again: nothing is stored that
// cannot be read.
func (v *Vault) wrapKeyset(ctx context.Context, row keystore.KeysetRow, handle *keyset.Handle) (*openKeyset, error) {
	if !v.cfg.permitsKEK(row.KEK) {
		return nil, refusedKEK(row.Tenant, row.Purpose, row.KEK)
	}
	want, err := openedKeyset(row, handle)
	if err != nil {
		return nil, err
	}
	open, err := answered(ctx, v.cfg.KEKTimeout, func(ctx context.Context) (*openKeyset, error) {
		kek, err := v.askKEK(ctx, row.Tenant, row.Purpose, row.KEK)
		if err != nil {
			return nil, err
		}
		v.cfg.Observe(ctx, "encryption.kek.calls", 1)
		var out bytes.Buffer
		if err := handle.WriteWithContext(ctx, keyset.NewBinaryWriter(&out), kek, keysetAD(row.Tenant, row.Purpose)); err != nil {
			return nil, err
		}
		row.Wrapped = out.Bytes()
		if slices.ContainsFunc(want.roots, func(r root) bool { return bytes.Contains(row.Wrapped, r.key) }) {
			return nil, errors.New("it does not encrypt")
		}
		if err := v.bindsTenant(ctx, kek, row); err != nil {
			return nil, err
		}
		return v.readKeyset(ctx, row)
	})
	if err == nil && !want.sameKeys(open) {
		err = errors.New("it opens something else than it wrapped")
	}
	if err != nil {
		return nil, wrapError(row, err)
	}
	return open, nil
}

// wrapError is kekError of a keyset that does not exist yet.
func wrapError(row keystore.KeysetRow, err error) error {
	if errors.Is(err, ErrKeyset) {
		return err
	}
	return &KEKError{Tenant: row.Tenant, Purpose: row.Purpose, KEK: row.KEK, Err: err, Wraps: true}
}

// readKeyset asks the KEK and checks every key of the keyset.
func (v *Vault) readKeyset(ctx context.Context, row keystore.KeysetRow) (*openKeyset, error) {
	kek, err := v.askKEK(ctx, row.Tenant, row.Purpose, row.KEK)
	if err != nil {
		return nil, err
	}
	v.cfg.Observe(ctx, "encryption.kek.calls", 1)
	handle, err := keyset.ReadWithContext(ctx, keyset.NewBinaryReader(bytes.NewReader(row.Wrapped)), kek, keysetAD(row.Tenant, row.Purpose))
	if err != nil {
		return nil, err
	}
	return openedKeyset(row, handle)
}

// tryKEK seals and opens something with a KEK that wraps nothing yet.
func (v *Vault) tryKEK(ctx context.Context, tenant, name string) error {
	_, err := answered(ctx, v.cfg.KEKTimeout, func(ctx context.Context) (struct{}, error) {
		var none struct{}
		kek, err := v.askKEK(ctx, tenant, "epoch", name)
		if err != nil {
			return none, err
		}
		probe, ad := []byte("crmguard"), []byte("crmguard/keyset/try/v1")
		sealed, err := kek.EncryptWithContext(ctx, probe, ad)
		if err != nil {
			return none, err
		}
		opened, err := kek.DecryptWithContext(ctx, sealed, ad)
		if err == nil && !bytes.Equal(opened, probe) {
			err = errors.New("it does not open what it sealed")
		}
		return none, err
	})
	if err != nil {
		return kekError(tenant, "epoch", name, err)
	}
	return nil
}

func (k *openKeyset) sameKeys(other *openKeyset) bool {
	return slices.EqualFunc(k.roots, other.roots, func(a, b root) bool { return a.id == b.id && bytes.Equal(a.key, b.key) })
}

// keepKeysets spares calls of the KEK for keysets that were opened before they
// were stored. Where the store has others by now, or cannot be read, nothing is
// kept, and whoever needs them asks.
func (v *Vault) keepKeysets(ctx context.Context, tenant string, opened []*openKeyset) {
	if _, err := v.tenant(ctx, tenant); err != nil {
		return
	}
	for _, open := range opened {
		v.keepKeyset(open)
	}
}

func (v *Vault) keepKeyset(open *openKeyset) {
	v.mu.RLock()
	k := v.tenants[open.row.Tenant]
	v.mu.RUnlock()
	if k == nil {
		return
	}
	for _, row := range k.rows.Keysets {
		if row.Purpose == open.row.Purpose && row.KEK == open.row.KEK && bytes.Equal(row.Wrapped, open.row.Wrapped) {
			k.mu.Lock()
			k.open[row.Purpose] = open.as(row)
			k.mu.Unlock()
		}
	}
}

// keptKeyset returns the keyset that is in memory for these very bytes, or nil.
func (v *Vault) keptKeyset(row keystore.KeysetRow) *openKeyset {
	v.mu.RLock()
	k := v.tenants[row.Tenant]
	v.mu.RUnlock()
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	open := k.open[row.Purpose]
	if open == nil || open.row.KEK != row.KEK || !bytes.Equal(open.row.Wrapped, row.Wrapped) {
		return nil
	}
	return open
}

// as is the same keyset as it stands in another row of the same bytes.
func (k *openKeyset) as(row keystore.KeysetRow) *openKeyset {
	out := *k
	out.row = row
	return &out
}
