package encryption_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/encryption/streams"
)

func TestPersonSealer(t *testing.T) {
	e := newEnv(t, 1)
	sealer := e.vault.PersonSealer("opening")
	sealed, err := sealer.Seal(t.Context(), tenant, "p1", []byte("before and after"), []byte("ad"))
	require.NoError(t, err)
	own, err := sealer.Seal(t.Context(), tenant, "", []byte("about nobody"), nil)
	require.NoError(t, err)
	got, err := sealer.Open(t.Context(), tenant, "p1", sealed, []byte("ad"))
	require.NoError(t, err)
	require.Equal(t, "before and after", string(got))
	got, err = sealer.Open(t.Context(), tenant, "", own, nil)
	require.NoError(t, err)
	require.Equal(t, "about nobody", string(got))
	require.NoError(t, e.vault.Ensure(t.Context(), tenant, "p2"))
	for _, try := range []func() ([]byte, error){
		func() ([]byte, error) { return sealer.Open(t.Context(), tenant, "p1", sealed, nil) },
		func() ([]byte, error) { return sealer.Open(t.Context(), tenant, "p2", sealed, []byte("ad")) },
		func() ([]byte, error) { return sealer.Open(t.Context(), tenant, "", sealed, []byte("ad")) },
		func() ([]byte, error) {
			return e.vault.PersonSealer("undo").Open(t.Context(), tenant, "p1", sealed, []byte("ad"))
		},
		func() ([]byte, error) { return sealer.Open(t.Context(), tenant, "p1", sealed[:20], []byte("ad")) },
		func() ([]byte, error) { return sealer.Open(t.Context(), tenant, "p1", nil, nil) },
	} {
		_, err := try()
		require.ErrorIs(t, err, encryption.ErrOpen)
	}
	_, err = e.vault.PersonSealer("").Seal(t.Context(), tenant, "p1", nil, nil)
	require.ErrorIs(t, err, encryption.ErrDefinition)
	_, err = sealer.Seal(t.Context(), "", "p1", nil, nil)
	require.ErrorIs(t, err, encryption.ErrTenant)
	_, err = sealer.Seal(t.Context(), tenant, "t:", nil, nil)
	require.ErrorIs(t, err, encryption.ErrID)
	_, err = sealer.Seal(t.Context(), tenant, "p1", make([]byte, 16<<20+1), nil)
	require.ErrorIs(t, err, encryption.ErrTooLarge)

	// Resealing and counting the rows that the holder keeps.
	old, active := e.rotate(t)
	again, changed, err := sealer.Reseal(t.Context(), tenant, "p1", sealed, []byte("ad"))
	require.NoError(t, err)
	require.True(t, changed)
	same, changed, err := sealer.Reseal(t.Context(), tenant, "p1", again, []byte("ad"))
	require.NoError(t, err)
	require.False(t, changed)
	require.Equal(t, again, same)
	census, err := sealer.Census(all(sealed, own, again))
	require.NoError(t, err)
	require.Equal(t, jobs.Census{KeyVersions: map[uint32]int64{old: 2, active: 1}}, census)
	broken := errors.New("the connection broke")
	census, err = sealer.Census(func(yield func([]byte, error) bool) {
		_ = yield(sealed, nil) && yield(nil, broken)
	})
	require.ErrorIs(t, err, broken, "half a count is none")
	require.Equal(t, jobs.Census{KeyVersions: map[uint32]int64{old: 1}}, census)
	_, _, err = sealer.Reseal(t.Context(), tenant, "p1", nil, nil)
	require.ErrorIs(t, err, encryption.ErrOpen)
}

func all(cells ...[]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, cell := range cells {
			if !yield(cell, nil) {
				return
			}
		}
	}
}

