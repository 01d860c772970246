package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"database/sql"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/localstore"
	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// crm is the application: what a server would hold between its start and its
// end, and what the tour remembers from one step to the next.
type crm struct {
	settings settings
	dir      string
	out      *screen
	source   *source        // the file of contacts
	figures  map[string]int // of the running step, for report.json
	missing  []notShown     // and what it could not show
	clock    *clock

	// Keys.
	keks      *keks
	keyDB     *sql.DB
	vault     *encryption.Vault
	machine   backup.MachineKey   // opens the repositories
	exportKey *age.X25519Identity // opens exports; a person's own in real life
	certKey   ed25519.PrivateKey  // signs erasure certificates
	signKey   string              // signs checkpoints of the audit trail
	logKey    string              // and verifies them

	// The declared tables, rules and policy.
	contacts, deals, activities, attachments *encryption.SealedTable
	sealer                                   *integrity.Sealer
	policy                                   *accesscontrol.Policy

	// Stores outside the database.
	ledger *erasurelog.Log
	repos  []*backup.Repository

	live *live
	memory
}

// live is the running database with what stands on it. A disaster ends it; a
// restore begins another one.
type live struct {
	dir   string // crm.db and attachments/ are in it
	db    *sql.DB
	trail *audit.Trail
	desk  *privacy.Desk
}

// path names a file or folder below the folder of the run.
func (c *crm) path(elements ...string) string {
	return filepath.Join(append([]string{c.dir}, elements...)...)
}

// newCRM sets up an installation in an empty folder.
func newCRM(ctx context.Context, s settings, dir string, out *screen) (*crm, error) {
	c := &crm{settings: s, dir: dir, out: out, source: s.source, clock: &clock{began: time.Now()}, figures: map[string]int{}}
	if c.source == nil {
		var err error
		if c.source, err = findSource(ctx, s.contacts); err != nil {
			return nil, err
		}
	}
	for _, folder := range []string{"live/attachments", "keys", "keycopy", "audit", "kept", "backup", "export", "ledger"} {
		if err := os.MkdirAll(c.path(folder), 0o700); err != nil {
			return nil, err
		}
	}
	for _, set := range []func(context.Context) error{c.setUpKeys, c.setUpRules, c.setUpStores} {
		if err := set(ctx); err != nil {
			return nil, err
		}
	}
	db, err := openDatabase(c.path("live", "crm.db"))
	if err != nil {
		return nil, err
	}
	if err := installTables(ctx, db); err != nil {
		return nil, err
	}
	c.live, err = c.serve(ctx, c.path("live"), db)
	return c, err
}

// setUpKeys makes the KEK, the key store on its own database, and the keys of
// the installation.
func (c *crm) setUpKeys(ctx context.Context) error {
	var err error
	c.keks = newKEKs(c.path("keys", "kek"))
	if err := c.keks.create(encryption.DefaultKEK); err != nil {
		return err
	}
	if c.keyDB, err = openDatabase(c.path("keys", "keys.db")); err != nil {
		return err
	}
	if err := sqlkeys.Install(ctx, c.keyDB); err != nil {
		return err
	}
	store, err := sqlkeys.Open(ctx, c.keyDB)
	if err != nil {
		return err
	}
	if c.vault, err = encryption.Create(ctx, c.vaultConfig(store)); err != nil {
		return err
	}
	if err := c.vault.AddTenant(ctx, tenant); err != nil {
		return err
	}
	c.machine = backup.NewMachineKey()
	if err := keep(c.path("keys", "repository-password"), []byte(c.machine.Password())); err != nil {
		return err
	}
	if c.exportKey, err = age.GenerateX25519Identity(); err != nil {
		return err
	}
	if err := keep(c.path("keys", "export-identity.txt"), []byte(c.exportKey.String()+"\n")); err != nil {
		return err
	}
	return c.setUpSigners()
}

func (c *crm) vaultConfig(store *sqlkeys.Store) encryption.Config {
	return encryption.Config{Keys: store, KEK: c.keks.get, Now: c.clock.now, Wait: c.clock.wait}
}

