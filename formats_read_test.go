package crmguard_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/localstore"
	"github.com/crmguard/crmguard/backup/sqlitesource"
	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/encryption/streams"
	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

const (
	formatTenant = "main"
	formatSQL    = `CREATE TABLE contacts (id TEXT NOT NULL PRIMARY KEY, person TEXT NOT NULL, city TEXT, email BLOB, note TEXT, email_index INTEGER, email_wide BLOB,
		version INTEGER NOT NULL, event TEXT NOT NULL, schema_id TEXT NOT NULL, seal BLOB NOT NULL, created INTEGER) STRICT;
		CREATE INDEX contacts_person ON contacts (person);
		CREATE TABLE links (a TEXT NOT NULL, b INTEGER NOT NULL, weight REAL, raw BLOB, PRIMARY KEY (a, b)) STRICT;
		INSERT INTO links VALUES ('x/y', -1, 1.5, x''), ('x%', 10, NULL, x'00ff'), ('x%', 9, -0.0, NULL)`
	sqlitePragmas = "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=secure_delete(1)"
)

// cardsOfFormats has what is left of levels and paddings.
func cardsOfFormats() encryption.Table {
	return encryption.Table{Name: "cards", Columns: []encryption.Column{
		{Name: "phone", Pad: 16}, {Name: "story", Pad: encryption.Padme}, {Name: "memo", Level: encryption.LevelRow}, {Name: "text", Text: true},
	}}
}

func settingsOfFormats() encryption.Table {
	return encryption.Table{Name: "settings", Shared: true, Level: encryption.LevelTenant, Columns: []encryption.Column{{Name: "signature"}}}
}

func meetingsOfFormats() encryption.Table {
	return encryption.Table{Name: "meetings", Columns: []encryption.Column{{Name: "body"}}}
}

func filesOfFormats() encryption.Table {
	return encryption.Table{Name: "files", Columns: []encryption.Column{{Name: "content", Stream: true}}}
}

// formatMap is what the desk knows of the database.
func formatMap() *datamap.Map {
	columns := []datamap.Column{}
	for _, name := range []string{"city", "email", "note", "email_index", "email_wide"} {
		columns = append(columns, datamap.Column{Name: name, Category: "contact", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Withhold: "not exported here"})
	}
	return &datamap.Map{Tenant: formatTenant, Tables: []datamap.Table{{
		Name: "contacts", Key: []string{"id"}, Person: "person", Created: "created", Erase: datamap.Delete,
		Columns: append(columns, datamap.Column{Name: "version"}, datamap.Column{Name: "event"}, datamap.Column{Name: "schema_id"}, datamap.Column{Name: "seal"}),
	}, {Name: "links", Columns: []datamap.Column{{Name: "a"}, {Name: "b"}, {Name: "weight"}, {Name: "raw"}}}}}
}

func contactLayout() integrity.Layout {
	return integrity.Layout{ID: "contact/1", Columns: []integrity.Column{
		{Name: "note", Type: integrity.Sealed}, {Name: "city", Type: integrity.Text}, {Name: "email", Type: integrity.Sealed},
	}}
}

// installation is a whole system with one tenant, and what Python is told
// about it.
type installation struct {
	dir    string
	index  map[string]any
	skew   atomic.Int64 // waiting moves the clock
	db     *sql.DB
	kek    []byte
	keys   encryption.Config
	vault  *encryption.Vault
	sealer *integrity.Sealer
	trail  *audit.Trail
	vkey   string
	ledger *erasurelog.Log
	desk   *privacy.Desk
	public ed25519.PublicKey
	repo   *backup.Repository
	key    backup.MachineKey

	first, second, erased, merged string // persons
}

func (in *installation) now() time.Time { return time.Now().Add(time.Duration(in.skew.Load())) }

func (in *installation) path(name string) string {
	return filepath.Join(in.dir, filepath.FromSlash(name))
}

func (in *installation) add(list string, entry map[string]any) {
	in.index[list] = append(in.list(list), entry)
}

