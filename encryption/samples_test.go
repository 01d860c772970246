package encryption_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/encryption/streams"
)

func text(n int64) string { return strconv.FormatInt(n, 10) }

// TestWriteSamples wrote the files of testdata once. Their KEK is 32 bytes of
// value 7. It runs only when the folder CRMGUARD_WRITE_SAMPLES is named, so
// that nobody replaces a frozen sample by accident.
func TestWriteSamples(t *testing.T) {
	dir := os.Getenv("CRMGUARD_WRITE_SAMPLES")
	if dir == "" {
		t.Skip("the samples are frozen")
	}
	kms := &keks{keys: map[string][]byte{"\x00kek-1": slices.Repeat([]byte{7}, 32), "t1\x00kek-1": slices.Repeat([]byte{7}, 32)}, gone: map[string]bool{}}
	write := func(name string, data []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	vault, err := encryption.Create(t.Context(), encryption.Config{Keys: encryptiontest.Keys(), KEK: kms.get})
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), tenant))
	contacts, err := vault.Table(sampleTable())
	require.NoError(t, err)
	w, err := contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	w, err = w.Row("r1")
	require.NoError(t, err)
	for _, column := range []string{"email", "note", "phone"} {
		sealed, err := w.Seal(column, []byte("sample "+column))
		require.NoError(t, err)
		form, err := sealedvalue.FormatText(sealed)
		require.NoError(t, err)
		write("field-"+column+".txt", []byte(form+"\n"))
	}
	n, _ := w.Int64("email_idx", "sample email").Int64()
	write("index.txt", []byte(text(n)+"\n"))
	files, err := vault.Table(filesTable)
	require.NoError(t, err)
	var stream bytes.Buffer
	require.NoError(t, files.SealStream(t.Context(), &stream, streams.Ref{Tenant: tenant, Owner: "p1", Column: "content", Row: "f1"}, "sample.txt", 15, strings.NewReader("sample content\n")))
	write("stream.bin", stream.Bytes())
	opening, err := vault.PersonSealer("opening").Seal(t.Context(), tenant, "p1", []byte("sample opening"), []byte("ad"))
	require.NoError(t, err)
	write("personseal.bin", opening)
	tag, err := vault.Tagger("seal").Tag(t.Context(), tenant, []byte("sample"))
	require.NoError(t, err)
	write("tag.bin", tag)
	require.NoError(t, vault.AddAlias(t.Context(), tenant, "p2", "p1"))
	_, err = vault.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	require.NoError(t, vault.Ensure(t.Context(), tenant, "p1", "p3"))
	_, err = vault.Erase(t.Context(), tenant, "gone")
	require.NoError(t, err)
	_, err = vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
}

// TestWriteSamplesWithHoles wrote the sample of a key copy that lacks a row, in
// the same way.
func TestWriteSamplesWithHoles(t *testing.T) {
	dir := os.Getenv("CRMGUARD_WRITE_SAMPLES")
	if dir == "" {
		t.Skip("the samples are frozen")
	}
	kms := &keks{keys: map[string][]byte{"\x00kek-1": slices.Repeat([]byte{7}, 32), "t1\x00kek-1": slices.Repeat([]byte{7}, 32)}, gone: map[string]bool{}}
	store := encryptiontest.Keys()
	vault, err := encryption.Create(t.Context(), encryption.Config{Keys: store, KEK: kms.get})
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), tenant))
	require.NoError(t, vault.Ensure(t.Context(), tenant, "p1", "p2"))
	rows, err := store.Owners(t.Context(), tenant, []string{"p2"})
	require.NoError(t, err)
	rows.Keys[0].Wrapped = make([]byte, 65)
	_, err = store.Update(t.Context(), func(tx keystore.Tx) error {
		return tx.Write(t.Context(), keystore.Change{Put: keystore.Rows{Keys: rows.Keys}})
	})
	require.NoError(t, err)
	_, err = vault.WriteCopy(t.Context(), dir)
	require.ErrorIs(t, err, encryption.ErrDamaged)
}

// The frozen copy with a hole is what it was: it says that it lacks a row, and
// has the others.
func TestTheFrozenSampleWithHolesOpens(t *testing.T) {
	kms := &keks{keys: map[string][]byte{"\x00kek-1": slices.Repeat([]byte{7}, 32), "t1\x00kek-1": slices.Repeat([]byte{7}, 32)}, gone: map[string]bool{}}
	files, err := filepath.Glob("testdata/damaged-keys-*.jsonl")
	require.NoError(t, err)
	require.Len(t, files, 1)
	store := encryptiontest.Keys()
	vault, err := encryption.RestoreCopy(t.Context(), encryption.Config{Keys: store, KEK: kms.get}, files[0])
	require.NoError(t, err)
	written, err := vault.VerifyCopy(t.Context(), files[0])
	require.NoError(t, err)
	require.Equal(t, 1, written.Holes)
	position, err := written.Position()
	require.NoError(t, err)
	require.ErrorIs(t, written.Covers(position), encryption.ErrNotCovered)
	rows, err := store.Owners(t.Context(), tenant, []string{"p1", "p2"})
	require.NoError(t, err)
	require.Len(t, rows.Owners, 2)
	require.Len(t, rows.Keys, 1)
	newest, err := keycopy.Newest("testdata")
	require.NoError(t, err)
	require.NotEqual(t, files[0], newest)
	_, err = encryption.RestoreCopy(t.Context(), encryption.Config{Keys: encryptiontest.Keys(), KEK: kms.get}, files[0], position)
	require.ErrorIs(t, err, encryption.ErrNotCovered)
}
