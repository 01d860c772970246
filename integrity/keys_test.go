package integrity_test

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/integrity/integritytest"
)

// secretKeys are stand-alone keys of a fresh secret.
func secretKeys(t *testing.T) integrity.Tagger {
	t.Helper()
	path := filepath.Join(t.TempDir(), "crm.secret")
	require.NoError(t, integrity.NewKeysFile(path))
	keys, err := integrity.KeysFile(path)
	require.NoError(t, err)
	return keys
}

func TestStandAloneKeysPassTheJudge(t *testing.T) {
	integritytest.Run(t, func(t *testing.T) integrity.Tagger { return secretKeys(t) })
}

// either tags with the new keys and verifies with both.
type either struct{ now, before integrity.Tagger }

func (e either) Tag(ctx context.Context, tenant string, data []byte) ([]byte, error) {
	return e.now.Tag(ctx, tenant, data)
}

func (e either) Verify(ctx context.Context, tenant string, data, tag []byte) error {
	err := e.now.Verify(ctx, tenant, data, tag)
	if errors.Is(err, fs.ErrNotExist) {
		return e.before.Verify(ctx, tenant, data, tag)
	}
	return err
}

// TestSealsMoveOnToOtherKeys does what KeysFrom tells about a vault.
func TestSealsMoveOnToOtherKeys(t *testing.T) {
	layout := integrity.Layout{ID: "contact/1", Columns: []integrity.Column{{Name: "city"}}}
	over := func(tagger integrity.Tagger) *integrity.Sealer {
		sealer, err := integrity.NewSealer(tagger, layout)
		require.NoError(t, err)
		return sealer
	}
	before, now := secretKeys(t), &integritytest.Tagger{} // as vault.Tagger("seal")
	row := integrity.SealedRow{
		Ref:    integrity.Ref{Tenant: "main", Table: "contacts", Key: "r1", Version: 1, SchemaID: "contact/1"},
		Values: map[string]any{"city": "Bern"},
	}
	var err error
	row.Seal, err = over(before).Seal(t.Context(), row.Ref, row.Values)
	require.NoError(t, err)
	require.ErrorIs(t, over(now).Verify(t.Context(), row), integrity.ErrUnknownKey, "another key is no forgery")

	both := over(either{now, before})
	require.NoError(t, both.Verify(t.Context(), row))
	forged := row
	forged.Values = map[string]any{"city": "Basel"}
	require.ErrorIs(t, both.Verify(t.Context(), forged), integrity.ErrTampered)
	row.Seal, err = both.Reseal(t.Context(), row, row.Ref, row.Values)
	require.NoError(t, err)
	require.NoError(t, over(now).Verify(t.Context(), row), "resealed under the new keys alone")
	require.ErrorIs(t, over(before).Verify(t.Context(), row), integrity.ErrUnknownKey)
}

func TestKeysSayWhatIsWrongWithASecret(t *testing.T) {
	for _, secret := range [][]byte{nil, make([]byte, 31), make([]byte, 32), make([]byte, 64)} {
		_, err := integrity.KeysFrom(secret)
		require.ErrorIs(t, err, integrity.ErrConfig)
		require.ErrorContains(t, err, "32 random bytes")
	}
	path := filepath.Join(t.TempDir(), "crm.secret")
	_, err := integrity.KeysFile(path)
	require.ErrorIs(t, err, integrity.ErrConfig)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, integrity.NewKeysFile(path))
	require.ErrorIs(t, integrity.NewKeysFile(path), fs.ErrExist)
}
