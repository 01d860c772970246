package encryption_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/encryption/streams"
)

const examplePragmas = "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=secure_delete(1)"

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// kekFor stands for a KMS.
func kekFor(_ context.Context, tenant, kek string) (tink.AEADWithContext, error) {
	return insecurekeys.KEK(fmt.Appendf(nil, "%-32.32s", tenant+"/"+kek))
}

// exampleVault does not wait for leases: nobody else uses its keys.
func exampleVault() *encryption.Vault {
	noWait := func(context.Context, time.Duration) error { return nil }
	vault := must(encryption.Create(context.Background(), encryption.Config{Keys: encryptiontest.Keys(), KEK: kekFor, Wait: noWait}))
	if err := vault.AddTenant(context.Background(), "main"); err != nil {
		log.Fatal(err)
	}
	return vault
}

func exampleContacts(vault *encryption.Vault) *encryption.SealedTable {
	return must(vault.Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{
		{Name: "email", Find: encryption.Email}, // in a column email_idx
		{Name: "notes"},
	}}))
}

func exampleDB() (*sql.DB, func()) {
	dir := must(os.MkdirTemp("", "example"))
	db := must(sql.Open("sqlite", "file:"+filepath.Join(dir, "crm.db")+examplePragmas))
	must(db.Exec(`CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT NOT NULL, email BLOB, notes BLOB, email_idx INTEGER) STRICT`))
	return db, func() { _ = db.Close(); _ = os.RemoveAll(dir) }
}

// The first start of an installation, and every other one.
func Example() {
	// must, examplePragmas and kekFor stand in example_test.go.
	ctx := context.Background()
	dir := must(os.MkdirTemp("", "keys"))
	defer func() { _ = os.RemoveAll(dir) }()
	db := must(sql.Open("sqlite", "file:"+filepath.Join(dir, "keys.db")+examplePragmas))
	defer func() { _ = db.Close() }()

	if err := sqlkeys.Install(ctx, db); err != nil {
		log.Fatal(err)
	}
	store := must(sqlkeys.Open(ctx, db))
	config := encryption.Config{Keys: store, KEK: kekFor}
	_, err := encryption.Open(ctx, config)
	fmt.Println(errors.Is(err, encryption.ErrEmpty)) // a lost file must not become a new installation
	vault := must(encryption.Create(ctx, config))
	fmt.Println(vault.AddTenant(ctx, "main"))
	_, err = encryption.Open(ctx, config)
	fmt.Println(err)
	// Output:
	// true
	// <nil>
	// <nil>
}

func ExampleSealedTable_Writer() {
	// exampleVault, exampleContacts, exampleDB and must stand in example_test.go.
	ctx := context.Background()
	vault := exampleVault()
	contacts := exampleContacts(vault)
	db, closeDB := exampleDB()
	defer closeDB()

	w, err := contacts.Writer(ctx, "main", "p1") // the only key fetch; before the transaction
	if err != nil {
		log.Fatal(err)
	}
	_, err = db.ExecContext(ctx, `INSERT INTO contacts (id, person, email, email_idx) VALUES (?, ?, ?, ?)`,
		"c1", "p1", w.Text("email", "Ann@b.example"), w.Int64("email_idx", "Ann@b.example"))
	fmt.Println(err)

	probes := must(contacts.Lookup(ctx, "main", "email_idx", "ann@B.example"))
	where, args := probes.Where("")
	var email encryption.Sealed
	fmt.Println(db.QueryRowContext(ctx, `SELECT email FROM contacts WHERE `+where, args...).Scan(&email))
	r := must(contacts.Reader(ctx, "main", "p1"))
	fmt.Println(r.Row("p1", "c1").Text(ctx, "email", email.Bytes()))
	// Output:
	// <nil>
	// <nil>
	// Ann@b.example <nil>
}

func ExampleOpenAll() {
	// exampleVault, exampleContacts, row and must stand in example_test.go.
	ctx := context.Background()
	vault := exampleVault()
	contacts := exampleContacts(vault)
	var rows []*row
	for _, person := range []string{"p1", "p2"} {
		w := must(contacts.Writer(ctx, "main", person))
		rows = append(rows, &row{person: person, sealed: w.Text("email", person+"@b.example")})
	}
	must(vault.Erase(ctx, "main", "p2"))

	err := encryption.OpenAll(ctx, contacts, "main", rows) // one key query for the page
	fmt.Println(rows[0].Email)
	fmt.Println(errors.Is(err, encryption.ErrErased), err)
	// Output:
	// p1@b.example
	// true encryption: 1 row did not open: 1 erased (ErrErased)
}

type row struct {
	person string
	sealed encryption.Sealed
	Email  string
}