// With keys and data in one database and one connection, nothing inside the
// caller's transaction asks for a second one.
func TestNothingInATransactionNeedsAConnection(t *testing.T) {
	e := newEnv(t, 1)
	db := e.keysDB
	_, err := db.ExecContext(t.Context(), contactsSQL)
	require.NoError(t, err)
	sealer := e.vault.PersonSealer("opening")
	require.NoError(t, sealer.Ensure(t.Context(), tenant, "p1", "p2"))
	w, err := e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	tag := e.vault.Tagger("seal")
	_, err = tag.Tag(t.Context(), tenant, nil)
	require.NoError(t, err)
	r, err := e.contacts.Reader(t.Context(), tenant, "p1")
	require.NoError(t, err)
	// Someone else's erasure and a new key version move the barrier meanwhile,
	// and this vault hears of both.
	elsewhere := e.another(t)
	_, err = elsewhere.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	e.clock.Move(encryption.DefaultLease / 2)
	require.NoError(t, e.vault.Ensure(t.Context(), tenant, "p9"))
	require.NoError(t, inTx(t.Context(), db, func(tx *sql.Tx) error {
		email := w.Text("email", "a@b.example")
		if _, err := tx.ExecContext(t.Context(), `INSERT INTO contacts (id, person, email, email_idx) VALUES ('c1', 'p1', ?, ?)`, email, w.Int64("email_idx", "a@b.example")); err != nil {
			return err
		}
		for _, p := range []string{"p1", "p2", ""} {
			sealed, err := sealer.Seal(t.Context(), tenant, p, []byte("x"), nil)
			if err != nil {
				return err
			}
			if _, err := sealer.Open(t.Context(), tenant, p, sealed, nil); err != nil {
				return err
			}
		}
		if _, err := tag.Tag(t.Context(), tenant, email.Bytes()); err != nil {
			return err
		}
		_, err := r.Row("p1", "").Open(t.Context(), "email", email.Bytes())
		return err
	}))
	e.db = db
	e.rotate(t)
	_, err = e.contacts.Reseal(t.Context(), db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	require.NoError(t, e.contacts.RebuildIndexes(db, tenant)(t.Context()))
	_, err = e.vault.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
}

func inTx(ctx context.Context, db *sql.DB, f func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func TestTaggersAndDigests(t *testing.T) {
	e := newEnv(t, 1)
	require.NoError(t, e.vault.AddTenant(t.Context(), "t2"))
	data := []byte("row")
	tag, err := e.vault.Tagger("seal").Tag(t.Context(), tenant, data)
	require.NoError(t, err)
	require.Len(t, tag, 37)
	require.NoError(t, e.another(t).Tagger("seal").Verify(t.Context(), tenant, data, tag))
	require.ErrorIs(t, e.vault.Tagger("seal").Verify(t.Context(), tenant, []byte("raw"), tag), encryption.ErrTag)
	require.ErrorIs(t, e.vault.Tagger("seal").Verify(t.Context(), "t2", data, tag), encryption.ErrTag)
	require.ErrorIs(t, e.vault.Tagger("log").Verify(t.Context(), tenant, data, tag), encryption.ErrTag)
	require.ErrorIs(t, e.vault.Tagger("log").Verify(t.Context(), tenant, data, nil), encryption.ErrTag)
	require.ErrorIs(t, e.vault.Tagger("log").Verify(t.Context(), tenant, data, tag), fs.ErrNotExist, "the key that the tag names is of another keyset")
	require.NotErrorIs(t, e.vault.Tagger("seal").Verify(t.Context(), tenant, []byte("raw"), tag), fs.ErrNotExist)
	for _, purpose := range []string{"wrap", "ledger", "manifest", ""} {
		_, err := e.vault.Tagger(purpose).Tag(t.Context(), tenant, data)
		require.ErrorIs(t, err, encryption.ErrKeyset)
		require.ErrorContains(t, err, `there are "seal" and "log"`)
		require.ErrorIs(t, e.vault.Tagger(purpose).Verify(t.Context(), tenant, data, tag), encryption.ErrKeyset)
		_, _, err = e.vault.Digests(purpose)(t.Context(), tenant, []byte("x"), data)
		require.ErrorIs(t, err, encryption.ErrKeyset)
	}
	_, err = e.vault.Tagger("seal").Tag(t.Context(), "", data)
	require.ErrorIs(t, err, encryption.ErrTenant)

	manifest := e.vault.ManifestTagger()
	tag, err = manifest.Tag(t.Context(), data)
	require.NoError(t, err)
	require.NoError(t, manifest.Verify(t.Context(), data, tag))
	require.ErrorIs(t, manifest.Verify(t.Context(), nil, tag), encryption.ErrTag)

	roots, digests, err := e.vault.LedgerDigests()(t.Context(), "crmguard/ledger/digest/v1", data)
	require.NoError(t, err)
	require.Len(t, roots, 1)
	require.Len(t, digests[0], 32)
	_, again, err := e.another(t).LedgerDigests()(t.Context(), "crmguard/ledger/digest/v1", data)
	require.NoError(t, err)
	require.Equal(t, digests, again)
	_, other, err := e.vault.LedgerDigests()(t.Context(), "crmguard/ledger/mac/v1", data)
	require.NoError(t, err)
	require.NotEqual(t, digests, other)
	suppress := e.vault.Digests("suppression")
	_, a, err := suppress(t.Context(), tenant, []byte("x"), data)
	require.NoError(t, err)
	_, b, err := suppress(t.Context(), "t2", []byte("x"), data)
	require.NoError(t, err)
	require.NotEqual(t, a, b)
	_, _, err = suppress(t.Context(), "", []byte("x"), data)
	require.ErrorIs(t, err, encryption.ErrTenant)
}

var filesTable = encryption.Table{Name: "attachments", Columns: []encryption.Column{{Name: "content", Stream: true}, {Name: "title"}}}

func TestStreams(t *testing.T) {
	e := newEnv(t, 1)
	files := e.table(t, e.vault, filesTable)
	ref := streams.Ref{Tenant: tenant, Owner: "p1", Column: "content", Row: "f1"}
	for _, size := range []int{0, 1, 65_000, 65_536 - 32 - 40, 65_536, 300_001} {
		content := bytes.Repeat([]byte("0123456"), size/7+1)[:size]
		var sealed bytes.Buffer
		require.NoError(t, files.SealStream(t.Context(), &sealed, ref, "offer ☂.pdf", int64(size), bytes.NewReader(content)))
		keyVersion, err := sealedvalue.KeyVersion(sealed.Bytes()[:5])
		require.NoError(t, err)
		require.NotZero(t, keyVersion)
		stream, err := files.OpenStream(t.Context(), bytes.NewReader(sealed.Bytes()), ref)
		require.NoError(t, err)
		require.Equal(t, "offer ☂.pdf", stream.Name)
		require.Equal(t, int64(size), stream.Size)
		got, err := io.ReadAll(stream)
		require.NoError(t, err)
		require.True(t, bytes.Equal(content, got))

		read := func(data []byte, ref streams.Ref) error {
			stream, err := files.OpenStream(t.Context(), bytes.NewReader(data), ref)
			if err != nil {
				return err
			}
			_, err = io.ReadAll(stream)
			return err
		}
		for n := 0; n < sealed.Len(); n += 1 + sealed.Len()/20 {
			require.ErrorIs(t, read(sealed.Bytes()[:n], ref), encryption.ErrStream, "cut at %d of %d", n, sealed.Len())
		}
		for i := 5; i < sealed.Len(); i += 1 + sealed.Len()/20 {
			bad := bytes.Clone(sealed.Bytes())
			bad[i] ^= 1
			require.ErrorIs(t, read(bad, ref), encryption.ErrStream)
		}
		require.ErrorIs(t, read(append(bytes.Clone(sealed.Bytes()), 'x'), ref), encryption.ErrStream)
		moved := ref
		moved.Row = "f2"
		require.ErrorIs(t, read(sealed.Bytes(), moved), encryption.ErrStream)
	}
	var sealed bytes.Buffer
	require.ErrorIs(t, files.SealStream(t.Context(), &sealed, ref, "x", 3, strings.NewReader("four")), encryption.ErrStream)
	require.ErrorIs(t, files.SealStream(t.Context(), &sealed, ref, "x", 5, strings.NewReader("four")), encryption.ErrStream)
	require.ErrorIs(t, files.SealStream(t.Context(), &sealed, ref, "\xff", 4, strings.NewReader("four")), encryption.ErrDefinition)
	for _, bad := range []streams.Ref{{Tenant: tenant, Owner: "p1", Column: "title", Row: "f1"}, {Tenant: tenant, Owner: "p1", Column: "nope", Row: "f1"}} {
		require.ErrorIs(t, files.SealStream(t.Context(), &sealed, bad, "x", 1, strings.NewReader("x")), encryption.ErrDefinition)
	}
	require.ErrorIs(t, files.SealStream(t.Context(), &sealed, streams.Ref{Tenant: tenant, Owner: "p1", Column: "content"}, "x", 1, strings.NewReader("x")), encryption.ErrID)
	w, err := files.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = w.Seal("content", nil)
	require.ErrorIs(t, err, encryption.ErrDefinition)

	// Resealed under a new key version; unreadable after the erasure.
	sealed.Reset()
	require.NoError(t, files.SealStream(t.Context(), &sealed, ref, "x", 4, strings.NewReader("four")))
	_, active := e.rotate(t)
	var again bytes.Buffer
	require.NoError(t, files.ResealStream(t.Context(), &again, &sealed, ref))
	keyVersion, err := sealedvalue.KeyVersion(again.Bytes()[:5])
	require.NoError(t, err)
	require.Equal(t, active, keyVersion)
	kept := bytes.Clone(again.Bytes())
	stream, err := files.OpenStream(t.Context(), &again, ref)
	require.NoError(t, err)
	text, err := io.ReadAll(stream)
	require.NoError(t, err)
	require.Equal(t, "four", string(text))
	ctx, stop := context.WithCancel(t.Context())
	stop()
	require.ErrorIs(t, files.SealStream(ctx, io.Discard, ref, "x", 4, strings.NewReader("four")), context.Canceled)
	_, err = e.vault.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = files.OpenStream(t.Context(), bytes.NewReader(kept), ref)
	require.ErrorIs(t, err, encryption.ErrErased)
	require.ErrorIs(t, files.SealStream(t.Context(), io.Discard, ref, "x", 4, strings.NewReader("four")), encryption.ErrErased)
}

func TestKeyStores(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		encryptiontest.Run(t, func(*testing.T) keystore.Store { return encryptiontest.Keys() })
	})
	t.Run("SQLite", func(t *testing.T) {
		encryptiontest.Run(t, func(t *testing.T) keystore.Store {
			t.Helper()
			db := openDB(t, filepath.Join(t.TempDir(), "keys.db"), 1)
			require.NoError(t, sqlkeys.Install(t.Context(), db))
			store, err := sqlkeys.Open(t.Context(), db)
			require.NoError(t, err)
			return store
		})
	})
}

