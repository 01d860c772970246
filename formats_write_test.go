package crmguard_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/encryption/streams"
	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// binary is base64url in what Python has written.
type binary []byte

func (b *binary) UnmarshalText(text []byte) (err error) {
	*b, err = base64.RawURLEncoding.Strict().DecodeString(string(text))
	return err
}

type foreignField struct {
	Table, Column, Owner, Row, Plain, Text string
	Sealed                                 binary
}

// foreign lists what Python has added to an installation.
type foreign struct {
	Fields []foreignField
	Blobs  []struct {
		Owner, Plain string
		AD, Sealed   binary
	}
	Streams []struct {
		File, Owner, Row, Name, SHA256 string
		Size                           int64
	}
	Tags []struct {
		Tenant, Purpose string
		Data, Tag       binary
	}
	Suppression struct {
		Value  string
		Root   uint32
		Digest binary
	}
	Contact struct{ Row, Person, Email, Note, Event string }
	Log     struct {
		Folder, Key string
		Size        int64
		Proofs      []struct{ Leaf, Proof binary }
	}
	Copy struct {
		File, Tombstone, Holes, Person, Plain string
		Sealed                                binary
	}
	Ledger      struct{ File, Head string }
	Certificate struct {
		File, Person string
		Public, Salt binary
	}
	Snapshots struct{ Good, Forged, Changed [3]string } // pack, index, snapshot
}

// TestGoReadsWhatPythonWrites lets Python write with the keys that it has
// unwrapped. Every reader must take what was written, and refuse it with a
// bit turned.
func TestGoReadsWhatPythonWrites(t *testing.T) {
	in := newInstallation(t)
	require.Empty(t, python(t, "write", in.writeIndex(t)))
	data, err := os.ReadFile(in.path("written.json"))
	require.NoError(t, err)
	var out foreign
	require.NoError(t, json.Unmarshal(data, &out))
	t.Run("fields", func(t *testing.T) { in.opensFields(t, out) })
	t.Run("person-sealed bytes", func(t *testing.T) { in.opensBlobs(t, out) })
	t.Run("streams", func(t *testing.T) { in.opensStreams(t, out) })
	t.Run("tags", func(t *testing.T) { in.verifiesTags(t, out) })
	t.Run("suppression", func(t *testing.T) { in.findsTheSuppressed(t, out) })
	t.Run("contact", func(t *testing.T) { in.findsAndOpensTheContact(t, out) })
	t.Run("event", func(t *testing.T) { in.sequencesAndOpensTheEvent(t, out) })
	t.Run("log", func(t *testing.T) { in.verifiesTheLog(t, out) })
	t.Run("key copy", func(t *testing.T) { in.restoresTheKeyCopy(t, out) })
	t.Run("certificate", func(t *testing.T) { in.verifiesTheCertificate(t, out) })
	t.Run("snapshot", func(t *testing.T) { in.restoresTheSnapshot(t, out) })
	t.Run("ledger", func(t *testing.T) { in.replaysTheLedger(t, out) }) // erases: the last one
}

// requireOnly fails unless read takes data, and refuses them with a bit
// turned at both ends and at 40 places in between.
func requireOnly(t *testing.T, data []byte, read func([]byte) error) {
	t.Helper()
	require.NoError(t, read(bytes.Clone(data)))
	for at := 0; at < len(data); at += max(1, len(data)/40) {
		requireRefused(t, data, at, read)
	}
	requireRefused(t, data, len(data)-1, read)
}

func requireRefused(t *testing.T, data []byte, at int, read func([]byte) error) {
	t.Helper()
	turned := bytes.Clone(data)
	turned[at] ^= 1 << (at % 8)
	require.Error(t, read(turned), "byte %d of %d", at, len(data))
}

func different[T comparable](got, want T, err error) error {
	if err == nil && got != want {
		err = errors.New("another value")
	}
	return err
}

func (in *installation) opensFields(t *testing.T, out foreign) {
	t.Helper()
	tables := map[string]encryption.Table{"cards": cardsOfFormats(), "settings": settingsOfFormats(), "meetings": meetingsOfFormats()}
	require.Len(t, out.Fields, 12)
	for _, f := range out.Fields {
		reader := must(must(in.vault.Table(tables[f.Table]))(t).Reader(t.Context(), formatTenant, f.Owner))(t)
		open := func(sealed []byte) error {
			plain, err := reader.Row(f.Owner, f.Row).Text(t.Context(), f.Column, sealed)
			return different(plain, f.Plain, err)
		}
		requireOnly(t, f.Sealed, open)
		requireOnly(t, []byte(f.Text), open)
		require.Equal(t, f.Text, must(sealedvalue.FormatText(f.Sealed))(t))
	}
}

