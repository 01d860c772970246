package privacy_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// root is a ledger root of an installation.
type root struct {
	id  uint32
	key []byte
}

func seqKey(from byte) []byte {
	key := make([]byte, 32)
	for i := range key {
		key[i] = from + byte(i)
	}
	return key
}

// digestsOf is what vault.LedgerDigests offers.
func digestsOf(roots ...root) func(context.Context, string, []byte) ([]uint32, [][]byte, error) {
	return func(_ context.Context, label string, data []byte) ([]uint32, [][]byte, error) {
		var ids []uint32
		var all [][]byte
		for _, r := range roots {
			key, err := hkdf.Key(sha256.New, r.key, nil, string(frame.Join(label)), 32)
			if err != nil {
				return nil, nil, err
			}
			mac := hmac.New(sha256.New, key)
			mac.Write(data)
			ids, all = append(ids, r.id), append(all, mac.Sum(nil))
		}
		return ids, all, nil
	}
}

// keyring stands for the person keys.
type keyring struct {
	mu     sync.Mutex
	keys   map[string][]byte
	broken bool // Erase does nothing
}

var errErased = errors.New("key erased")

func (k *keyring) aead(owner string, create bool) (cipher.AEAD, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.keys[owner]
	if !ok && create {
		key = make([]byte, 32)
		_, _ = rand.Read(key)
		k.keys[owner] = key
	}
	if key == nil {
		return nil, errErased
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (k *keyring) seal(t *testing.T, owner, text string) []byte {
	aead, err := k.aead(owner, true)
	require.NoError(t, err)
	return aead.Seal(nil, nil, []byte(text), nil)
}

func (k *keyring) open(owner string, sealed []byte) (string, error) {
	aead, err := k.aead(owner, false)
	if err != nil {
		return "", err
	}
	plain, err := aead.Open(nil, nil, sealed, nil)
	return string(plain), err
}

func (k *keyring) erase(_ context.Context, _, owner string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.broken {
		k.keys[owner] = nil
	}
	return nil
}

func (k *keyring) left(_ context.Context, _, owner string) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys[owner] != nil {
		return 1, nil
	}
	return 0, nil
}

const ddl = `
CREATE TABLE accounts (id TEXT PRIMARY KEY, name TEXT) STRICT;
CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, country TEXT, account_id TEXT, email BLOB, email_idx INTEGER, created INTEGER) STRICT;
CREATE INDEX contacts_person ON contacts (person);
CREATE TABLE notes (id INTEGER PRIMARY KEY, contact_id TEXT REFERENCES contacts(id), body BLOB) STRICT;
CREATE INDEX notes_contact ON notes (contact_id);
CREATE TABLE invoices (id TEXT PRIMARY KEY, person TEXT, name TEXT, phone TEXT, amount INTEGER, issued INTEGER, created INTEGER) STRICT;
CREATE INDEX invoices_person ON invoices (person);
CREATE TABLE activities (id TEXT PRIMARY KEY, owner TEXT, body BLOB) STRICT;
CREATE TABLE activity_persons (activity_id TEXT, person TEXT, PRIMARY KEY (activity_id, person)) STRICT;
CREATE INDEX activity_persons_person ON activity_persons (person);
CREATE TABLE events (id TEXT, tenant TEXT, action TEXT, attrs TEXT) STRICT;
`

func dataMap() *datamap.Map {
	return &datamap.Map{Tenant: "main", Tables: []datamap.Table{
		{Name: "accounts", Key: []string{"id"}, Columns: []datamap.Column{{Name: "name"}}},
		{Name: "events", Columns: []datamap.Column{{Name: "id"}, {Name: "tenant"}, {Name: "action"}, {Name: "attrs"}}},
		{
			Name: "contacts", Schema: "contact/3", Key: []string{"id"}, Person: "person", Created: "created", Erase: datamap.Delete,
			Columns: []datamap.Column{
				{Name: "country", Category: "contact.country", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Shared: true},
				{Name: "account_id", Shared: true},
				{Name: "email", Category: "contact.email", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Sealed: true},
				{Name: "email_idx", Category: "contact.email", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Withhold: "blind index"},
			},
		},
		{
			Name: "notes", Key: []string{"id"}, Edges: []datamap.Edge{{Columns: []string{"contact_id"}, Table: "contacts"}}, Erase: datamap.Delete,
			Columns: []datamap.Column{{Name: "body", Category: "text", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Sealed: true}},
		},
		{
			Name: "invoices", Key: []string{"id"}, Person: "person", Created: "created", Erase: datamap.Delete,
			Keep: &datamap.Keep{Because: "DE-HGB-257", From: "issued", Years: 10},
			Columns: []datamap.Column{
				{Name: "person", Category: "id", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Erase: datamap.Retain},
				{Name: "name", Category: "name", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Erase: datamap.Retain},
				{Name: "phone", Category: "phone", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Erase: datamap.Null},
				{Name: "amount"},
			},
		},
		{
			Name: "activities", Key: []string{"id"}, Erase: datamap.Delete,
			Link:    &datamap.Link{Table: "activity_persons", Record: "activity_id", Person: "person", Owner: "owner"},
			Columns: []datamap.Column{{Name: "body", Category: "text", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Sealed: true, Everyone: true}},
		},
	}}
}

// system is a small application around a desk.
type system struct {
	t      *testing.T
	dir    string
	on     sqldb.Dialect
	saved  map[string][]savedTable // snapshots of a database that is no file
	now    time.Time
	db     *sql.DB
	keys   *keyring
	roots  []root
	key    ed25519.PrivateKey
	fuse   *fuse
	ledger *erasurelog.Log
	desk   *privacy.Desk
	cfg    privacy.Config
	anchor []byte // head kept elsewhere
}

// fuse blows at the n-th call from outside; 0 never.
type fuse struct{ left int }

var errBlown = errors.New("blown: Canary Personalname")

func (f *fuse) blow() error {
	if f.left > 0 {
		if f.left--; f.left == 0 {
			return errBlown
		}
	}
	return nil
}

func dsn(path string) string {
	return "file:" + path + "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=secure_delete(1)&_pragma=foreign_keys(1)"
}

func openDB(t testing.TB, path string) *sql.DB {
	db, err := sql.Open("sqlite", dsn(path))
	require.NoError(t, err)
	db.SetMaxOpenConns(1) // nothing may need a second connection
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func newSystem(t *testing.T) *system {
	dir := t.TempDir()
	return newSystemOn(t, dir, openDB(t, filepath.Join(dir, "crm.db")))
}

func newSystemOn(t *testing.T, dir string, db *sql.DB) *system {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	s := &system{
		t: t, dir: dir, db: db, saved: map[string][]savedTable{}, now: time.Now().UTC().Truncate(time.Microsecond), key: key,
		keys: &keyring{keys: map[string][]byte{}}, roots: []root{{0x01020304, seqKey(0)}}, fuse: &fuse{},
	}
	s.on, err = sqldb.Ask(t.Context(), db)
	require.NoError(t, err)
	s.create()
	require.NoError(t, privacy.Install(t.Context(), s.db))
	s.open()
	require.NoError(t, s.ledger.Create(t.Context()))
	require.NoError(t, s.desk.Ready(t.Context()))
	return s
}

func (s *system) dbPath() string    { return filepath.Join(s.dir, "crm.db") }
func (s *system) ledgerDir() string { return filepath.Join(s.dir, "ledger") }

// open builds store, ledger and desk anew, as a restarted process would.
func (s *system) open() { s.openWith(dataMap()) }

// openWith opens a desk with the map, and with every table that it does not
// name as one that holds nothing about persons.
func (s *system) openWith(m *datamap.Map) {
	m = s.whole(m)
	t := s.t
	var err error
	digests := digestsOf(s.roots...)
	s.ledger, err = erasurelog.Open(erasurelog.Config{
		Medium: erasurelog.Folder(s.ledgerDir()),
		Digests: func(ctx context.Context, label string, data []byte) ([]uint32, [][]byte, error) {
			if err := s.fuse.blow(); err != nil {
				return nil, nil, err
			}
			return digests(ctx, label, data)
		},
		Anchors: []erasurelog.Anchor{{Name: "kept elsewhere", Head: func(context.Context) ([]byte, error) { return s.anchor, nil }}},
		Now:     func() time.Time { return s.now },
	})
	require.NoError(t, err)
	store, err := sqlstore.Open(t.Context(), sqlstore.Config{Name: "crm", DB: s.db, Map: m, Redact: s.redact, EraseOwner: s.keys.erase, Open: s.opened})
	require.NoError(t, err)
	s.cfg = privacy.Config{
		Map: m, DB: s.db, Ledger: s.ledger,
		Database: fused{store, s.fuse}, Stores: []datastore.Store{datastore.Func{Name: "person keys", Class: datastore.Shredded, Erase: s.eraseKeys, Remaining: s.keys.left}.Store()},
		Sign: s.key, Record: s.record, Now: func() time.Time { return s.now },
		Note: func(ctx context.Context, tenant, action string, attrs ...slog.Attr) error {
			return s.record(ctx, s.db, tenant, action, attrs...)
		},
		Open: func(_ context.Context, _, owner, _, _, _ string, sealed []byte) (any, error) {
			return s.keys.open(owner, sealed)
		},
		NotCovered: []string{"mail already sent"},
	}
	s.reopen()
}

// reopen builds the desk from the changed configuration.
func (s *system) reopen() {
	var err error
	s.desk, err = privacy.Open(s.t.Context(), s.cfg)
	require.NoError(s.t, err)
}

func (s *system) eraseKeys(ctx context.Context, tenant, person string) error {
	if err := s.fuse.blow(); err != nil {
		return err
	}
	return s.keys.erase(ctx, tenant, person)
}

func (s *system) record(ctx context.Context, tx datastore.Tx, tenant, action string, attrs ...slog.Attr) error {
	if err := s.fuse.blow(); err != nil {
		return err
	}
	var text []string
	id := ""
	for _, a := range attrs {
		if !slices.Contains([]string{"id", "object", "reason", "outcome", "digest", "count"}, a.Key) {
			return errors.New("an attribute that a trail refuses")
		}
		text = append(text, a.String())
		if a.Key == "id" {
			id = a.Value.String()
		}
	}
	_, err := tx.ExecContext(ctx, s.on.Bind(`INSERT INTO events VALUES (?, ?, ?, ?)`), id, tenant, action, strings.Join(text, " "))
	return err
}

// redact reseals a joint text for a new owner without the erased person.
func (s *system) redact(_ context.Context, r sqlstore.JointRow) (sqlstore.Redaction, error) {
	if err := s.fuse.blow(); err != nil {
		return sqlstore.Redaction{}, err
	}
	var body []byte
	if err := s.db.QueryRow(s.on.Bind(`SELECT body FROM activities WHERE id = ?`), r.Key).Scan(&body); err != nil {
		return sqlstore.Redaction{}, err
	}
	text, err := s.keys.open(r.Owner, body)
	if err != nil {
		text = "[unreadable since a redaction]"
	}
	text = strings.ReplaceAll(text, r.Person, datamap.RedactedText)
	owner := "r:" + uuid.NewString()
	sealed := s.keys.seal(s.t, owner, text)
	return sqlstore.Redaction{Retire: []string{r.Owner}, Apply: func(ctx context.Context, tx datastore.Tx) error {
		_, err := tx.ExecContext(ctx, s.on.Bind(`UPDATE activities SET owner = ?, body = ? WHERE id = ?`), owner, sealed, r.Key)
		return err
	}}, nil
}

// fused blows before and after each call of a store.
type fused struct {
	*sqlstore.Store
	fuse *fuse
}

func (f fused) Find(ctx context.Context, scope datastore.Scope) ([]datastore.Row, error) {
	if err := f.fuse.blow(); err != nil {
		return nil, err
	}
	return f.Store.Find(ctx, scope)
}

func (f fused) Rehearse(ctx context.Context, scopes []datastore.Scope) ([]datastore.Row, error) {
	if err := f.fuse.blow(); err != nil {
		return nil, err
	}
	return f.Store.Rehearse(ctx, scopes)
}

func (f fused) Erase(ctx context.Context, scope datastore.Scope, found []datastore.Row) error {
	if err := f.fuse.blow(); err != nil {
		return err
	}
	return errors.Join(f.Store.Erase(ctx, scope, found), f.fuse.blow())
}

func (f fused) EraseIn(ctx context.Context, scopes []datastore.Scope, last func(context.Context, datastore.Tx, []datastore.Row) error) error {
	if err := f.fuse.blow(); err != nil {
		return err
	}
	err := f.Store.EraseIn(ctx, scopes, func(ctx context.Context, tx datastore.Tx, found []datastore.Row) error {
		return errors.Join(f.fuse.blow(), last(ctx, tx, found), f.fuse.blow())
	})
	return errors.Join(err, f.fuse.blow())
}

func (f fused) Remaining(ctx context.Context, scope datastore.Scope, found []datastore.Row) (int, error) {
	if err := f.fuse.blow(); err != nil {
		return 0, err
	}
	return f.Store.Remaining(ctx, scope, found)
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func (s *system) exec(query string, args ...any) {
	_, err := s.db.ExecContext(s.t.Context(), s.on.Bind(query), args...)
	require.NoError(s.t, err)
}

func (s *system) count(query string, args ...any) int {
	var n int
	require.NoError(s.t, s.db.QueryRowContext(s.t.Context(), s.on.Bind(query), args...).Scan(&n))
	return n
}

// contact adds a person with a contact and a note, and returns the person id.
func (s *system) contact(email string) string {
	person, id := newID(), newID()
	s.contactOf(person, id, email)
	s.exec(`INSERT INTO notes (contact_id, body) VALUES (?, ?)`, id, s.keys.seal(s.t, person, "note about "+email))
	return person
}

func (s *system) contactOf(person, id, email string) {
	s.exec(`INSERT INTO contacts VALUES (?, ?, 'CH', NULL, ?, 7, ?)`, id, person, s.keys.seal(s.t, person, email), s.now.UnixMicro())
}

// activity adds a text about the persons.
func (s *system) activity(text string, persons ...string) string {
	id, owner := newID(), persons[0]
	if len(persons) > 1 {
		owner = "r:" + uuid.NewString()
	}
	s.exec(`INSERT INTO activities VALUES (?, ?, ?)`, id, owner, s.keys.seal(s.t, owner, text))
	for _, p := range persons {
		s.exec(`INSERT INTO activity_persons VALUES (?, ?)`, id, p)
	}
	return id
}

func (s *system) invoice(person string, issued time.Time) string {
	id := newID()
	s.exec(`INSERT INTO invoices VALUES (?, ?, 'Ann Example', '+41 44 000 00 00', 100, ?, ?)`, id, person, issued.UnixMicro(), s.now.UnixMicro())
	return id
}

// approved plans and approves an erasure and moves the clock past the delay.
func (s *system) approved(person string) *privacy.Plan {
	p, err := s.desk.PlanErasure(s.t.Context(), privacy.Request{Tenant: "main", Person: person, Reason: "gdpr-17", By: "user/1"})
	require.NoError(s.t, err)
	require.NoError(s.t, s.desk.Approve(s.t.Context(), p.ID, "user/2"))
	s.now = s.now.Add(25 * time.Hour)
	return p
}

// erase carries an erasure through to its certificate.
func (s *system) erase(person string) privacy.Outcome {
	p := s.approved(person)
	o, err := s.desk.Execute(s.t.Context(), p.ID)
	require.NoError(s.t, err)
	require.Equal(s.t, privacy.Waiting, o.State)
	s.now = s.now.Add(6 * time.Second)
	o, err = s.desk.Execute(s.t.Context(), p.ID)
	require.NoError(s.t, err)
	require.Equal(s.t, privacy.Done, o.State, "%+v", o.Stores)
	return o
}

// snapshot copies the database file as a backup tool would.
func (s *system) snapshot() string {
	if s.on.Kind != sqldb.SQLite {
		return s.save()
	}
	s.exec(`PRAGMA wal_checkpoint(TRUNCATE)`)
	data, err := os.ReadFile(s.dbPath())
	require.NoError(s.t, err)
	path := filepath.Join(s.t.TempDir(), "backup.db")
	require.NoError(s.t, os.WriteFile(path, data, 0o600))
	return path
}

// restore puts a snapshot back and restarts.
func (s *system) restore(path string) {
	if tables, ok := s.saved[path]; ok {
		s.putBack(tables)
		return
	}
	require.NoError(s.t, s.db.Close())
	for _, suffix := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(s.dbPath() + suffix)
	}
	data, err := os.ReadFile(path)
	require.NoError(s.t, err)
	require.NoError(s.t, os.WriteFile(s.dbPath(), data, 0o600))
	s.db = openDB(s.t, s.dbPath())
	s.open()
}

// digestDir is the content of a folder, for "left as it was".
func digestDir(t *testing.T, dir string) string {
	h := sha256.New()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		h.Write(frame.Join([]byte(path), data))
		return err
	}))
	return string(h.Sum(nil))
}