func (r *row) SealedCells() (owner, id string, cells []encryption.Cell) {
	return r.person, "", []encryption.Cell{{Column: "email", Sealed: r.sealed.Bytes(), Text: &r.Email}}
}

func ExampleSealedTable_Reseal() {
	// exampleVault, exampleContacts, exampleDB and must stand in example_test.go.
	ctx := context.Background()
	vault := exampleVault()
	contacts := exampleContacts(vault)
	db, closeDB := exampleDB()
	defer closeDB()
	w := must(contacts.Writer(ctx, "main", "p1"))
	must(db.ExecContext(ctx, `INSERT INTO contacts (id, person, email) VALUES ('c1', 'p1', ?)`, w.Text("email", "a@b.example")))
	old := must(vault.KeyVersions(ctx, "main"))[0].KeyVersion

	must(vault.NewKeyVersion(ctx, "main"))
	err := vault.DestroyKeyVersion(ctx, "main", old, contacts.Holder(db))
	fmt.Println(errors.Is(err, encryption.ErrInUse))
	report := must(contacts.Reseal(ctx, db, "main", jobs.ResealOptions{}))
	census := must(contacts.Census(ctx, db, "main"))
	fmt.Println(report.Cells, census.KeyVersions[old])
	fmt.Println(vault.DestroyKeyVersion(ctx, "main", old, contacts.Holder(db)))
	// Output:
	// true
	// 1 0
	// <nil>
}

func ExampleVault_Erase() {
	// exampleVault, exampleContacts and must stand in example_test.go.
	ctx := context.Background()
	vault := exampleVault()
	contacts := exampleContacts(vault)
	must(contacts.Writer(ctx, "main", "p1"))

	fmt.Println(len(must(vault.WrappedKeys(ctx, "main", "p1"))))
	receipt := must(vault.Erase(ctx, "main", "p1"))
	fmt.Println(receipt.Owners, receipt.Keys)
	_, err := contacts.Writer(ctx, "main", "p1")
	fmt.Println(errors.Is(err, encryption.ErrErased))
	// Output:
	// 1
	// 1 1
	// true
}

func ExampleVault_AddAlias() {
	// exampleVault and must stand in example_test.go.
	ctx := context.Background()
	vault := exampleVault()
	fmt.Println(vault.AddAlias(ctx, "main", "p17", "p12"))
	receipt := must(vault.Erase(ctx, "main", "p12"))
	fmt.Println(receipt.Owners)
	// Output:
	// <nil>
	// 2
}

func ExampleVault_Aliases() {
	// exampleVault and must stand in example_test.go.
	ctx := context.Background()
	vault := exampleVault()
	fmt.Println(vault.AddAlias(ctx, "main", "p17", "p12"), vault.AddAlias(ctx, "main", "p18", "p12"))
	fmt.Println(must(vault.Aliases(ctx, "main", "p17")))
	receipt := must(vault.Erase(ctx, "main", "p17"))
	fmt.Println(receipt.Owners)
	// Output:
	// <nil> <nil>
	// [p12 p18]
	// 3
}

func ExampleVault_RewrapKeys() {
	// exampleVault, exampleContacts, must and kekFor stand in example_test.go.
	ctx := context.Background()
	vault := exampleVault()
	contacts := exampleContacts(vault)
	must(contacts.Writer(ctx, "main", "p1"))
	dir := must(os.MkdirTemp("", "keycopy"))
	defer func() { _ = os.RemoveAll(dir) }()

	position := must(vault.Position(ctx))
	fmt.Println(vault.KeyCopy(dir)(ctx, position)) // a data snapshot may commit now
	report := must(vault.RewrapKeys(ctx, keycopy.Rewrap{KEK: "kek-2", Copy: vault.Copier(dir)}))
	fmt.Println(report.Epoch, report.Rewrapped, report.Old)

	path := must(keycopy.Newest(dir))
	restored := must(encryption.RestoreCopy(ctx, encryption.Config{Keys: encryptiontest.Keys(), KEK: kekFor}, path, position))
	fmt.Println(must(restored.Inventory(ctx)).KEK)
	// Output:
	// <nil>
	// 2 1 [kek-1]
	// kek-2
}

func ExampleSealedTable_SealStream() {
	// must and exampleVault stand in example_test.go.
	ctx := context.Background()
	files := must(exampleVault().Table(encryption.Table{Name: "attachments", Columns: []encryption.Column{{Name: "content", Stream: true}}}))
	ref := streams.Ref{Tenant: "main", Owner: "p1", Column: "content", Row: "f1"}
	var sealed bytes.Buffer
	fmt.Println(files.SealStream(ctx, &sealed, ref, "offer.txt", 5, strings.NewReader("hello")))
	stream := must(files.OpenStream(ctx, &sealed, ref))
	content := must(io.ReadAll(stream))
	fmt.Println(stream.Name, stream.Size, string(content))
	// Output:
	// <nil>
	// offer.txt 5 hello
}