func (in *installation) opensBlobs(t *testing.T, out foreign) {
	t.Helper()
	require.Len(t, out.Blobs, 2)
	for _, b := range out.Blobs {
		requireOnly(t, b.Sealed, func(sealed []byte) error {
			plain, err := in.vault.PersonSealer("undo").Open(t.Context(), formatTenant, b.Owner, sealed, b.AD)
			return different(string(plain), b.Plain, err)
		})
	}
}

func (in *installation) opensStreams(t *testing.T, out foreign) {
	t.Helper()
	table := must(in.vault.Table(filesOfFormats()))(t)
	require.Len(t, out.Streams, 4)
	for _, s := range out.Streams {
		sealed := must(os.ReadFile(in.path(s.File)))(t)
		open := func(sealed []byte) error {
			ref := streams.Ref{Tenant: formatTenant, Owner: s.Owner, Column: "content", Row: s.Row}
			stream, err := table.OpenStream(t.Context(), bytes.NewReader(sealed), ref)
			if err != nil {
				return err
			}
			sum := sha256.New()
			n, err := io.Copy(sum, stream)
			return errors.Join(different(hex.EncodeToString(sum.Sum(nil)), s.SHA256, err), different(n, s.Size, nil), different(stream.Name, s.Name, nil))
		}
		requireOnly(t, sealed, open)
		require.Error(t, open(sealed[:len(sealed)-1]))
		if first := 5 + 64<<10; len(sealed) > first {
			require.Error(t, open(sealed[:first]), "cut between two segments")
		}
	}
}

func (in *installation) verifiesTags(t *testing.T, out foreign) {
	t.Helper()
	require.Len(t, out.Tags, 3)
	for _, tag := range out.Tags {
		requireOnly(t, tag.Tag, func(candidate []byte) error {
			if tag.Tenant == "" {
				return in.vault.ManifestTagger().Verify(t.Context(), tag.Data, candidate)
			}
			return in.vault.Tagger(tag.Purpose).Verify(t.Context(), tag.Tenant, tag.Data, candidate)
		})
	}
}

func (in *installation) findsTheSuppressed(t *testing.T, out foreign) {
	t.Helper()
	roots, digests := in.suppressed(t, out.Suppression.Value)
	require.Equal(t, []uint32{out.Suppression.Root}, roots)
	requireOnly(t, out.Suppression.Digest, func(digest []byte) error {
		return different(string(digest), string(digests[0]), nil)
	})
}

// findsAndOpensTheContact asks for the row by both of its index values, opens
// it, and verifies its seal.
func (in *installation) findsAndOpensTheContact(t *testing.T, out foreign) {
	t.Helper()
	ctx, table := t.Context(), must(in.vault.Table(contactsOfFormats()))(t)
	reader := must(table.Reader(ctx, formatTenant, out.Contact.Person))(t)
	for _, index := range []string{"email_index", "email_wide"} {
		where, args := must(table.Lookup(ctx, formatTenant, index, out.Contact.Email))(t).Where("")
		var id string
		var email, text []byte
		require.NoError(t, in.db.QueryRowContext(ctx, `SELECT id, email, note FROM contacts WHERE `+where, args...).Scan(&id, &email, &text))
		require.Equal(t, out.Contact.Row, id)
		require.Equal(t, out.Contact.Email, must(reader.Row(out.Contact.Person, id).Text(ctx, "email", email))(t))
		require.Equal(t, out.Contact.Note, must(reader.Row(out.Contact.Person, id).Text(ctx, "note", text))(t))
	}
	sealed := 0
	for row, err := range in.rows(ctx) {
		require.NoError(t, err)
		if row.Ref.Key != out.Contact.Row {
			continue
		}
		sealed++
		require.Equal(t, out.Contact.Event, row.Ref.Event)
		requireOnly(t, row.Seal, func(seal []byte) error {
			return in.sealer.Verify(ctx, integrity.SealedRow{Ref: row.Ref, Values: row.Values, Seal: seal})
		})
		requireOnly(t, row.Values["email"].([]byte), func(email []byte) error {
			values := map[string]any{"email": email, "city": row.Values["city"], "note": row.Values["note"]}
			return in.sealer.Verify(ctx, integrity.SealedRow{Ref: row.Ref, Values: values, Seal: row.Seal})
		})
	}
	require.Equal(t, 1, sealed)
	report := must(in.sealer.Sweep(ctx, in.rows(ctx), integrity.SweepOptions{Tenant: formatTenant, Table: "contacts"}))(t)
	require.True(t, report.OK())
	require.EqualValues(t, 3, report.Verified)
}

