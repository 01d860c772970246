package crmguard_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"database/sql"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/localstore"
	"github.com/crmguard/crmguard/backup/sqlitesource"
	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// The README's table says where each package runs. A cell says "works" when
// its proof below has run, and "not yet" otherwise: nobody can write a
// database into the table by hand, and none can be forgotten there.

var (
	tableRows    = []string{"encryption", "adoption", "accesscontrol", "audit", "backup", "integrity", "privacy", "ledger"}
	tableColumns = []string{"SQLite", "PostgreSQL", "MariaDB", "pgx"}
)

// A proof does a package's main job once on a database. It gets one that holds
// a table contacts with the row c1 of person p1, tenant main, city Bern.
type proof func(t *testing.T, db *sql.DB)

// proofs are by column and row of the table.
func proofs() map[string]map[string]proof {
	return map[string]map[string]proof{"SQLite": {
		"encryption": encryptionOnSQL, "adoption": adoptionOnSQL, "accesscontrol": accesscontrolOnSQL, "audit": auditOnSQL,
		"backup": backupOfSQLite, "integrity": integrityOnSQL, "privacy": privacyOnSQL, "ledger": ledgerOnSQL,
	}, "PostgreSQL": {
		"encryption": encryptionOnSQL, "adoption": adoptionOnSQL, "accesscontrol": accesscontrolOnSQL, "audit": auditOnSQL, "integrity": integrityOnSQL, "privacy": privacyOnSQL, "ledger": ledgerOnSQL,
	}, "MariaDB": {
		"encryption": encryptionOnSQL, "adoption": adoptionOnSQL, "accesscontrol": accesscontrolOnSQL, "audit": auditOnSQL, "integrity": integrityOnSQL, "privacy": privacyOnSQL, "ledger": ledgerOnSQL,
	}, "pgx": {"audit": auditOnPgx}}
}

// opened are the ways to the databases of the table's columns. A column is
// proved on each of its databases.
func opened(t *testing.T, name testdb.Name) *sql.DB {
	t.Helper()
	db := testdb.New(t, name).Open(t)
	table := map[testdb.Name]string{
		testdb.SQLite: `(id TEXT PRIMARY KEY, tenant TEXT NOT NULL, person TEXT NOT NULL, city TEXT NOT NULL, email BLOB, email_idx INTEGER, created INTEGER NOT NULL, seal BLOB) STRICT`,
		testdb.MariaDB: `(id VARBINARY(36) PRIMARY KEY, tenant VARBINARY(36) NOT NULL, person VARBINARY(36) NOT NULL, city VARBINARY(80) NOT NULL,
			email BLOB, email_idx BIGINT, created BIGINT NOT NULL, seal BLOB)`,
	}
	table[testdb.PostgresC] = `(id text PRIMARY KEY, tenant text NOT NULL, person text NOT NULL, city text NOT NULL, email bytea, email_idx bigint, created bigint NOT NULL, seal bytea)`
	table[testdb.PostgresICU] = table[testdb.PostgresC]
	for _, statement := range []string{`CREATE TABLE contacts ` + table[name], `INSERT INTO contacts VALUES ('c1', 'main', 'p1', 'Bern', NULL, NULL, 0, NULL)`} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	return db
}

// databasesOf are the databases of a column of the table.
func databasesOf(column string) []testdb.Name {
	return map[string][]testdb.Name{
		"SQLite": {testdb.SQLite}, "PostgreSQL": {testdb.PostgresC, testdb.PostgresICU}, "MariaDB": {testdb.MariaDB},
		"pgx": {testdb.PostgresC, testdb.PostgresICU},
	}[column]
}

func TestTheReadmesTableOfDatabasesIsTrue(t *testing.T) {
	proved := map[string]bool{}
	for column, byPackage := range proofs() {
		for name, run := range byPackage {
			proved[name+"/"+column] = t.Run(column+"/"+name, func(t *testing.T) {
				for _, database := range databasesOf(column) {
					t.Run(string(database), func(t *testing.T) { run(t, opened(t, database)) })
				}
			})
		}
	}
	require.NotEmpty(t, proved)
	text := readme(t)
	require.Contains(t, text, "| package | "+strings.Join(tableColumns, " | ")+" |\n")
	for _, name := range tableRows {
		row := regexp.MustCompile("(?m)^\\| `" + name + "` \\| (.*) \\|$").FindStringSubmatch(text)
		require.NotNil(t, row, "the table has no row of %s", name)
		cells := strings.Split(row[1], " | ")
		require.Len(t, cells, len(tableColumns))
		for i, column := range tableColumns {
			want := "not yet"
			if proved[name+"/"+column] {
				want = "works"
			}
			require.Equal(t, want, cells[i], "%s, %s", name, column)
		}
	}
}

