package alone

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/crmguard/crmguard/internal/ids"
)

// AuditKeys are all keys of an audit trail in one value: sealer, tagger and MAC
// keys, in the form of a vault's. It is safe for concurrent use.
type AuditKeys struct{ secrets []Secret } // the first makes what is new

// AuditKeys returns them. Others stand beside the secret while it is replaced:
// nothing is made under them, but what they tagged and sealed verifies and
// opens, and their MAC keys stand behind. Several processes take a new secret
// behind the old one at first, all of them, and then in front of it, so that
// none meets what it does not know; the old one goes when nothing is left that
// it made. Until then whoever else has it makes what verifies. One that is named
// twice counts once.
func (s Secret) AuditKeys(others ...Secret) AuditKeys {
	out := AuditKeys{secrets: []Secret{s}}
	for _, other := range others {
		if !slices.ContainsFunc(out.secrets, other.same) {
			out.secrets = append(out.secrets, other)
		}
	}
	return out
}

func (s Secret) same(other Secret) bool { return hmac.Equal(s.root(), other.root()) }

// Seal seals under the first secret, as [Sealer.Seal] does.
func (k AuditKeys) Seal(ctx context.Context, tenant, person string, plaintext, ad []byte) ([]byte, error) {
	return k.secrets[0].Sealer(PurposeAudit).Seal(ctx, tenant, person, plaintext, ad)
}

// Open undoes Seal. What was sealed under none of the secrets is [fs.ErrNotExist].
func (k AuditKeys) Open(ctx context.Context, tenant, person string, sealed, ad []byte) (plaintext []byte, err error) {
	err = k.ask(func(s Secret) (err error) {
		plaintext, err = s.Sealer(PurposeAudit).Open(ctx, tenant, person, sealed, ad)
		return err
	})
	return plaintext, err
}

// Tag tags under the first secret, as [Tagger.Tag] does.
func (k AuditKeys) Tag(ctx context.Context, tenant string, data []byte) ([]byte, error) {
	return k.secrets[0].Tagger(PurposeLog).Tag(ctx, tenant, data)
}

// Verify returns nil if tag is the tag of data. A tag under none of the secrets
// is [fs.ErrNotExist].
func (k AuditKeys) Verify(ctx context.Context, tenant string, data, tag []byte) error {
	return k.ask(func(s Secret) error { return s.Tagger(PurposeLog).Verify(ctx, tenant, data, tag) })
}

// MACKeys answers [Secret.MACKeys] of each secret in turn. Ids that
// are drawn at random may be equal, once in 2^32: who looks for a key by its id
// tries all that have it.
func (k AuditKeys) MACKeys(ctx context.Context, tenant string, info []byte) (keyIDs []uint32, keys [][]byte, err error) {
	for _, s := range k.secrets {
		id, key, err := s.MACKeys(ctx, tenant, info)
		if err != nil {
			return nil, nil, err
		}
		keyIDs, keys = append(keyIDs, id...), append(keys, key...)
	}
	return keyIDs, keys, nil
}

// Prepare has nothing to make: every key is derived when it is needed. It
// refuses what Seal and Tag would refuse, so that it is known before the
// transaction begins.
func (k AuditKeys) Prepare(ctx context.Context, tenant string, persons ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := ids.Check("tenant", tenant); err != nil {
		return fmt.Errorf("%w: %w", errTenant, err)
	}
	for i, person := range persons {
		if person == "" { // nobody
			continue
		}
		if err := ids.CheckGiven("person", person); err != nil {
			return fmt.Errorf("%w: at position %d: %w", errPerson, i, err)
		}
	}
	return nil
}

// ask asks one secret after the other until one takes the bytes. Of refusals the
// one counts that knows the key: another secret does not know it, and says so.
func (k AuditKeys) ask(take func(Secret) error) (refused error) {
	for _, s := range k.secrets {
		err := take(s)
		if err == nil {
			return nil
		}
		if refused == nil || errors.Is(refused, fs.ErrNotExist) && !errors.Is(err, fs.ErrNotExist) {
			refused = err
		}
	}
	return refused
}