func (in *installation) list(name string) (l []map[string]any) {
	l, _ = in.index[name].([]map[string]any)
	return l
}

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func (in *installation) write(t *testing.T, n string, d []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(in.path(n), d, 0o600))
}

func (in *installation) wait(ctx context.Context, d time.Duration) error {
	in.skew.Add(int64(d))
	return ctx.Err()
}

// must returns the value of a call, or fails the test: must(call())(t).
func must[T any](value T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		require.NoError(t, err)
		return value
	}
}

func newUUID(t *testing.T) string {
	t.Helper()
	id, err := uuid.NewV7()
	require.NoError(t, err)
	return id.String()
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	in := &installation{dir: t.TempDir(), kek: make([]byte, 32), key: backup.NewMachineKey()}
	_, err := rand.Read(in.kek)
	require.NoError(t, err)
	for _, person := range []*string{&in.first, &in.second, &in.erased, &in.merged} {
		*person = newUUID(t)
	}
	in.index = map[string]any{"tenant": formatTenant, "first": in.first, "second": in.second, "kek": hex.EncodeToString(in.kek), "database": "crm.db"}
	in.openKeys(t)
	in.openDatabase(t)
	in.sealContacts(t)
	in.sealFields(t)
	in.sealStream(t)
	in.tag(t)
	in.keepQueued(t)
	in.erase(t)
	in.publish(t)
	in.backUp(t)
	in.copyKeys(t)
	return in
}

func (in *installation) openKeys(t *testing.T) {
	t.Helper()
	kek := must(insecurekeys.KEK(in.kek))(t)
	in.keys = encryption.Config{
		Keys: encryptiontest.Keys(), Now: in.now, Wait: in.wait,
		KEK: func(context.Context, string, string) (tink.AEADWithContext, error) { return kek, nil },
	}
	in.vault = must(encryption.Create(t.Context(), in.keys))(t)
	require.NoError(t, in.vault.AddTenant(t.Context(), formatTenant))
	in.sealer = must(integrity.NewSealer(in.vault.Tagger("seal"), contactLayout()))(t)
	require.NoError(t, os.Mkdir(in.path("keys"), 0o700))
	require.NoError(t, os.Mkdir(in.path("files"), 0o700))
}

func (in *installation) openDatabase(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	in.db = must(sql.Open("sqlite", "file:"+in.path("crm.db")+sqlitePragmas))(t)
	t.Cleanup(func() { require.NoError(t, in.db.Close()) })
	_, err := in.db.ExecContext(ctx, formatSQL)
	require.NoError(t, err)
	require.NoError(t, sqltrail.Install(ctx, in.db))
	require.NoError(t, privacy.Install(ctx, in.db))
	in.ledger = must(erasurelog.Open(erasurelog.Config{Medium: erasurelog.Folder(in.path("ledger")), Now: in.now, Digests: in.vault.LedgerDigests()}))(t)
	require.NoError(t, in.ledger.Create(ctx))
	in.openTrail(t)
	in.openDesk(t)
}

func (in *installation) openTrail(t *testing.T) {
	t.Helper()
	skey, vkey, err := audit.GenerateKey("crm.example/audit", 0)
	require.NoError(t, err)
	in.vkey = vkey
	in.trail = must(audit.Open(t.Context(), must(sqltrail.Open(t.Context(), in.db))(t), audit.Config{
		Name: "crm.example/audit", Tenant: formatTenant, Key: skey, Sink: must(tilesink.Open(in.path("log")))(t),
		Keys: in.vault.AuditKeys(), Fields: map[string][]string{"contact": {"city", "email"}}, Now: in.now,
		Heads: audit.Heads{Ledger: audit.HeadOf(in.ledger.Head), Keys: audit.HeadOf(in.vault.Head)},
	}))(t)
}