// sequencesAndOpensTheEvent lets the trail take Python's event into the log.
func (in *installation) sequencesAndOpensTheEvent(t *testing.T, out foreign) {
	t.Helper()
	ctx := t.Context()
	var body []byte
	id := uuid.MustParse(out.Contact.Event)
	require.NoError(t, in.db.QueryRowContext(ctx, `SELECT body FROM crmguard_audit_events WHERE id = ?`, id[:]).Scan(&body))
	result := must(in.trail.RunOnce(ctx))(t)
	require.Equal(t, 1, result.Sequenced)
	require.Empty(t, result.Refused)
	found := map[string][]any{}
	for entry, err := range in.trail.History(ctx, formatTenant, audit.PersonRef("contact", out.Contact.Person), audit.Page{}) {
		require.NoError(t, err)
		if entry.Leaf.ID != out.Contact.Event {
			continue
		}
		for _, c := range entry.Changes {
			require.Equal(t, audit.OpeningOK, c.Verdict)
			found[c.Path] = []any{c.Who, c.Old, c.New}
		}
	}
	person := out.Contact.Person
	require.Equal(t, map[string][]any{"email": {person, audit.Absent{}, out.Contact.Email}, "nick": {person, nil, strings.Repeat("Py", 40)}}, found)
	leaf := must(in.trail.Leaf(ctx, out.Contact.Event))(t)
	_, err := auditlog.Verify(auditlog.Trust{Key: in.vkey}, leaf, must(in.trail.Proof(ctx, out.Contact.Event))(t))
	require.NoError(t, err)
	require.Equal(t, auditlog.Unanchored, must(in.trail.VerifyStore(ctx, nil))(t).Verdict)
	in.refusesTurnedOpeningAndEvent(t, out, body)
}

// refusesTurnedOpeningAndEvent turns bits in the database.
func (in *installation) refusesTurnedOpeningAndEvent(t *testing.T, out foreign, body []byte) {
	t.Helper()
	ctx := t.Context()
	id := uuid.MustParse(out.Contact.Event)
	const where = ` FROM crmguard_audit_openings WHERE owner <> zeroblob(16) AND idx = (SELECT idx FROM crmguard_audit_entries WHERE id = ?)`
	const change = `UPDATE crmguard_audit_openings SET sealed = ? WHERE owner <> zeroblob(16) AND idx = (SELECT idx FROM crmguard_audit_entries WHERE id = ?)`
	var opening []byte
	require.NoError(t, in.db.QueryRowContext(ctx, `SELECT sealed`+where, id[:]).Scan(&opening))
	for at := 0; at < len(opening); at += len(opening) / 6 {
		turned := bytes.Clone(opening)
		turned[at] ^= 4
		in.exec(t, change, turned, id[:])
		require.EqualValues(t, 1, must(in.trail.VerifyStore(ctx, nil))(t).Openings[audit.OpeningAltered])
	}
	in.exec(t, change, opening, id[:])
	require.Equal(t, auditlog.Unanchored, must(in.trail.VerifyStore(ctx, nil))(t).Verdict)

	other := uuid.MustParse(newUUID(t))
	forged := bytes.ReplaceAll(body, []byte(out.Contact.Event), []byte(other.String()))
	in.exec(t, `INSERT INTO crmguard_audit_events (id, log, retry, body) VALUES (?, 1, x'', ?)`, other[:], forged)
	result := must(in.trail.RunOnce(ctx))(t)
	require.Zero(t, result.Sequenced)
	require.Len(t, result.Refused, 1)
	require.Equal(t, 1, must(in.trail.Dismiss(ctx))(t))
}

func (in *installation) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	_, err := in.db.ExecContext(t.Context(), query, args...)
	require.NoError(t, err)
}

