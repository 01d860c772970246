package privacy_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/killtest"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/certificate"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// office is an application over files: a database, person keys of a file each,
// and the ledger, as each of its processes opens them.
type office struct {
	t      *testing.T
	dir    string
	db     *sql.DB
	ledger *erasurelog.Log
	desk   *privacy.Desk
	step   func() // before and after what a store of keys does
}

func officeKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(seqKey(7)) }

func (o *office) keyFile(person string) string { return filepath.Join(o.dir, "keys", person) }

// eraseKey removes a key file, durably enough for a process that is killed.
func (o *office) eraseKey(_ context.Context, _, person string) error {
	o.step()
	defer o.step()
	if err := os.Remove(o.keyFile(person)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (o *office) keyLeft(_ context.Context, _, person string) (int, error) {
	if _, err := os.Stat(o.keyFile(person)); !errors.Is(err, fs.ErrNotExist) {
		return 1, err
	}
	return 0, nil
}

// speaking says when a store begins and ends to erase, and was read back.
type speaking struct{ *sqlstore.Store }

func (s speaking) Erase(ctx context.Context, scope datastore.Scope, found []datastore.Row) error {
	killtest.Say("erase")
	defer killtest.Say("erased")
	return s.Store.Erase(ctx, scope, found)
}

func (s speaking) EraseIn(ctx context.Context, scopes []datastore.Scope, last func(context.Context, datastore.Tx, []datastore.Row) error) error {
	killtest.Say("erase")
	defer killtest.Say("erased")
	return s.Store.EraseIn(ctx, scopes, func(ctx context.Context, tx datastore.Tx, found []datastore.Row) error {
		defer killtest.Say("commit")
		return last(ctx, tx, found)
	})
}

func (s speaking) Remaining(ctx context.Context, scope datastore.Scope, found []datastore.Row) (int, error) {
	defer killtest.Say("read back")
	return s.Store.Remaining(ctx, scope, found)
}

func openOffice(t *testing.T, dir string) *office {
	t.Helper()
	return officeOver(t, dir, openDB(t, filepath.Join(dir, "crm.db")), func() {})
}

func officeOver(t *testing.T, dir string, db *sql.DB, step func()) *office {
	t.Helper()
	o := &office{t: t, dir: dir, db: db, step: step}
	require.NoError(t, privacy.Install(t.Context(), o.db))
	var err error
	digests := digestsOf(root{1, seqKey(0)})
	o.ledger, err = erasurelog.Open(erasurelog.Config{Medium: erasurelog.Folder(filepath.Join(dir, "ledger")), Digests: func(ctx context.Context, label string, data []byte) ([]uint32, [][]byte, error) {
		if !strings.HasSuffix(label, "/mac/v1") {
			killtest.Say("ledger")
		}
		return digests(ctx, label, data)
	}})
	require.NoError(t, err)
	m := &datamap.Map{Tenant: "main", Tables: []datamap.Table{
		{Name: "contacts", Key: []string{"id"}, Person: "person", Created: "created", Erase: datamap.Delete, Columns: []datamap.Column{{Name: "email", Category: "email", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract"}}},
		{Name: "notes", Key: []string{"id"}, Edges: []datamap.Edge{{Columns: []string{"contact"}, Table: "contacts"}}, Erase: datamap.Delete, Columns: []datamap.Column{{Name: "body", Category: "text", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract"}}},
		{
			Name: "invoices", Key: []string{"id"}, Person: "person", Created: "created", Erase: datamap.Delete,
			Keep:    &datamap.Keep{Because: "law", From: "issued", Years: 10},
			Columns: []datamap.Column{{Name: "person", Category: "id", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Erase: datamap.Retain}, {Name: "amount", Category: "amount", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Erase: datamap.Retain}, {Name: "phone", Category: "phone", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Erase: datamap.Null}},
		},
	}}
	store, err := sqlstore.Open(t.Context(), sqlstore.Config{DB: o.db, Map: m})
	require.NoError(t, err)
	o.desk, err = privacy.Open(t.Context(), privacy.Config{
		Map: m, DB: o.db, Ledger: o.ledger, Sign: officeKey(), Delay: -1, Lease: -1,
		Database: speaking{store}, Stores: []datastore.Store{datastore.Func{Name: "keys", Class: datastore.Shredded, Erase: o.eraseKey, Remaining: o.keyLeft}.Store()},
	})
	require.NoError(t, err)
	return o
}

func (o *office) close() { require.NoError(o.t, o.db.Close()) }

func (o *office) exec(query string, args ...any) {
	o.t.Helper()
	_, err := o.db.ExecContext(o.t.Context(), query, args...)
	require.NoError(o.t, err)
}

func (o *office) count(query string, args ...any) (n int) {
	o.t.Helper()
	require.NoError(o.t, o.db.QueryRowContext(o.t.Context(), query, args...).Scan(&n))
	return n
}

// add puts a person into every store, with an invoice where asked: a record
// that the law keeps, so that the database goes on listing the person.
func (o *office) add(person string, invoice bool) {
	now := time.Now().Add(-time.Hour).UnixMicro()
	o.exec(`INSERT INTO contacts VALUES (?, ?, ?, ?)`, "c-"+person, person, "mail-of-"+person+"@needle.example", now)
	for i := range 5 {
		o.exec(`INSERT INTO notes (contact, body) VALUES (?, ?)`, "c-"+person, fmt.Sprintf("needle-note-%d-of-%s", i, person))
	}
	if invoice {
		o.exec(`INSERT INTO invoices VALUES (?, ?, 100, ?, ?, ?)`, "i-"+person, person, "needle-phone-of-"+person, now, now)
	}
	require.NoError(o.t, os.WriteFile(o.keyFile(person), []byte("key of "+person), 0o600))
}

// left reports whether any store still holds what an erasure takes away.
func (o *office) left(person string) bool {
	n, err := o.keyLeft(o.t.Context(), "main", person)
	require.NoError(o.t, err)
	return n > 0 || o.shown(person)
}

// shown reports whether the database does.
func (o *office) shown(person string) bool {
	return o.count(`SELECT (SELECT COUNT(*) FROM contacts WHERE person = ?) + (SELECT COUNT(*) FROM notes WHERE contact = ?) + (SELECT COUNT(*) FROM invoices WHERE person = ? AND phone IS NOT NULL)`,
		person, "c-"+person, person) > 0
}

// complete requires that every store holds all of a person.
func (o *office) complete(person string) {
	o.t.Helper()
	n, err := o.keyLeft(o.t.Context(), "main", person)
	require.NoError(o.t, err)
	require.Equal(o.t, 1, n)
	require.Equal(o.t, 5, o.count(`SELECT COUNT(*) FROM notes JOIN contacts c ON c.id = contact WHERE c.person = ? AND c.email LIKE 'mail-of-%'`, person))
	require.Equal(o.t, 1, o.count(`SELECT COUNT(*) FROM invoices WHERE person = ? AND phone LIKE 'needle-phone-of-%'`, person))
}

// begun lists the plans whose intent stands in the ledger's file.
func (o *office) begun() []string {
	var plans []string
	for _, line := range lines(o.t, filepath.Join(o.dir, "ledger", "ledger.jsonl")) {
		var e struct{ Op, Plan string }
		if json.Unmarshal([]byte(line), &e) == nil && e.Op == "intent" { // the last line may be torn
			plans = append(plans, e.Plan)
		}
	}
	return plans
}

// work is what the child does: it executes all plans in their order, or, where
// there are none, it replays.
func work(t *testing.T, dir string) {
	o := openOffice(t, dir)
	killtest.Say("open")
	plans, err := os.ReadFile(filepath.Join(dir, "plans"))
	if errors.Is(err, fs.ErrNotExist) {
		_, err := o.desk.Replay(t.Context())
		require.NoError(t, err)
		return
	}
	require.NoError(t, err)
	for plan := range strings.FieldsSeq(string(plans)) {
		outcome, err := o.desk.Execute(t.Context(), plan)
		require.NoError(t, err)
		require.Equal(t, privacy.Done, outcome.State)
		killtest.Say("done")
	}
}

// cohort is the people of a round: some are erased, the others stay.
type cohort struct {
	gone, stay []string
	plans      []string
	of         map[string]string // person by plan
}

func (o *office) found() cohort {
	t := o.t
	require.NoError(t, o.ledger.Create(t.Context()))
	o.exec(`CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, email TEXT, created INTEGER)`)
	o.exec(`CREATE TABLE notes (id INTEGER PRIMARY KEY, contact TEXT REFERENCES contacts(id), body TEXT)`)
	o.exec(`CREATE TABLE invoices (id TEXT PRIMARY KEY, person TEXT, amount INTEGER, phone TEXT, issued INTEGER, created INTEGER)`)
	c := cohort{gone: []string{newID(), newID(), newID()}, stay: []string{newID(), newID()}, of: map[string]string{}}
	for i, person := range slices.Concat(c.stay, c.gone) {
		o.add(person, i <= len(c.stay)) // of the gone, the first only
	}
	return c
}

// plan plans and approves the erasures.
func (o *office) plan(c *cohort) {
	t := o.t
	for _, person := range c.gone {
		p, err := o.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: person, Reason: "gdpr-17", By: "user/1"})
		require.NoError(t, err)
		require.NoError(t, o.desk.Approve(t.Context(), p.ID, "user/2"))
		c.plans, c.of[p.ID] = append(c.plans, p.ID), person
	}
}

// foundOffice makes an office with its people and their approved plans, and gives
// the database as it was before these.
func foundOffice(t *testing.T, dir string) (*office, cohort, []byte) {
	t.Helper()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "keys"), 0o700))
	o := openOffice(t, dir)
	c := o.found()
	o.close()
	snapshot, err := os.ReadFile(filepath.Join(dir, "crm.db"))
	require.NoError(t, err)
	o = openOffice(t, dir)
	o.plan(&c)
	return o, c, snapshot
}

// restore brings an older database back, which nobody has open, and with it the
// keys.
func (o *office) restore(c cohort, snapshot []byte) {
	require.NoError(o.t, os.WriteFile(filepath.Join(o.dir, "crm.db"), snapshot, 0o600))
	for _, person := range c.gone {
		require.NoError(o.t, os.WriteFile(o.keyFile(person), []byte("key of "+person), 0o600))
	}
}

// safe requires that the gate is shut while anything is left of anybody whose
// erasure stands in the ledger, and that nobody else misses anything. It
// reports whether the gate is shut.
func (o *office) safe(c cohort) bool {
	o.t.Helper()
	for _, person := range c.stay {
		o.complete(person)
	}
	gate := o.desk.Ready(o.t.Context())
	if gate != nil {
		require.ErrorIs(o.t, gate, privacy.ErrBehind)
		return true
	}
	for _, plan := range o.begun() {
		require.False(o.t, o.shown(c.of[plan]), "the gate is open")
	}
	return false
}

// erased requires that the gate is open, nothing is left of the erased, not
// even in the bytes of the database's files, and everything of the others and
// what the law keeps is there.
func (o *office) erased(c cohort) {
	t := o.t
	t.Helper()
	require.False(t, o.safe(c))
	_, err := o.ledger.Verify(t.Context())
	require.NoError(t, err)
	require.Len(t, o.begun(), len(c.gone), "one intent each")
	for _, person := range c.gone {
		require.False(t, o.left(person))
	}
	require.Equal(t, 1, o.count(`SELECT COUNT(*) FROM invoices WHERE person = ? AND amount = 100`, c.gone[0]))
	for _, file := range []string{"crm.db", "crm.db-wal"} {
		data, err := os.ReadFile(filepath.Join(o.dir, file))
		require.True(t, err == nil || errors.Is(err, fs.ErrNotExist))
		for _, person := range c.gone {
			require.False(t, bytes.Contains(data, []byte("-of-"+person)), "%s holds what was erased", file)
			require.False(t, bytes.Contains(data, []byte("c-"+person)), "%s holds what was erased", file)
		}
		require.Equal(t, file == "crm.db", bytes.Contains(data, []byte("mail-of-"+c.stay[0])), "the search finds what is there, and the log is empty")
	}
}

// Whenever the process is killed, also again and again, while it executes
// erasures or replays them after a restore: the gate opens only when nothing
// is left of anybody whose erasure stands in the ledger; the next process
// finishes, by executing or by replaying; no byte of the erased is found in
// the files of the database, everybody else is complete, what the law keeps is
// there, and the ledger verifies.
func TestKilledWhileErasing(t *testing.T) {
	if dir := killtest.Dir(); dir != "" {
		work(t, dir)
		return
	}
	rounds, moments := killtest.Rounds(t)
	landed, shut := 0, 0
	for round := range rounds {
		dir := t.TempDir()
		o, c, snapshot := foundOffice(t, dir)
		o.close()
		plans := filepath.Join(dir, "plans")
		require.NoError(t, os.WriteFile(plans, []byte(strings.Join(c.plans, "\n")), 0o600))
		kill := func(times, steps int) {
			for range times {
				if _, killed := killtest.Kill(t, dir, killtest.At{Count: 1 + moments.IntN(steps), Pause: time.Duration(moments.IntN(2000)) * time.Microsecond}); killed {
					landed++
				}
				o := openOffice(t, dir)
				if o.safe(c) {
					shut++
				}
				o.close()
			}
		}

		kill(1+moments.IntN(2), 40)
		o = openOffice(t, dir)
		replayed := round%2 == 0 // whoever restarts may replay before executing
		if replayed {
			_, err := o.desk.Replay(t.Context())
			require.NoError(t, err)
			require.False(t, o.safe(c))
		}
		for _, plan := range c.plans {
			outcome, err := o.desk.Execute(t.Context(), plan)
			require.NoError(t, err)
			require.Equal(t, privacy.Done, outcome.State, "%+v", outcome.Stores)
			if !replayed && plan == c.plans[0] { // a replay ends the plans that the ledger knows as done, and their certificates with them
				read, err := certificate.Verify(outcome.Certificate, officeKey().Public().(ed25519.PublicKey))
				require.NoError(t, err)
				require.Contains(t, classesOf(read.Statement.Records), "invoices kept")
			}
		}
		o.erased(c)
		o.close()

		// The snapshot comes back, with the keys.
		require.NoError(t, os.Remove(plans))
		o.restore(c, snapshot)
		kill(1+moments.IntN(2), 16)
		o = openOffice(t, dir)
		_, err := o.desk.Replay(t.Context())
		require.NoError(t, err)
		o.erased(c)
		o.close()
	}
	t.Logf("%d kills in the middle, %d times the gate was shut", landed, shut)
	require.NotZero(t, landed)
	require.NotZero(t, shut)
}