func (in *installation) openDesk(t *testing.T) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	in.public = public
	database := must(sqlstore.Open(t.Context(), sqlstore.Config{DB: in.db, Map: formatMap()}))(t)
	openings := datastore.Func{Name: "audit openings", Class: datastore.Deleted, Sealed: true, Erase: in.trail.Eraser()}
	keys := datastore.Func{Name: "person keys", Class: datastore.Shredded, Erase: in.vault.Eraser(), Remaining: func(ctx context.Context, tenant, person string) (int, error) {
		left, err := in.vault.WrappedKeys(ctx, tenant, person)
		return len(left), err
	}}
	in.desk = must(privacy.Open(t.Context(), privacy.Config{
		Map: formatMap(), DB: in.db, Ledger: in.ledger, Database: database, Stores: []datastore.Store{openings.Store(), keys.Store()}, Sign: private,
		Record: in.trail.Recorder("desk"), Prepare: in.trail.Prepare, Delay: -1, Lease: -1, Now: in.now, NotCovered: []string{"mail already sent"},
		Aliases: func(_ context.Context, _, person string) ([]string, error) {
			if person == in.erased {
				return []string{in.merged}, nil
			}
			return nil, nil
		},
	}))(t)
}

// sealContacts stores three rows with event and seal. The second and third are
// under a new key version, and nobody knows when they were created: an
// erasure has to name them.
func (in *installation) sealContacts(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	table := must(in.vault.Table(contactsOfFormats()))(t)
	for i, person := range []string{in.first, in.second, in.erased} {
		if i == 1 {
			must(in.vault.NewKeyVersion(ctx, formatTenant))(t)
		}
		id, event, email := fmt.Sprintf("r%d", i+1), newUUID(t), fmt.Sprintf("  Ann%d@B.example", i)
		w := must(must(table.Writer(ctx, formatTenant, person))(t).Row(id))(t)
		sealed, text := w.Text("email", email), w.Text("note", "Grüße, line\n1")
		city := sql.NullString{String: "Bern", Valid: i == 0}
		require.NoError(t, in.trail.Prepare(ctx, formatTenant, person))
		tx := must(in.db.BeginTx(ctx, nil))(t)
		ref := integrity.Ref{Tenant: formatTenant, Table: "contacts", Key: id, Version: int64(7 + i), SchemaID: "contact/1", Event: event}
		if i == 1 {
			ref.Event = ""
		}
		seal := must(in.sealer.Seal(ctx, ref, map[string]any{"email": sealed, "note": text, "city": city}))(t)
		_, err := tx.ExecContext(ctx, `INSERT INTO contacts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			id, person, city, sealed, text, w.Int64("email_index", email), w.Index("email_wide", email), ref.Version, ref.Event, ref.SchemaID, seal, sql.NullInt64{Int64: in.now().UnixMicro(), Valid: i == 0})
		require.NoError(t, err)
		must(in.trail.Record(ctx, tx, audit.Event{
			ID: event, Tenant: formatTenant, Actor: "u-1", Action: "contact.create", Object: audit.PersonRef("contact", person), Reason: "import",
			Changes: []audit.Change{
				{Path: "email", Who: person, Old: audit.Absent{}, New: email},
				{Path: "nick \"name\"", Who: person, Old: nil, New: int64(-5)},
				{Path: "batch", Old: false, New: []byte{0, 255}},
				{Path: "broken", Old: nil, New: "\xff"},
			},
		}))(t)
		if person == in.first {
			value := func(kind int, data []byte) []any { return []any{kind, encode(data)} }
			in.index["given"] = map[string]any{
				"id": event, "action": "contact.create", "actor": "u-1", "outcome": "ok", "object": []string{"contact", person}, "person": 1,
				"reason": "import", "request": "", "policy": "", "for": "", "prior": "", "persons": []string{person},
				"changes": [][]any{
					{"batch", "", value(4, []byte{0}), value(5, []byte{0, 255})},
					{"broken", "", value(1, nil), value(11, []byte{1, 255})},
					{"email", person, value(0, nil), value(2, []byte(email))},
					{"nick \"name\"", person, value(1, nil), value(3, []byte{255, 255, 255, 255, 255, 255, 255, 251})},
				},
			}
			many := audit.Event{ID: newUUID(t), Tenant: formatTenant, Actor: "u-1", Action: "contact.import"}
			for n := range 300 { // more than a leaf holds one by one
				many.Changes = append(many.Changes, audit.Change{Path: fmt.Sprintf("field %d", n), Old: n, New: "\xff"})
			}
			must(in.trail.Record(ctx, tx, many))(t)
			in.add("changes", map[string]any{"event": many.ID, "owner": "t:", "path": "field 7", "old": []any{3, encode([]byte{0, 0, 0, 0, 0, 0, 0, 7})}, "new": []any{11, encode([]byte{1, 255})}})
		}
		require.NoError(t, tx.Commit())
		if person == in.erased {
			continue
		}
		in.add("fields", map[string]any{"table": "contacts", "column": "email", "level": 2, "owner": person, "row": id, "sealed": encode(sealed.Bytes()), "plain": email})
		in.add("fields", map[string]any{"table": "contacts", "column": "note", "level": 0x13, "bucket": 64, "owner": person, "row": id, "text": must(sealedvalue.FormatText(text.Bytes()))(t), "plain": "Grüße, line\n1"})
		narrow, _ := w.Int64("email_index", email).Int64()
		in.add("indexes", map[string]any{"table": "contacts", "index": "email_index", "version": 1, "normaliser": "email/2", "bits": 32, "input": email, "value": fmt.Sprint(narrow)})
		in.add("indexes", map[string]any{"table": "contacts", "index": "email_wide", "version": 1, "normaliser": "exact/1", "bits": 256, "input": email, "value": encode(w.Index("email_wide", email).Bytes())})
		in.index["proved"] = event
		in.add("changes", map[string]any{"event": event, "owner": person, "path": "email", "old": []any{0, ""}, "new": []any{2, encode([]byte(email))}})
		in.add("changes", map[string]any{"event": event, "owner": person, "path": `nick "name"`, "old": []any{1, ""}, "new": []any{3, encode([]byte{255, 255, 255, 255, 255, 255, 255, 251})}})
		in.add("changes", map[string]any{"event": event, "owner": "t:", "path": "broken", "old": []any{1, ""}, "new": []any{11, encode([]byte{1, 255})}})
		in.add("changes", map[string]any{"event": event, "owner": "t:", "path": "batch", "old": []any{4, encode([]byte{0})}, "new": []any{5, encode([]byte{0, 255})}})
	}
}

// sealFields seals the other levels and paddings, the tenant's own data, and
// a record of two persons.
func (in *installation) sealFields(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	cards := must(in.vault.Table(cardsOfFormats()))(t)
	w := must(must(cards.Writer(ctx, formatTenant, in.first))(t).Row("k1"))(t)
	field := func(w *encryption.Writer, table, column, owner string, level, bucket int, plain string) {
		in.add("fields", map[string]any{
			"table": table, "column": column, "level": level, "bucket": bucket, "owner": owner, "row": "k1",
			"sealed": encode(must(w.Seal(column, []byte(plain)))(t)), "plain": plain,
		})
	}
	for _, size := range []int{0, 14, 15, 16, 17} {
		field(w, "cards", "phone", in.first, 0x12, 16, string(bytes.Repeat([]byte("7"), size)))
	}
	for _, size := range []int{0, 1, 8, 9, 100, 1000, 5000} {
		field(w, "cards", "story", in.first, 0x12, 0, string(bytes.Repeat([]byte("s"), size)))
	}
	field(w, "cards", "memo", in.first, 3, 0, "a memo")
	settings := must(in.vault.Table(settingsOfFormats()))(t)
	field(must(settings.TenantWriter(ctx, formatTenant))(t), "settings", "signature", "t:", 1, 0, "the tenant's own")
	meetings := must(in.vault.Table(meetingsOfFormats()))(t)
	owner := must(encryption.NewRecordOwner())(t)
	in.index["record"] = owner
	field(must(meetings.RecordWriter(ctx, formatTenant, owner))(t), "meetings", "body", owner, 2, 0, "with two persons")

	for owner, person := range map[string]string{in.first: in.first, "t:": ""} {
		sealed := must(in.vault.PersonSealer("journal").Seal(ctx, formatTenant, person, []byte("an undo"), []byte("ad\x00")))(t)
		in.add("blobs", map[string]any{"purpose": "journal", "owner": owner, "ad": encode([]byte("ad\x00")), "sealed": encode(sealed), "plain": "an undo"})
	}
	require.NoError(t, in.vault.AddAlias(ctx, formatTenant, newUUID(t), in.first))
}

// sealStream seals a file of three segments, which the backup will hold.
func (in *installation) sealStream(t *testing.T) {
	t.Helper()
	content := bytes.Repeat([]byte("offer "), 30_000)
	var sealed bytes.Buffer
	files := must(in.vault.Table(filesOfFormats()))(t)
	ref := streams.Ref{Tenant: formatTenant, Owner: in.first, Column: "content", Row: "f1"}
	require.NoError(t, files.SealStream(t.Context(), &sealed, ref, "Angebot für Bern.pdf", int64(len(content)), bytes.NewReader(content)))
	in.write(t, "files/offer.bin", sealed.Bytes())
	sum := sha256.Sum256(content)
	in.index["stream"] = map[string]any{
		"file": "files/offer.bin", "table": "files", "column": "content", "owner": in.first, "row": "f1", "name": "Angebot für Bern.pdf", "sha256": hex.EncodeToString(sum[:]),
	}
}

func (in *installation) tag(t *testing.T) {
	t.Helper()
	data := []byte("tagged")
	for _, purpose := range []string{"seal", "log"} {
		tag := must(in.vault.Tagger(purpose).Tag(t.Context(), formatTenant, data))(t)
		in.add("tags", map[string]any{"tenant": formatTenant, "purpose": purpose, "data": encode(data), "tag": encode(tag)})
	}
	tag := must(in.vault.ManifestTagger().Tag(t.Context(), data))(t)
	in.add("tags", map[string]any{"tenant": "", "purpose": "manifest", "data": encode(data), "tag": encode(tag)})
	info := frame.Join("crmguard/audit/queue-key/v2", "crm.example/audit")
	keyIDs, keys, err := in.vault.AuditKeys().MACKeys(t.Context(), formatTenant, info)
	require.NoError(t, err)
	in.add("mac keys", map[string]any{"info": encode(info), "id": keyIDs[0], "key": encode(keys[0])})
	roots, digests := in.suppressed(t, "ann@b.example")
	in.index["suppression"] = map[string]any{"channel": "e-mail", "normaliser": "email/1", "value": "ann@b.example", "root": roots[0], "digest": encode(digests[0])}
}

// suppressed are the digests of an address that gets no mail, under every root.
func (in *installation) suppressed(t *testing.T, value string) ([]uint32, [][]byte) {
	t.Helper()
	info := frame.Join("crmguard/suppression/v1", formatTenant, "e-mail", "email/1")
	roots, digests, err := in.vault.Digests("suppression")(t.Context(), formatTenant, info, frame.Join(value))
	require.NoError(t, err)
	return roots, digests
}

// erase forgets the third person: ledger, certificate, tombstone.
func (in *installation) erase(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	plan := must(in.desk.PlanErasure(ctx, privacy.Request{Tenant: formatTenant, Person: in.erased, Reason: "gdpr-17", By: "u-1"}))(t)
	require.NoError(t, in.desk.Approve(ctx, plan.ID, "u-2"))
	outcome := must(in.desk.Execute(ctx, plan.ID))(t)
	require.Equal(t, privacy.Done, outcome.State)
	in.write(t, "certificate.dsse.json", outcome.Certificate)
	in.index["certificate"] = map[string]any{"file": "certificate.dsse.json", "public": encode(in.public), "salt": encode(outcome.Salt), "person": in.erased}
	in.index["ledger"] = map[string]any{"file": "ledger/ledger.jsonl", "person": in.erased, "alias": in.merged, "row": "r3", "head": string(must(in.ledger.Head(ctx))(t))}
}

// queued are the events that wait for their place in the log.
func (in *installation) queued(ctx context.Context) (out []map[string]any, err error) {
	rows, err := in.db.QueryContext(ctx, `SELECT id, body, retry FROM crmguard_audit_events WHERE idx IS NULL`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, body, retry []byte
		if err := rows.Scan(&id, &body, &retry); err != nil {
			return nil, err
		}
		out = append(out, map[string]any{"id": uuid.UUID(id).String(), "body": encode(body), "retry": encode(retry)})
	}
	return out, rows.Err()
}

// keepQueued remembers what waits: sequencing empties the rows.
func (in *installation) keepQueued(t *testing.T) {
	t.Helper()
	for _, queued := range must(in.queued(t.Context()))(t) {
		in.add("queued", queued)
	}
}

// publish sequences all events and sweeps the rows.
func (in *installation) publish(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	in.keepQueued(t)
	result := must(in.trail.RunOnce(ctx))(t)
	require.Equal(t, result.Size, result.Published)
	event, _ := in.index["proved"].(string)
	in.write(t, "event.tlog-proof", must(in.trail.Proof(ctx, event))(t))
	in.index["audit"] = map[string]any{"folder": "log", "key": in.vkey, "proved": event, "proof": "event.tlog-proof", "changes": in.index["changes"]}
	report := must(in.sealer.Sweep(ctx, in.rows(ctx), integrity.SweepOptions{Tenant: formatTenant, Table: "contacts"}))(t)
	require.True(t, report.OK() && report.Rows == 2)
	in.index["roots"] = string(must(report.Roots.MarshalText())(t))
}

// rows are the contacts as they are stored.
func (in *installation) rows(ctx context.Context) func(yield func(integrity.SealedRow, error) bool) {
	return func(yield func(integrity.SealedRow, error) bool) {
		rows, err := in.db.QueryContext(ctx, `SELECT id, city, email, note, version, event, schema_id, seal FROM contacts`)
		if err != nil {
			yield(integrity.SealedRow{}, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			row := integrity.SealedRow{Ref: integrity.Ref{Tenant: formatTenant, Table: "contacts"}}
			var city, text sql.NullString
			var email []byte
			err := rows.Scan(&row.Ref.Key, &city, &email, &text, &row.Ref.Version, &row.Ref.Event, &row.Ref.SchemaID, &row.Seal)
			row.Values = map[string]any{"city": city, "email": email, "note": text}
			if !yield(row, err) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(integrity.SealedRow{}, err)
		}
	}
}

func (in *installation) backUp(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	table := must(in.vault.Table(contactsOfFormats()))(t)
	repos := must(backup.Create(ctx, backup.Config{Key: in.key, Manifests: in.vault.ManifestTagger()}, must(localstore.Open(in.path("backup")))(t)))(t)
	in.repo = repos[0]
	source := must(sqlitesource.New(sqlitesource.Config{
		Name: "db", File: "crm.db", DB: in.db, Strip: map[string][]string{"contacts": {"email_index", "email_wide"}}, Staging: t.TempDir(),
	}))(t)
	counts := in.vault.Counts(in.db, formatTenant, table)
	job := backup.Job{
		Name: "nightly", Repositories: repos, Sources: []backup.Source{source, backup.Folder("files", in.path("files"))}, App: "formats/1",
		Positions: backup.Positions{Keys: in.vault.Position, Ledger: in.desk.LedgerHead, Trail: in.trail.Checkpoint},
		KeyCopy:   in.vault.KeyCopy(in.path("keys")), KeyVersions: counts, Now: in.now,
	}
	result := must(job.RunOnce(ctx))(t)
	in.index["repository"] = map[string]any{
		"folder": "backup", "password": in.key.Password(), "id": in.repo.ID(), "snapshot": result.Snapshot, "manifest": result.Manifest,
		"generations": must(counts(ctx))(t)[formatTenant],
	}
}

// copyKeys names the key copy that covers the snapshot.
func (in *installation) copyKeys(t *testing.T) {
	t.Helper()
	path := must(keycopy.Newest(in.path("keys")))(t)
	in.index["copy"] = "keys/" + filepath.Base(path)
	in.index["erased"] = in.erased
}
