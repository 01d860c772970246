package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// refusedKEK says why a keyset's KEK is not asked.
func refusedKEK(tenant, purpose, name string) error {
	return fmt.Errorf("%w: keyset %q of %s names the KEK %.300q, which Config.KEKs does not permit: it was planted, or the name is missing there; the KEK was not asked", ErrKeyset, purpose, keysetsOf(tenant), name)
}

// askKEK is the only place where a KEK is asked for.
func (v *Ring) askKEK(ctx context.Context, tenant, purpose, name string) (tink.AEADWithContext, error) {
	if !v.cfg.PermitsKEK(name) {
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
// asked for anew, open it again: nothing is stored that cannot be read.
func (v *Ring) wrapKeyset(ctx context.Context, row keystore.KeysetRow, handle *keyset.Handle) (*Keyset, error) {
	if !v.cfg.PermitsKEK(row.KEK) {
		return nil, refusedKEK(row.Tenant, row.Purpose, row.KEK)
	}
	want, err := openedKeyset(row, handle)
	if err != nil {
		return nil, err
	}
	open, err := v.wrapAndProve(ctx, row, handle, want)
	if err == nil && !want.SameKeys(open) {
		err = errors.New("it opens something else than it wrapped")
	}
	if err != nil {
		return nil, wrapError(row, err)
	}
	return open, nil
}

// wrapAndProve asks the KEK several times, and each call has Config.KEKTimeout for
// itself.
func (v *Ring) wrapAndProve(ctx context.Context, row keystore.KeysetRow, handle *keyset.Handle, want *Keyset) (open *Keyset, err error) {
	ctx, end := context.WithCancel(ctx) // for what a client keeps of it
	defer end()
	kek, err := v.boundKEK(ctx, row.Tenant, row.Purpose, row.KEK)
	if err != nil {
		return nil, err
	}
	defer func() { err = kek.told(ctx, err) }()
	v.cfg.Observe(ctx, "encryption.kek.calls", 1)
	var out bytes.Buffer
	if err := handle.WriteWithContext(ctx, keyset.NewBinaryWriter(&out), kek, format.KeysetAD(row.Tenant, row.Purpose)); err != nil {
		return nil, err
	}
	row.Wrapped = out.Bytes()
	if slices.ContainsFunc(want.Roots, func(r root) bool { return bytes.Contains(row.Wrapped, r.Key) }) {
		return nil, errors.New("it does not encrypt")
	}
	return v.provenKeyset(ctx, row)
}

// boundKEK is a KEK of which each call has Config.KEKTimeout, whether it looks at its
// context or not. It is used by one goroutine.
type boundKEK struct {
	kek   tink.AEADWithContext
	limit time.Duration
	late  bool // a call came to no end in time
}

// boundKEK asks for a KEK, in as much time as one of its calls has.
func (v *Ring) boundKEK(ctx context.Context, tenant, purpose, name string) (*boundKEK, error) {
	kek, err := answered(ctx, v.cfg.KEKTimeout, func(context.Context) (tink.AEADWithContext, error) {
		return v.askKEK(ctx, tenant, purpose, name) // a client may keep this context for its calls
	})
	if err != nil {
		return nil, err
	}
	return &boundKEK{kek: kek, limit: v.cfg.KEKTimeout}, nil
}

func (b *boundKEK) EncryptWithContext(ctx context.Context, plaintext, associatedData []byte) ([]byte, error) {
	return b.call(ctx, func(ctx context.Context) ([]byte, error) {
		return b.kek.EncryptWithContext(ctx, plaintext, associatedData)
	})
}

func (b *boundKEK) DecryptWithContext(ctx context.Context, ciphertext, associatedData []byte) ([]byte, error) {
	return b.call(ctx, func(ctx context.Context) ([]byte, error) {
		return b.kek.DecryptWithContext(ctx, ciphertext, associatedData)
	})
}

func (b *boundKEK) call(ctx context.Context, f func(context.Context) ([]byte, error)) ([]byte, error) {
	out, err := answered(ctx, b.limit, f)
	b.late = b.late || errors.Is(err, errNoAnswer)
	return out, err
}

// told is the error of a call through Tink, which may make text of what says that
// somebody's time is over.
func (b *boundKEK) told(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case b.late && !errors.Is(err, errNoAnswer):
		return errNoAnswer
	}
	return err
}

// wrapError is kekError of a keyset that does not exist yet.
func wrapError(row keystore.KeysetRow, err error) error {
	if errors.Is(err, ErrKeyset) {
		return err
	}
	return &KEKError{Tenant: row.Tenant, Purpose: row.Purpose, KEK: row.KEK, Err: err, Wraps: true}
}

// readKeyset asks the KEK and checks every key of the keyset.
func (v *Ring) readKeyset(ctx context.Context, row keystore.KeysetRow) (*Keyset, error) {
	kek, err := v.askKEK(ctx, row.Tenant, row.Purpose, row.KEK)
	if err != nil {
		return nil, err
	}
	return v.readWith(ctx, kek, row)
}

func (v *Ring) readWith(ctx context.Context, kek tink.AEADWithContext, row keystore.KeysetRow) (*Keyset, error) {
	v.cfg.Observe(ctx, "encryption.kek.calls", 1)
	handle, err := keyset.ReadWithContext(ctx, keyset.NewBinaryReader(bytes.NewReader(row.Wrapped)), kek, format.KeysetAD(row.Tenant, row.Purpose))
	if err != nil {
		return nil, err
	}
	return openedKeyset(row, handle)
}

// TryKEK seals and opens something with a KEK that wraps nothing yet.
func (v *Ring) TryKEK(ctx context.Context, tenant, name string) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	kek, err := v.boundKEK(ctx, tenant, "epoch", name)
	if err == nil {
		err = seals(ctx, kek)
	}
	if err != nil {
		return kekError(tenant, "epoch", name, err)
	}
	return nil
}