func encryptionOnSQL(t *testing.T, db *sql.DB) {
	ctx := t.Context()
	require.NoError(t, sqlkeys.Install(ctx, db))
	keys := try(sqlkeys.Open(ctx, db))
	kek := try(insecurekeys.KEK(make([]byte, 32)))
	vault := try(encryption.Create(ctx, encryption.Config{
		Keys: keys, KEK: func(context.Context, string, string) (tink.AEADWithContext, error) { return kek, nil },
	}))
	require.NoError(t, vault.AddTenant(ctx, "main"))
	contacts := try(vault.Table(encryption.Table{
		Name: "contacts", Tenant: "tenant", Owner: "person",
		Columns: []encryption.Column{{Name: "email", Index: []encryption.Index{{Column: "email_idx", As: encryption.Email, Bits: 32}}}},
	}))
	require.NoError(t, contacts.RebuildIndexes(db, "main")(ctx)) // a new index over rows that are there already
	w := try(contacts.Writer(ctx, "main", "p1"))
	bind := try(sqldb.Ask(ctx, db)).Bind
	_, err := db.ExecContext(ctx, bind(`UPDATE contacts SET email = ?, email_idx = ? WHERE id = 'c1'`),
		try(w.Seal("email", []byte("ann@b.example"))), w.Int64("email_idx", "ann@b.example"))
	require.NoError(t, err)

	where, args := try(contacts.Lookup(ctx, "main", "email_idx", "ANN@b.example")).Where("c")
	var sealed []byte
	require.NoError(t, db.QueryRowContext(ctx, bind(`SELECT c.email FROM contacts c WHERE `+where), args...).Scan(&sealed))
	reader := try(contacts.Reader(ctx, "main", "p1"))
	require.Equal(t, "ann@b.example", try(reader.Row("p1", "c1").Text(ctx, "email", sealed)))
	keyVersion := try(vault.NewKeyVersion(ctx, "main"))
	try(contacts.Reseal(ctx, db, "main", jobs.ResealOptions{}))
	require.NoError(t, db.QueryRowContext(ctx, `SELECT email FROM contacts`).Scan(&sealed))
	require.Equal(t, keyVersion, try(sealedvalue.KeyVersion(sealed)))
}

func accesscontrolOnSQL(t *testing.T, db *sql.DB) {
	ctx := t.Context()
	policy := try(accesscontrol.Load(ctx, accesscontrol.Config{
		Files: fstest.MapFS{
			"crm.cedar": {Data: []byte(`@id("bern") permit (principal, action == Action::"contact.read", resource) when { resource.city == "Bern" };`)},
			"crm.cedarschema": {Data: []byte(`entity User; entity Contact { city: String };
				action "contact.read" appliesTo { principal: User, resource: Contact, context: {} };`)},
		},
		Tables: []accesscontrol.Table{{
			Resource: "contact", Entity: "Contact", Name: "contacts", Key: "id", Tenant: "tenant",
			Columns: []accesscontrol.Column{{Attr: "city", Required: true}},
		}},
	}))
	require.NoError(t, policy.CheckSchema(ctx, db))
	count := func(where accesscontrol.Where) (n int) {
		condition, args := where.MySQL("c")
		switch try(sqldb.Ask(ctx, db)).Kind {
		case sqldb.Postgres:
			condition, args = where.Postgres("c", 1)
		case sqldb.SQLite:
			condition, args = where.SQLite("c")
		default:
		}
		require.NoError(t, db.QueryRowContext(ctx, `SELECT count(*) FROM contacts c WHERE `+condition, args...).Scan(&n))
		return n
	}
	rolesOnSQL(t, db, count)
	where := try(policy.Filter(ctx, accesscontrol.Principal{Type: "User", ID: "ann", Tenant: "main"}, "contact.read", "contact"))
	require.Equal(t, 1, count(where))
	_, err := db.ExecContext(ctx, `UPDATE contacts SET city = 'Basel'`)
	require.NoError(t, err)
	require.Zero(t, count(where))
}

func auditOnSQL(t *testing.T, db *sql.DB) {
	ctx := t.Context()
	require.NoError(t, sqltrail.Install(ctx, db))
	vault := encryptiontest.Vault(t, "main")
	skey, vkey, err := audit.GenerateKey("crm.example/audit", 0)
	require.NoError(t, err)
	folder := t.TempDir()
	trail := try(audit.Open(ctx, try(sqltrail.Open(ctx, db)), audit.Config{
		Name: "crm.example/audit", Tenant: "main", Key: skey, Sink: try(tilesink.Open(folder)), Keys: vault.AuditKeys(),
		Fields: map[string][]string{"contact": {"city"}},
	}))
	require.NoError(t, trail.Prepare(ctx, "main", "p1"))
	tx := try(db.BeginTx(ctx, nil))
	_, err = tx.ExecContext(ctx, `UPDATE contacts SET city = 'Basel' WHERE id = 'c1'`)
	require.NoError(t, err)
	try(trail.Record(ctx, tx, audit.Event{
		Tenant: "main", Actor: "u-1", Action: "contact.update", Object: audit.PersonRef("contact", "p1"),
		Changes: audit.Diff("p1", map[string]any{"city": "Bern"}, map[string]any{"city": "Basel"}),
	}))
	require.NoError(t, tx.Commit())
	try(trail.RunOnce(ctx))
	report := try(auditlog.VerifyLog(ctx, os.DirFS(folder), auditlog.Trust{Key: vkey}))
	require.Equal(t, auditlog.Unanchored, report.Verdict)
	require.EqualValues(t, 1, report.Verified-report.Beats)
}