// verifiesTheLog reads a log that Python has published. Notes and proofs are
// base64 lines whose last characters may be spelt in several ways, so bits
// turn in the first character of each line only.
func (in *installation) verifiesTheLog(t *testing.T, out foreign) {
	t.Helper()
	trust := auditlog.Trust{Key: out.Log.Key}
	verify := func() error {
		report, err := auditlog.VerifyLog(t.Context(), os.DirFS(in.path(out.Log.Folder)), trust)
		return errors.Join(different(report.Verdict, auditlog.Unanchored, err), different(report.Verified, out.Log.Size, nil))
	}
	for _, p := range out.Log.Proofs {
		requireOnly(t, p.Leaf, func(leaf []byte) error {
			_, err := auditlog.Verify(trust, leaf, p.Proof)
			return err
		})
		for at := range p.Proof {
			if at == 0 || p.Proof[at-1] == '\n' {
				requireRefused(t, p.Proof, at, func(proof []byte) error {
					_, err := auditlog.Verify(trust, p.Leaf, proof)
					return err
				})
			}
		}
	}
	for _, file := range []string{"tile/entries/000.p/11", "tile/0/000.p/11"} {
		path := filepath.Join(in.path(out.Log.Folder), filepath.FromSlash(file))
		requireOnly(t, must(os.ReadFile(path))(t), func(data []byte) error {
			require.NoError(t, os.WriteFile(path, data, 0o600))
			return verify()
		})
		in.restoreFile(t, path)
	}
}