func seals(ctx context.Context, kek tink.AEADWithContext) error {
	probe, ad := []byte("crmguard"), []byte("crmguard/keyset/try/v1")
	sealed, err := kek.EncryptWithContext(ctx, probe, ad)
	if err != nil {
		return err
	}
	opened, err := kek.DecryptWithContext(ctx, sealed, ad)
	if err == nil && !bytes.Equal(opened, probe) {
		err = errors.New("it does not open what it sealed")
	}
	return err
}

// SameKeys reports whether two keysets hold the same keys.
func (k *Keyset) SameKeys(other *Keyset) bool {
	return slices.EqualFunc(k.Roots, other.Roots, func(a, b root) bool { return a.ID == b.ID && bytes.Equal(a.Key, b.Key) })
}

// KeepKeysets spares calls of the KEK for keysets that were opened before they
// were stored. Where the store has others by now, or cannot be read, nothing is
// kept, and whoever needs them asks.
func (v *Ring) KeepKeysets(ctx context.Context, tenant string, opened []*Keyset) {
	if _, err := v.Tenant(ctx, tenant); err != nil {
		return
	}
	for _, open := range opened {
		v.keepKeyset(open)
	}
}

func (v *Ring) keepKeyset(open *Keyset) {
	v.mu.RLock()
	k := v.tenants[open.Row.Tenant]
	v.mu.RUnlock()
	if k == nil {
		return
	}
	for _, row := range k.Rows.Keysets {
		if row.Purpose == open.Row.Purpose && row.KEK == open.Row.KEK && bytes.Equal(row.Wrapped, open.Row.Wrapped) {
			k.mu.Lock()
			k.open[row.Purpose] = open.As(row)
			k.mu.Unlock()
		}
	}
}

// keptKeyset returns the keyset that is in memory for these very bytes, or nil.
func (v *Ring) keptKeyset(row keystore.KeysetRow) *Keyset {
	v.mu.RLock()
	k := v.tenants[row.Tenant]
	v.mu.RUnlock()
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	open := k.open[row.Purpose]
	if open == nil || open.Row.KEK != row.KEK || !bytes.Equal(open.Row.Wrapped, row.Wrapped) {
		return nil
	}
	return open
}

// As is the same keyset as it stands in another row of the same bytes.
func (k *Keyset) As(row keystore.KeysetRow) *Keyset {
	out := *k
	out.Row = row
	return &out
}