// setUpSigners makes the key of the audit trail and that of certificates.
func (c *crm) setUpSigners() error {
	private, public, err := audit.GenerateKey(logName, 0)
	if err != nil {
		return err
	}
	c.signKey, c.logKey = private, public
	if err := keep(c.path("audit", "log.vkey"), []byte(public+"\n")); err != nil {
		return err
	}
	certPublic, certPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	c.certKey = certPrivate
	der, err := x509.MarshalPKIXPublicKey(certPublic)
	if err != nil {
		return err
	}
	return keep(c.path("certificate.pub.pem"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// setUpRules declares what is sealed, what a row seal covers, and who may do
// what.
func (c *crm) setUpRules(ctx context.Context) error {
	if err := c.sealedTables(); err != nil {
		return err
	}
	var err error
	if c.sealer, err = integrity.NewSealer(c.vault.Tagger("seal"), contactLayout()); err != nil {
		return err
	}
	c.policy, err = accesscontrol.Load(ctx, policyConfig())
	return err
}

// setUpStores makes what must survive the database: the erasure ledger and two
// repositories with identical bytes.
func (c *crm) setUpStores(ctx context.Context) error {
	var err error
	c.ledger, err = erasurelog.Open(erasurelog.Config{
		Medium: erasurelog.Folder(c.path("ledger")), Now: c.clock.now, Digests: c.vault.LedgerDigests(),
		Anchors: []erasurelog.Anchor{{Name: "audit trail", Head: c.anchoredLedgerHead}},
	})
	if err != nil {
		return err
	}
	if err := c.ledger.Create(ctx); err != nil {
		return err
	}
	var stores []backup.Store
	for _, name := range []string{"a", "b"} {
		store, err := localstore.Open(c.path("backup", name))
		if err != nil {
			return err
		}
		stores = append(stores, store)
	}
	c.repos, err = backup.Create(ctx, c.repositoryConfig(), stores...)
	return err
}

func (c *crm) repositoryConfig() backup.Config {
	return backup.Config{Key: c.machine, Manifests: c.vault.ManifestTagger(), Now: c.clock.now}
}

// serve opens the trail and the desk on a database.
func (c *crm) serve(ctx context.Context, dir string, db *sql.DB) (*live, error) {
	l := &live{dir: dir, db: db}
	var err error
	if l.trail, err = c.openTrail(ctx, db, c.path("audit", "log")); err != nil {
		return nil, err
	}
	l.desk, err = c.openDesk(ctx, l)
	return l, err
}

// openTrail opens the audit trail of a database, published into a folder.
func (c *crm) openTrail(ctx context.Context, db *sql.DB, folder string) (*audit.Trail, error) {
	store, err := sqltrail.Open(ctx, db)
	if err != nil {
		return nil, err
	}
	sink, err := c.sink(folder)
	if err != nil {
		return nil, err
	}
	return audit.Open(ctx, store, audit.Config{
		Name: logName, Tenant: tenant, Key: c.signKey, Sink: sink, Keys: c.vault.AuditKeys(),
		Fields: map[string][]string{
			"contact": append(sealedFields(), "owner"),
			"deal":    {"subject", "stage"}, "activity": {"body"}, "attachment": {"file"},
		},
		PersonKinds: []string{"contact"}, From: caller,
		Kept: c.keptCheckpoint, Now: c.clock.now,
		Heads: audit.Heads{
			Ledger: audit.HeadOf(c.ledger.Head), Keys: audit.HeadOf(c.vault.Head),
			Seals: c.sealsHead, Snapshots: c.snapshotsHead,
		},
	})
}

func (c *crm) sink(folder string) (audit.Sink, error) { return tilesink.Open(folder) }

// keptCheckpoint is the checkpoint kept in another administrative domain.
func (c *crm) keptCheckpoint(context.Context) ([]byte, error) {
	kept, err := os.ReadFile(c.path("kept", "checkpoint"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return kept, err
}

// publish sequences what was recorded, signs, and hands the checkpoint to the
// other administrative domain.
func (c *crm) publish(ctx context.Context) error {
	if _, err := c.live.trail.RunOnce(ctx); err != nil {
		return err
	}
	checkpoint, err := c.live.trail.Checkpoint(ctx)
	if err != nil {
		return err
	}
	return keep(c.path("kept", "checkpoint"), checkpoint)
}

func (c *crm) close() error {
	var errs []error
	if c.live != nil && c.live.db != nil {
		errs = append(errs, c.live.db.Close())
	}
	return errors.Join(append(errs, c.keyDB.Close())...)
}

// now is the time in microseconds, as the tables hold it.
func (c *crm) now() int64 { return c.clock.now().UnixMicro() }

// logName is the name of the audit log; its origin is logName/0.
const logName = "crm.example/audit"

// window is the longest life of a key copy.
const window = 7 * 24 * time.Hour