func ExampleVault_PersonSealer() {
	// exampleVault and must stand in example_test.go.
	ctx := context.Background()
	vault := exampleVault()
	sealer := vault.PersonSealer("opening")
	fmt.Println(sealer.Ensure(ctx, "main", "p1")) // before the transaction
	sealed := must(sealer.Seal(ctx, "main", "p1", []byte("was: Ann"), []byte("event 1")))
	fmt.Println(string(must(sealer.Open(ctx, "main", "p1", sealed, []byte("event 1")))))
	// Output:
	// <nil>
	// was: Ann
}

func ExampleVault_Tagger() {
	// exampleVault and must stand in example_test.go.
	ctx := context.Background()
	seal := exampleVault().Tagger("seal")
	tag := must(seal.Tag(ctx, "main", []byte("row")))
	fmt.Println(len(tag), seal.Verify(ctx, "main", []byte("row"), tag), seal.Verify(ctx, "main", []byte("raw"), tag))
	// Output: 37 <nil> encryption: tag does not verify
}

func ExampleVault_AuditKeys() {
	// exampleVault and must stand in example_test.go.
	ctx := context.Background()
	keys := exampleVault().AuditKeys()                                            // for the configuration of a trail, which then does what follows
	fmt.Println(keys.Prepare(ctx, "main", "p1"))                                  // before the transaction
	info := append(lp("crmguard/audit/queue-key/v2"), lp("crm.example/audit")...) // what the key is for
	keyIDs, macKeys, err := keys.MACKeys(ctx, "main", info)
	fmt.Println(len(keyIDs), len(macKeys[0]), err)
	tag := must(keys.Tag(ctx, "main", []byte("leaf")))
	fmt.Println(binary.BigEndian.Uint32(tag[1:]) == keyIDs[0]) // one id for both
	// Output:
	// <nil>
	// 1 32 <nil>
	// true
}

// lp is LP of formats.md: four bytes of length, and the text.
func lp(text string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
}

func ExampleSealedTable_RebuildIndexes() {
	// exampleVault, exampleContacts, exampleDB and must stand in example_test.go.
	ctx := context.Background()
	vault := exampleVault()
	contacts := exampleContacts(vault)
	db, closeDB := exampleDB()
	defer closeDB()
	w := must(contacts.Writer(ctx, "main", "p1"))
	must(db.ExecContext(ctx, `INSERT INTO contacts (id, person, email) VALUES ('c1', 'p1', ?)`, w.Text("email", "a@b.example"))) // restored without its index
	fmt.Println(contacts.RebuildIndexes(db, "main")(ctx))
	var n int
	fmt.Println(db.QueryRowContext(ctx, `SELECT COUNT(email_idx) FROM contacts`).Scan(&n), n)
	// Output:
	// <nil>
	// <nil> 1
}

func ExampleSealedTable_Redact() {
	// exampleVault, exampleContacts, exampleDB and must stand in example_test.go.
	ctx := context.Background()
	vault := exampleVault()
	contacts := exampleContacts(vault)
	db, closeDB := exampleDB()
	defer closeDB()
	owner := must(encryption.NewRecordOwner())
	w := must(contacts.RecordWriter(ctx, "main", owner))
	must(db.ExecContext(ctx, `INSERT INTO contacts (id, person, notes) VALUES ('a1', ?, ?)`, owner, w.Text("notes", "Ann met Bob")))

	fresh := must(contacts.Redact(ctx, db, "main", "a1", jobs.Redaction{Edit: func(_ string, text []byte) ([]byte, error) {
		return bytes.ReplaceAll(text, []byte("Ann"), []byte("…")), nil
	}}))
	var notes encryption.Sealed
	fmt.Println(db.QueryRowContext(ctx, `SELECT notes FROM contacts WHERE person = ?`, fresh).Scan(&notes))
	r := must(contacts.Reader(ctx, "main", fresh))
	fmt.Println(r.Row(fresh, "a1").Text(ctx, "notes", notes.Bytes()))
	// Output:
	// <nil>
	// … met Bob <nil>
}

func ExampleVault_LedgerDigests() {
	// exampleVault stands in example_test.go.
	roots, digests, err := exampleVault().LedgerDigests()(context.Background(), "crmguard/ledger/digest/v1", []byte("id"))
	fmt.Println(len(roots), len(digests[0]), err)
	// Output: 1 32 <nil>
}
