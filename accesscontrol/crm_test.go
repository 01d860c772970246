package accesscontrol_test

import (
	"context"
	"database/sql"
	"log"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/accesscontrol"
)

// The CRM of testdata: policy, schema, binding, tables and a few people.

func crmTables() []accesscontrol.Table {
	return []accesscontrol.Table{
		{
			Resource: "contact", Entity: "Contact", Name: "contacts", Key: "id", Tenant: "tenant",
			Columns: []accesscontrol.Column{
				{Attr: "owner", Required: true},
				{Attr: "account", Name: "account_id"},
				{Attr: "country"},
				{Attr: "language"},
				{Attr: "blocked"},
				{Attr: "first_name", Opaque: true},
				{Attr: "email", Opaque: true},
				{Attr: "phone", Opaque: true},
			},
			Read: "contact.read", Create: "contact.create", Update: "contact.update", Delete: "contact.delete",
			Groups: []accesscontrol.Group{{Name: "pii", Action: "contact.read.pii", Fields: []string{"first_name", "email", "phone"}}},
		},
		{
			Resource: "deal", Entity: "Deal", Name: "deals", Key: "id", KeyAs: accesscontrol.Integer, Tenant: "tenant",
			Columns: []accesscontrol.Column{
				{Attr: "owner", Required: true},
				{Attr: "account", Name: "account_id"},
				{Attr: "stage", Required: true},
				{Attr: "amount", Name: "amount_cents", Required: true},
			},
			Read: "deal.read",
		},
		{Resource: "audit", Entity: "AuditLog"},
	}
}

func crmConfig() accesscontrol.Config {
	texts := map[string]string{}
	for _, name := range []string{"crm.cedar", "crm.cedarschema"} {
		body, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			panic(err)
		}
		texts[name] = string(body)
	}
	return accesscontrol.Config{Texts: texts, Tables: crmTables()}
}

const crmDDL = `
CREATE TABLE contacts (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, owner TEXT NOT NULL, account_id TEXT, country TEXT, language TEXT,
  blocked INTEGER CHECK (blocked IN (0, 1)), first_name BLOB, email BLOB, phone BLOB) STRICT;
CREATE TABLE deals (id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, owner TEXT NOT NULL, account_id TEXT, stage TEXT NOT NULL, amount_cents INTEGER NOT NULL) STRICT;
INSERT INTO contacts VALUES
 ('c1', 'main', 'ann',  'acme', 'DE', 'de', NULL, x'01', x'02', x'03'),
 ('c2', 'main', 'bob',  'acme', 'FR', 'fr', 0,    x'01', x'02', x'03'),
 ('c3', 'main', 'bob',  NULL,   'CN', 'zh', NULL, x'01', x'02', x'03'),
 ('c4', 'main', 'ann',  NULL,   NULL, NULL, 1,    x'01', x'02', x'03'),
 ('c5', 'main', 'eve',  'zeta', 'DE', 'de', NULL, x'01', x'02', x'03'),
 ('c6', 'other','ann',  'acme', 'DE', 'de', NULL, x'01', x'02', x'03');
INSERT INTO deals VALUES (1, 'main', 'ann', NULL, 'open', 5000), (2, 'main', 'ann', NULL, 'won', 100), (3, 'main', 'ann', NULL, 'open', 5001), (4, 'main', 'bob', 'acme', 'open', 1);
`

func openDB(tb testing.TB, ddl string) *sql.DB {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "test.db")
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=secure_delete(1)")
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, db.Close()) })
	_, err = db.ExecContext(context.Background(), ddl)
	require.NoError(tb, err)
	return db
}

// exampleCRM has the files of testdata as an application has them: policy, schema, tables.
func exampleCRM() (context.Context, *accesscontrol.Policy, *sql.DB, func()) {
	ctx := context.Background()
	policy, err := accesscontrol.Load(ctx, crmConfig())
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "accesscontrol")
	if err != nil {
		log.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+dir+"/crm.db")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.ExecContext(ctx, crmDDL); err != nil {
		log.Fatal(err)
	}
	return ctx, policy, db, func() { _ = db.Close(); _ = os.RemoveAll(dir) }
}

func crmUser(role, id string) accesscontrol.Principal {
	p := accesscontrol.Principal{
		Tenant: "main", ID: id,
		Attrs: map[string]any{"accounts": []string{}, "countries": []string{}},
	}
	if role != "" {
		p.Parents = []accesscontrol.Ref{{Type: "Role", ID: role}}
	}
	return p
}

func crmPeople() map[string]accesscontrol.Principal {
	ann := crmUser("sales", "ann")
	ann.Attrs["accounts"] = []string{"acme"}
	ann.Attrs["limit"] = 5000
	mia := crmUser("manager", "mia")
	mia.Attrs["countries"] = []string{"DE", "AT"}
	return map[string]accesscontrol.Principal{
		"sales": ann, "manager": mia, "support": crmUser("support", "sue"), "auditor": crmUser("auditor", "aud"), "outsider": crmUser("", "out"),
	}
}

func loadCRM(tb testing.TB) *accesscontrol.Policy {
	tb.Helper()
	policy, err := accesscontrol.Load(tb.Context(), crmConfig())
	require.NoError(tb, err)
	return policy
}

// contacts reads all contacts as records, whatever their tenant.
func contacts(ctx context.Context, db *sql.DB) ([]accesscontrol.Resource, error) {
	rows, err := db.QueryContext(ctx, `SELECT id, tenant, owner, account_id, country, language, blocked, first_name, email, phone FROM contacts ORDER BY id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []accesscontrol.Resource
	for rows.Next() {
		r := accesscontrol.Resource{Type: "contact"}
		var owner string
		var account, country, language sql.NullString
		var blocked sql.NullBool
		var first, email, phone []byte
		if err := rows.Scan(&r.ID, &r.Tenant, &owner, &account, &country, &language, &blocked, &first, &email, &phone); err != nil {
			return nil, err
		}
		r.Attrs = map[string]any{
			"owner": owner, "account": account, "country": country, "language": language, "blocked": blocked,
			"first_name": first, "email": email, "phone": phone,
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

func contact(tb testing.TB, db *sql.DB, id string) accesscontrol.Resource {
	tb.Helper()
	all, err := contacts(tb.Context(), db)
	require.NoError(tb, err)
	for _, r := range all {
		if r.ID == id {
			return r
		}
	}
	tb.Fatalf("no contact %s", id)
	return accesscontrol.Resource{}
}

// selected runs a filter.
func selected(ctx context.Context, db *sql.DB, table string, where accesscontrol.Where) ([]string, error) {
	condition, args := where.SQLite("c")
	rows, err := db.QueryContext(ctx, "SELECT c.id FROM "+table+" AS c WHERE "+condition+" ORDER BY c.id", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := []string{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, rows.Err()
}