// restoreFile turns back the bit that requireOnly turned last.
func (in *installation) restoreFile(t *testing.T, path string) {
	t.Helper()
	data := must(os.ReadFile(path))(t)
	data[len(data)-1] ^= 1 << ((len(data) - 1) % 8)
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

// restoresTheKeyCopy loads a key copy into an empty key store and opens what
// was sealed under the key that Python has put into it.
func (in *installation) restoresTheKeyCopy(t *testing.T, out foreign) {
	t.Helper()
	restore := func(file string) (*encryption.Vault, error) {
		cfg := in.keys
		cfg.Keys = encryptiontest.Keys()
		return encryption.RestoreCopy(t.Context(), cfg, file)
	}
	vault := must(restore(in.path(out.Copy.File)))(t)
	reader := must(must(vault.Table(contactsOfFormats()))(t).Reader(t.Context(), formatTenant, out.Copy.Person))(t)
	requireOnly(t, out.Copy.Sealed, func(sealed []byte) error {
		plain, err := reader.Row(out.Copy.Person, "r8").Text(t.Context(), "email", sealed)
		return different(plain, out.Copy.Plain, err)
	})
	turned := filepath.Join(t.TempDir(), "keys.jsonl")
	requireOnly(t, must(os.ReadFile(in.path(out.Copy.File)))(t), func(data []byte) error {
		require.NoError(t, os.WriteFile(turned, data, 0o600))
		_, err := restore(turned)
		return err
	})
	_, err := restore(in.path(out.Copy.Tombstone))
	require.ErrorIs(t, err, encryption.ErrCopy, "a key under a tombstone")
	verify := func(file string) keycopy.Copy { return must(in.vault.VerifyCopy(t.Context(), in.path(file)))(t) }
	whole, holes := verify(out.Copy.File), verify(out.Copy.Holes)
	require.NoError(t, whole.Covers(must(whole.Position())(t)))
	require.Equal(t, 2, holes.Holes)
	require.ErrorIs(t, holes.Covers(must(holes.Position())(t)), encryption.ErrNotCovered)
}

// verifiesTheCertificate turns bits of statement and signature; the key id is
// a hint that nothing depends on.
func (in *installation) verifiesTheCertificate(t *testing.T, out foreign) {
	t.Helper()
	var envelope struct {
		PayloadType string              `json:"payloadType"`
		Payload     []byte              `json:"payload"`
		Signatures  []map[string][]byte `json:"signatures"`
	}
	var loose map[string]any
	data := must(os.ReadFile(in.path(out.Certificate.File)))(t)
	require.NoError(t, json.Unmarshal(data, &loose))
	verify := func(data []byte) (*privacy.Certificate, error) {
		return privacy.VerifyCertificate(t.Context(), data, ed25519.PublicKey(out.Certificate.Public))
	}
	c := must(verify(data))(t)
	require.Equal(t, "erasure/7", c.Name)
	require.Equal(t, []string{"paper"}, c.NotCovered)
	require.Equal(t, datastore.Kept, c.Classes[0].Class)
	require.True(t, c.Concerns(out.Certificate.Salt, formatTenant, out.Certificate.Person))
	requireRefused(t, out.Certificate.Salt, 7, func(salt []byte) error {
		return different(c.Concerns(salt, formatTenant, out.Certificate.Person), true, nil)
	})
	signature := loose["signatures"].([]any)[0].(map[string]any)
	envelope.PayloadType = "application/vnd.in-toto+json"
	envelope.Payload = must(base64.StdEncoding.DecodeString(loose["payload"].(string)))(t)
	sig := must(base64.StdEncoding.DecodeString(signature["sig"].(string)))(t)
	check := func(payload, sig []byte) error {
		e := envelope
		e.Payload, e.Signatures = payload, []map[string][]byte{{"sig": sig}}
		_, err := verify(must(json.Marshal(e))(t))
		return err
	}
	requireOnly(t, envelope.Payload, func(payload []byte) error { return check(payload, sig) })
	requireOnly(t, sig, func(sig []byte) error { return check(envelope.Payload, sig) })
}

// restoresTheSnapshot checks every byte that Python has put into the
// repository, restores, and refuses what was forged.
func (in *installation) restoresTheSnapshot(t *testing.T, out foreign) {
	t.Helper()
	ctx := t.Context()
	pack, index, good := out.Snapshots.Good[0], out.Snapshots.Good[1], out.Snapshots.Good[2]
	dir := t.TempDir()
	report := must(in.repo.Restore(ctx, good, dir))(t)
	require.True(t, report.Verified)
	require.Equal(t, "from Python\n", string(must(os.ReadFile(filepath.Join(dir, "papers", "notes", "a.txt")))(t)))
	require.Equal(t, "python", must(in.repo.Manifest(ctx, good))(t).Job)

	_, err := in.repo.Manifest(ctx, out.Snapshots.Forged[2])
	require.ErrorIs(t, err, backup.ErrManifest)
	_, err = in.repo.Restore(ctx, out.Snapshots.Changed[2], t.TempDir())
	require.ErrorIs(t, err, backup.ErrManifest)
	for _, name := range out.Snapshots.Forged { // what is left is whole
		in.forget(t, name)
	}
	check := func(context.Context) error {
		_, err := in.repo.Check(ctx, backup.ReadAll, good)
		return err
	}
	require.NoError(t, check(ctx))
	for _, file := range []string{"data/" + pack[:2] + "/" + pack, "index/" + index, "snapshots/" + good} {
		path := filepath.Join(in.path("backup"), filepath.FromSlash(file))
		data := must(os.ReadFile(path))(t)
		for at := 0; at < len(data); at += len(data) / 6 {
			requireRefused(t, data, at, func(turned []byte) error {
				require.NoError(t, os.WriteFile(path, turned, 0o600))
				return check(ctx)
			})
		}
		require.NoError(t, os.WriteFile(path, data, 0o600))
	}
	require.NoError(t, check(ctx))
}

// forget removes a file of the repository, whatever it is.
func (in *installation) forget(t *testing.T, name string) {
	t.Helper()
	for _, pattern := range []string{"data/*/", "index/", "snapshots/"} {
		for _, file := range must(filepath.Glob(in.path("backup/" + pattern + name)))(t) {
			require.NoError(t, os.Remove(file))
		}
	}
}

// replaysTheLedger verifies an intent that Python has added; the desk then
// knows whom it names, and erases that person.
func (in *installation) replaysTheLedger(t *testing.T, out foreign) {
	t.Helper()
	ctx := t.Context()
	dir := filepath.Dir(in.path(out.Ledger.File))
	ledger := must(privacy.NewLedger(privacy.LedgerConfig{Dir: dir, Digests: in.vault.LedgerDigests()}))(t)
	require.Equal(t, out.Ledger.Head, string(must(ledger.Head(ctx))(t)))
	data := must(os.ReadFile(in.path(out.Ledger.File)))(t)
	requireOnly(t, data[:len(data)-1], func(lines []byte) error {
		require.NoError(t, os.WriteFile(in.path(out.Ledger.File), append(lines, '\n'), 0o600))
		return ledger.Verify(ctx)
	})
	in.write(t, "ledger/ledger.jsonl", data)
	require.ErrorIs(t, in.desk.Current(ctx), privacy.ErrBehind)
	replayed := must(in.desk.Replay(ctx))(t)
	require.Equal(t, 1, replayed.Erased)
	require.Empty(t, replayed.Undated, "the intent names the row")
	var left int
	require.NoError(t, in.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM contacts WHERE id = 'r2'`).Scan(&left))
	require.Zero(t, left)
	require.NoError(t, in.desk.Current(ctx))
	require.Empty(t, must(in.vault.WrappedKeys(ctx, formatTenant, in.second))(t))
	require.NotEmpty(t, must(in.vault.WrappedKeys(ctx, formatTenant, in.first))(t))
}

func contactsOfFormats() encryption.Table {
	return encryption.Table{Name: "contacts", Columns: []encryption.Column{
		{Name: "email", Index: []encryption.Index{
			{Column: "email_index", As: encryption.Email, Bits: 32}, {Column: "email_wide", As: encryption.Exact, Bits: 256},
		}},
		{Name: "note", Level: encryption.LevelRow, Text: true, Pad: 64},
	}}
}