// The sample files are frozen: they must open. samples_test.go says
// how they were made.
// sampleTable is contactsTable with the rule of the index that the samples have.
func sampleTable() encryption.Table {
	def := contactsTable
	def.Columns = slices.Clone(def.Columns)
	def.Columns[0].Index = slices.Clone(def.Columns[0].Index)
	def.Columns[0].Index[0].As = encryption.EmailV1
	return def
}

func TestFrozenSamplesOpen(t *testing.T) {
	kms := &keks{keys: map[string][]byte{}, gone: map[string]bool{}}
	for _, name := range []string{"\x00kek-1", "t1\x00kek-1"} {
		kms.keys[name] = slices.Repeat([]byte{7}, 32)
	}
	cfg := encryption.Config{Keys: encryptiontest.Keys(), KEK: kms.get}
	path, err := keycopy.Newest("testdata")
	require.NoError(t, err)
	vault, err := encryption.RestoreCopy(t.Context(), cfg, path)
	require.NoError(t, err)
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		return data
	}
	contacts, err := vault.Table(sampleTable())
	require.NoError(t, err)
	r, err := contacts.Reader(t.Context(), tenant, "p1")
	require.NoError(t, err)
	for _, column := range []string{"email", "note", "phone"} {
		text, err := r.Row("p1", "r1").Text(t.Context(), column, bytes.TrimSpace(read("field-"+column+".txt")))
		require.NoError(t, err)
		require.Equal(t, "sample "+column, text)
	}
	files, err := vault.Table(filesTable)
	require.NoError(t, err)
	stream, err := files.OpenStream(t.Context(), bytes.NewReader(read("stream.bin")), streams.Ref{Tenant: tenant, Owner: "p1", Column: "content", Row: "f1"})
	require.NoError(t, err)
	content, err := io.ReadAll(stream)
	require.NoError(t, err)
	require.Equal(t, "sample.txt", stream.Name)
	require.Equal(t, "sample content\n", string(content))
	opened, err := vault.PersonSealer("opening").Open(t.Context(), tenant, "p1", read("personseal.bin"), []byte("ad"))
	require.NoError(t, err)
	require.Equal(t, "sample opening", string(opened))
	db := openDB(t, filepath.Join(t.TempDir(), "app.db"), 1)
	_, err = db.ExecContext(t.Context(), contactsSQL)
	require.NoError(t, err)
	require.NoError(t, contacts.RebuildIndexes(db, tenant)(t.Context()))
	probes, err := contacts.Lookup(t.Context(), tenant, "email_index", "sample email")
	require.NoError(t, err)
	n, ok := probes[0].Value.Int64()
	require.True(t, ok)
	require.Equal(t, strings.TrimSpace(string(read("index.txt"))), text(n))
	require.NoError(t, vault.Tagger("seal").Verify(t.Context(), tenant, []byte("sample"), read("tag.bin")))
	_, err = contacts.Writer(t.Context(), tenant, "gone")
	require.ErrorIs(t, err, encryption.ErrErased)
}