func backupOfSQLite(t *testing.T, db *sql.DB) {
	ctx, dir := t.Context(), t.TempDir()
	tagger := encryptiontest.Vault(t).ManifestTagger()
	store := try(localstore.Open(filepath.Join(dir, "store")))
	repos := try(backup.Create(ctx, backup.Config{Key: backup.NewMachineKey(), Manifests: tagger}, store))
	source := try(sqlitesource.New(sqlitesource.Config{
		Name: "db", File: "crm.db", DB: db, Strip: map[string][]string{"contacts": {"email_idx"}}, Staging: dir,
	}))
	job := backup.Job{Name: "nightly", Repositories: repos, Sources: []backup.Source{source}}
	result := try(job.RunOnce(ctx))
	target := filepath.Join(dir, "restored")
	rebuild := backup.Step{Name: "rebuild", Meets: backup.NeedIndexes, Run: func(context.Context, string) error { return nil }}
	try(repos[0].Restore(ctx, result.Snapshot, target, sqlitesource.VerifyRows("sqlite", tagger), rebuild))
	back := try(sql.Open("sqlite", "file:"+filepath.Join(target, "db", "crm.db")+"?mode=ro"))
	defer back.Close()
	var city string
	require.NoError(t, back.QueryRowContext(ctx, `SELECT city FROM contacts WHERE id = 'c1'`).Scan(&city))
	require.Equal(t, "Bern", city)
}

func integrityOnSQL(t *testing.T, db *sql.DB) {
	ctx := t.Context()
	sealer := try(integrity.NewSealer(encryptiontest.Vault(t, "main").Tagger("seal"),
		integrity.Layout{ID: "contact/1", Columns: []integrity.Column{{Name: "city"}, {Name: "created", Type: integrity.Integer}}}))
	ref := integrity.Ref{Tenant: "main", Table: "contacts", Key: "c1", SchemaID: "contact/1"}
	seal := try(sealer.Seal(ctx, ref, map[string]any{"city": "Bern", "created": int64(0)}))
	dialect := try(sqldb.Ask(ctx, db))
	_, err := db.ExecContext(ctx, dialect.Bind(`UPDATE contacts SET seal = ?`), seal)
	require.NoError(t, err)
	reader := try(integrity.OpenReader(ctx, db))
	verify := func() (err error) {
		rows := try(db.QueryContext(ctx, `SELECT * FROM contacts WHERE id = 'c1'`))
		seen := 0
		for row, rowErr := range reader.Sealed(rows, sealer, integrity.Table{Tenant: "main", Name: "contacts", Key: "id", Seal: "seal"}) {
			require.NoError(t, rowErr)
			err = sealer.Verify(ctx, row)
			seen++
		}
		require.Equal(t, 1, seen)
		return err
	}
	require.NoError(t, verify())
	_, err = db.ExecContext(ctx, `UPDATE contacts SET city = 'Basel'`)
	require.NoError(t, err)
	require.ErrorIs(t, verify(), integrity.ErrTampered)
}

func privacyOnSQL(t *testing.T, db *sql.DB) {
	ctx := t.Context()
	require.NoError(t, privacy.Install(ctx, db))
	dataMap := &datamap.Map{Tenant: "main", Tables: []datamap.Table{{
		Name: "contacts", Key: []string{"id"}, Person: "person", Created: "created", Erase: datamap.Delete,
		Columns: []datamap.Column{
			{Name: "city", Category: "contact.city", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract"},
			{Name: "tenant"},
			{Name: "email", Category: "contact.email", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Sealed: true, Withhold: "sealed"},
			{Name: "email_idx", Category: "contact.email", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Withhold: "blind index"},
			{Name: "seal"},
		},
	}}}
	store := try(sqlstore.Open(ctx, sqlstore.Config{DB: db, Map: dataMap}))
	ledger := try(erasurelog.Open(erasurelog.Config{Medium: erasurelog.Folder(filepath.Join(t.TempDir(), "ledger")), Digests: encryptiontest.Vault(t).LedgerDigests()}))
	require.NoError(t, ledger.Create(ctx))
	desk := try(privacy.Open(ctx, privacy.Config{
		Map: dataMap, DB: db, Ledger: ledger, Database: store,
		Sign: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)), Delay: -1, Lease: -1,
	}))
	require.NoError(t, desk.Ready(ctx))
	plan := try(desk.PlanErasure(ctx, privacy.Request{Tenant: "main", Person: "p1", Reason: "gdpr-17", By: "user/1"}))
	require.NoError(t, desk.Approve(ctx, plan.ID, "user/2"))
	outcome := try(desk.Execute(ctx, plan.ID))
	require.Equal(t, privacy.Done, outcome.State)
	var n int
	require.NoError(t, db.QueryRowContext(ctx, `SELECT count(*) FROM contacts`).Scan(&n))
	require.Zero(t, n)
}
