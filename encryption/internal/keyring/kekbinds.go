package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// errUnbound is what a KEK is refused for that opens a keyset whoever's it is.
var errUnbound = errors.New("it opens what it wrapped as another tenant's, too, so whoever writes the key store could give one tenant the keys of another: hand in a KEK that binds associated data (Vault's transit: associated_data with a key of type aes256-gcm96; examples/kms has three that do)")

// provenKeyset opens what was wrapped just now, as after a restart. Where something
// is made (a tenant, an installation, the first keyset of an epoch; not each tenant
// of an epoch, whose KEK is then known) it has the KEK prove that it refuses the same
// bytes when somebody names another tenant. A KEK that is away for a moment, or
// that limits how often it is asked, fails as well: so it opens them before and
// after, and refuses them twice in between.
func (v *Ring) provenKeyset(ctx context.Context, row keystore.KeysetRow) (open *Keyset, err error) {
	var asked tink.AEADWithContext
	open, err = answered(ctx, v.cfg.KEKTimeout, func(within context.Context) (*Keyset, error) { // in as much time as after a restart
		var err error
		if asked, err = v.askKEK(ctx, row.Tenant, row.Purpose, row.KEK); err != nil {
			return nil, err
		}
		return v.readWith(within, asked, row)
	})
	if err != nil || row.Tenant != "" && row.Version != 1 {
		return open, err
	}
	kek := &boundKEK{kek: asked, limit: v.cfg.KEKTimeout}
	defer func() { err = kek.told(ctx, err) }()
	for range 2 {
		if err := v.refusesStranger(ctx, kek, row); err != nil {
			return nil, err
		}
	}
	if open, err = v.readWith(ctx, kek, row); err != nil {
		return nil, fmt.Errorf("it has opened the keyset and has refused it twice as another tenant's, which is asked of it on purpose (a client that takes a pause after refusals has to bear two), and does not open it after that: %w", err)
	}
	return open, nil
}

// refusesStranger says why it is no refusal what a KEK answers to another tenant.
func (v *Ring) refusesStranger(ctx context.Context, kek tink.AEADWithContext, row keystore.KeysetRow) error {
	v.cfg.Observe(ctx, "encryption.kek.calls", 1)
	heard := &hearing{AEADWithContext: kek}
	_, err := keyset.ReadWithContext(ctx, keyset.NewBinaryReader(bytes.NewReader(row.Wrapped)), heard, strangersAD(row))
	var late interface{ Timeout() bool }
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !heard.asked:
		return err
	case heard.answer == nil:
		return errUnbound
	case errors.Is(heard.answer, context.Canceled), errors.Is(heard.answer, context.DeadlineExceeded), errors.Is(heard.answer, errNoAnswer), errors.As(heard.answer, &late) && late.Timeout():
		return fmt.Errorf("whether it refuses what it wrapped as another tenant's: %w", heard.answer)
	}
	return nil
}

// hearing keeps what a KEK answered itself, which Tink turns into text.
type hearing struct {
	tink.AEADWithContext
	asked  bool
	answer error
}

func (h *hearing) DecryptWithContext(ctx context.Context, ciphertext, associatedData []byte) ([]byte, error) {
	plaintext, err := h.AEADWithContext.DecryptWithContext(ctx, ciphertext, associatedData)
	h.asked, h.answer = true, err
	return plaintext, err
}

// strangersAD is what another tenant's keyset is wrapped with: as long, and
// different in one bit of the last byte of the tenant's name alone, or of the
// purpose where the keyset is the installation's. So a KEK is found that binds
// the length or the beginning of the data.
func strangersAD(row keystore.KeysetRow) []byte {
	if row.Tenant == "" {
		return format.KeysetAD("", changed(row.Purpose))
	}
	return format.KeysetAD(changed(row.Tenant), row.Purpose)
}

func changed(name string) string {
	last := len(name) - 1
	return name[:last] + string([]byte{name[last] ^ 1})
}
