package liveschema_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/internal/testdb"
	crm "github.com/crmguard/crmguard/internal/testdb/stranger"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/randomschema"
	"github.com/crmguard/crmguard/privacy/internal/stranger"
	"github.com/crmguard/crmguard/privacy/liveschema"
)

var update = flag.Bool("update", false, "write the golden files")

// decided is a proposal after the simplest decisions.
func decided(m *datamap.Map) *datamap.Map {
	for i := range m.Tables {
		t := &m.Tables[i]
		for j := range t.Columns {
			if c := &t.Columns[j]; c.Category == datamap.Unclassified {
				if c.Category = ""; t.Erase != "" {
					c.Category = "decided"
				}
			}
		}
	}
	return m
}

// What is proposed for the schema of the stranger is a map that fits, once somebody
// has decided; until then it erases nothing.
func TestWhatIsProposedForTheStranger(t *testing.T) {
	types := newCompiler()
	stranger.Each(t, func(t *testing.T, w *stranger.World) {
		source, err := liveschema.Propose(t.Context(), w.SQL)
		require.NoError(t, err)
		golden := filepath.Join("testdata", "stranger-"+strings.TrimSuffix(strings.TrimSuffix(string(w.Name), "-c"), "-icu")+".go.txt")
		if *update {
			require.NoError(t, os.WriteFile(golden, []byte(source), 0o600))
		}
		want, err := os.ReadFile(golden)
		require.NoError(t, err)
		require.Equal(t, string(want), source)

		m := types.compiled(t, source)
		require.NoError(t, m.Validate())
		findings, err := liveschema.Check(t.Context(), w.SQL, m)
		require.NoError(t, err)
		require.Error(t, findings.Err())
		for _, f := range findings.Alarms() {
			require.Equal(t, liveschema.NoCategory, f.Kind, f)
		}
		require.NoError(t, decided(m).Validate())
		findings, err = liveschema.Check(t.Context(), w.SQL, m)
		require.NoError(t, err)
		require.NoError(t, findings.Err())
		require.Empty(t, m.Gaps())
		// Whoever decides finds the edges and columns of the true map.
		for _, table := range []string{"contacts", "emails", "notes", "outbox", "mailing_list", w.Table("invoices"), w.Table("invoice_lines"), "preferences"} {
			truth, _ := w.Map().Table(table)
			proposed, ok := m.Table(table)
			require.True(t, ok, table)
			require.True(t, proposed.Owns(), table)
			require.ElementsMatch(t, truth.Key, proposed.Key, table)
			require.Equal(t, truth.Created, proposed.Created, table)
			require.Equal(t, truth.Merged, proposed.Merged, table)
		}
	})
}

// A second schema of strangers, with names that must be quoted, three schemas,
// partitions and views.
func TestWhatIsProposedForAnotherStranger(t *testing.T) {
	types := newCompiler()
	crm.Each(t, func(t *testing.T, c *crm.CRM) {
		source, err := liveschema.Propose(t.Context(), c.DB)
		require.NoError(t, err)
		m := types.compiled(t, source)
		require.NoError(t, m.Validate())
		findings, err := liveschema.Check(t.Context(), c.DB, decided(m))
		require.NoError(t, err)
		if c.Name == testdb.MariaDB { // billing is another database there, whose foreign key counts
			require.Len(t, findings.Alarms(), 1)
			require.Equal(t, liveschema.BlockedDeletion, findings[0].Kind)
			return
		}
		require.NoError(t, findings.Err())
		require.Contains(t, source, `Credit Notes`)
		invoices := map[bool]string{true: "invoices", false: "billing.invoices"}[c.Name == testdb.SQLite]
		lines, _ := m.Table(strings.Replace(invoices, "invoices", "invoice_lines", 1))
		require.Equal(t, []datamap.Edge{{Columns: []string{"invoice_id"}, Table: invoices}}, lines.Edges)
	})
}

// proposals: what is proposed for a schema on SQLite, said in parts of the source.
func TestWhatIsProposed(t *testing.T) {
	types := newCompiler()
	for name, c := range map[string]struct {
		ddl      string
		has, not []string
	}{
		"nothing": {``, []string{`Tables: []datamap.Table{}`, `var _ = purpose + basis`}, nil},
		"a pair": {
			`CREATE TABLE leads (id TEXT PRIMARY KEY); CREATE TABLE comments (id TEXT PRIMARY KEY, about_type TEXT CHECK (about_type IN ('LEAD', 'x')), about_id TEXT, body TEXT)`,
			[]string{`// {Columns: []string{"about_id"}, Table: "leads", When: []datamap.When{{Column: "about_type", Is: "LEAD"}}},`, `{Name: "about_id"},`},
			[]string{"Erase: datamap.Delete,\n\t\t\tEdges"},
		},
		"a pair whose values nobody tells": {
			`CREATE TABLE leads (id TEXT PRIMARY KEY); CREATE TABLE comments (id TEXT PRIMARY KEY, about_type TEXT, about_id TEXT)`, []string{`Is: "Lead"`}, nil,
		},
		"NOT NULL that only points": {
			`CREATE TABLE leads (id TEXT PRIMARY KEY); CREATE TABLE tasks (id TEXT PRIMARY KEY, created_by TEXT NOT NULL REFERENCES leads)`,
			[]string{`{Columns: []string{"created_by"}, Table: "leads", Unlink: datamap.Null}, // decide: NOT NULL: allow NULL, or say Unlink: datamap.Delete. ON DELETE NO ACTION`},
			nil,
		},
		"people by their columns": {`CREATE TABLE registrations (id TEXT PRIMARY KEY, full_name TEXT, mail TEXT)`, []string{`Person: "id"`, "its rows look like persons"}, nil},
		"staff":                   {`CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT, email TEXT)`, []string{`people of your own: name Person: "id"`}, []string{"Erase"}},
		"German and Chinese":      {`CREATE TABLE Kunden (id TEXT PRIMARY KEY, Vorname TEXT, Geburtsdatum TEXT, "手机号码" TEXT)`, []string{`Person: "id"`, `{Name: "Vorname", Category: "contact.name"`, `Category: "contact.birthday"`, `{Name: "手机号码", Category: "contact.phone"`}, nil},
		"camel case":              {`CREATE TABLE customers (id TEXT PRIMARY KEY, emailAddress TEXT, createdAt TIMESTAMP)`, []string{`Created: "createdAt"`, `Category: "contact.email", Purpose: purpose, Basis: basis, Identity: "email"`}, nil},
		"secrets":                 {`CREATE TABLE clients (id TEXT PRIMARY KEY, password_hash TEXT)`, []string{`Category: "account.secret", Purpose: purpose, Basis: basis, Withhold: "secret"`}, nil},
		"a key that is personal":  {`CREATE TABLE subscribers (email TEXT PRIMARY KEY)`, []string{`the key email looks like personal data`}, nil},
		"no key":                  {`CREATE TABLE leads (name TEXT)`, []string{`{Name: "name", Category: datamap.Unclassified`}, []string{"Person:", "Key:"}},
		"a name that no map holds": {
			`CREATE TABLE "a.b" (x TEXT); CREATE TABLE c ("a'b" TEXT)`, []string{`table "a.b", or one`, `table "c", or one of its columns, has a name`}, nil,
		},
		"a type that would end the comment": {"CREATE TABLE leads (id TEXT PRIMARY KEY, x \"a\n}}; panic(1)\")", []string{`// decide: a\n}}; panic(1)`}, nil},
		"tenants":                           {`CREATE TABLE leads (id TEXT PRIMARY KEY, org_id TEXT); CREATE TABLE clients (id TEXT PRIMARY KEY)`, []string{`Tenant: "org_id"`, `Tenant: "main"`, "decide: some tables of persons have a tenant column"}, nil},
		"an invoice":                        {`CREATE TABLE leads (id TEXT PRIMARY KEY); CREATE TABLE invoices (id TEXT PRIMARY KEY, lead_id TEXT REFERENCES leads)`, []string{"a law may keep such rows"}, nil},
		"a key of two columns": {
			`CREATE TABLE leads (id TEXT, org TEXT, PRIMARY KEY (org, id)); CREATE TABLE clients (id TEXT PRIMARY KEY, no TEXT UNIQUE); CREATE TABLE calls (id TEXT PRIMARY KEY, c TEXT REFERENCES clients (no))`,
			[]string{`{Columns: []string{"c"}, Table: "clients", To: []string{"no"}}`},
			nil,
		},
		"members": {
			`CREATE TABLE members (id TEXT PRIMARY KEY); CREATE TABLE events (id TEXT PRIMARY KEY, title TEXT); CREATE TABLE seats (event TEXT REFERENCES events, member TEXT REFERENCES members, PRIMARY KEY (event, member))`,
			[]string{`Link: &datamap.Link{Table: "seats", Record: "event", Person: "member"}`},
			nil,
		},
		"an address that refers to itself": {
			`CREATE TABLE contacts (name TEXT, email TEXT); CREATE TABLE clients (id TEXT PRIMARY KEY, email TEXT REFERENCES clients); CREATE TABLE emails (id TEXT PRIMARY KEY, email TEXT)`,
			[]string{`{Name: "email", Category: datamap.Unclassified, Purpose: purpose, Basis: basis}, // decide: looks like contact.email, but no person reaches the table`},
			[]string{"Identity"},
		},
		"an address that is who the person is": {
			`CREATE TABLE contacts (id TEXT PRIMARY KEY); CREATE TABLE boxes (id TEXT PRIMARY KEY, email TEXT REFERENCES contacts); CREATE TABLE emails (id TEXT PRIMARY KEY, email TEXT)`,
			[]string{`Person: "email"`, `decide: looks like contact.email, but no person reaches the table`},
			[]string{"Identity"},
		},
		"an address that is a key of another table": {
			`CREATE TABLE boxes (email TEXT PRIMARY KEY); CREATE TABLE contacts (id TEXT PRIMARY KEY, email TEXT REFERENCES boxes, email_id TEXT REFERENCES boxes)`,
			[]string{`{Name: "email", Category: datamap.Unclassified, Purpose: purpose, Basis: basis}, // decide: looks like contact.email, and names rows of another table`, `{Name: "email_id"},`},
			nil,
		},
		"an address that is half of a pair": {
			`CREATE TABLE contacts (id TEXT PRIMARY KEY, email_type TEXT, email_id TEXT); CREATE TABLE emails (id TEXT PRIMARY KEY, email_type TEXT, email_id TEXT, mail TEXT)`,
			[]string{`Table: "contacts", When: []datamap.When{{Column: "email_type", Is: "Contact"}}`},
			[]string{"Identity"},
		},
		"members with words about them": {
			`CREATE TABLE members (id TEXT PRIMARY KEY); CREATE TABLE events (id TEXT PRIMARY KEY, title TEXT); CREATE TABLE seats (event TEXT REFERENCES events, member TEXT REFERENCES members, remark TEXT, PRIMARY KEY (event, member))`,
			[]string{`who are listed in seats, say Erase: datamap.Delete, Link: &datamap.Link{Table: "seats"`},
			[]string{"leave that table out"},
		},
		"a key that points": {
			`CREATE TABLE leads (id TEXT PRIMARY KEY); CREATE TABLE owners (owner_id TEXT PRIMARY KEY REFERENCES leads)`, []string{"owner_id names rows of leads, and can not be emptied"}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := testdb.New(t, testdb.SQLite).Open(t)
			_, err := db.ExecContext(t.Context(), c.ddl)
			require.NoError(t, err)
			source, err := liveschema.Propose(t.Context(), db)
			require.NoError(t, err)
			for _, part := range c.has {
				require.Contains(t, source, part)
			}
			for _, part := range c.not {
				require.NotContains(t, source, part)
			}
			types.compiled(t, source)
		})
	}
}

// Whatever a schema is like, what is proposed for it is a valid map that names
// every table and every column. A longer walk is CRMGUARD_RANDOM_ROUNDS=20000.
func TestAnyProposalIsAValidMap(t *testing.T) {
	names := []string{"id", "contact_id", "email", "name", "tenant_id", "owner_id", "about_type", "about_id", "created_at", "merged_into", "parent", "Größe", "order", "client id", "a'b"}
	tables := []string{"contacts", "users", "emails", "deals", "invoices", "contact_deals", "lines", "clients"}
	randomschema.Rounds(t, 200)
	rapid.Check(t, func(r *rapid.T) {
		db, err := sql.Open("sqlite", ":memory:")
		if err != nil {
			r.Fatal(err)
		}
		defer db.Close()
		db.SetMaxOpenConns(1)
		there := rapid.SliceOfNDistinct(rapid.SampledFrom(tables), 1, 6, rapid.ID[string]).Draw(r, "tables")
		for _, table := range there {
			columns := rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 8, rapid.ID[string]).Draw(r, "columns")
			var parts []string
			for _, column := range columns {
				part := `"` + column + `" ` + rapid.SampledFrom([]string{"TEXT", "INTEGER", "TIMESTAMP", ""}).Draw(r, "type") + rapid.SampledFrom([]string{"", " NOT NULL", " UNIQUE"}).Draw(r, "more")
				if rapid.IntRange(0, 2).Draw(r, "refers") == 0 {
					part += " REFERENCES " + rapid.SampledFrom(there).Draw(r, "to") + rapid.SampledFrom([]string{"", " ON DELETE CASCADE", " ON DELETE SET NULL"}).Draw(r, "rule")
				}
				parts = append(parts, part)
			}
			if n := rapid.IntRange(0, min(2, len(columns))).Draw(r, "key"); n > 0 {
				parts = append(parts, `PRIMARY KEY ("`+strings.Join(columns[:n], `", "`)+`")`)
			}
			if _, err := db.ExecContext(context.Background(), "CREATE TABLE "+table+" ("+strings.Join(parts, ", ")+")"); err != nil {
				r.Fatal(err)
			}
		}
		source, err := liveschema.Propose(context.Background(), db)
		if err != nil {
			r.Fatal(err)
		}
		m := evaluated(t, source)
		if len(m.Tables) == 0 {
			return
		}
		findings, err := liveschema.Check(context.Background(), db, m)
		if err != nil {
			r.Fatal(err)
		}
		for _, f := range findings {
			named := !strings.Contains(source, fmt.Sprintf("table %q, or one of its columns", f.Table))
			if slices.Contains([]liveschema.Kind{liveschema.UnclassifiedColumn, liveschema.MissingColumn, liveschema.MissingTable, liveschema.CascadeIntoKept}, f.Kind) || f.Kind == liveschema.UnclassifiedTable && named {
				r.Fatal(f.String() + "\n" + source)
			}
		}
	})
}

func TestErrorsOfPropose(t *testing.T) {
	db := testdb.New(t, testdb.SQLite).Open(t)
	require.NoError(t, db.Close())
	_, err := liveschema.Propose(t.Context(), db)
	require.Error(t, err)
}

func ExamplePropose() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(ctx, `CREATE TABLE contacts (id TEXT PRIMARY KEY, email TEXT, rank INTEGER);
		CREATE TABLE notes (id TEXT PRIMARY KEY, contact_id TEXT REFERENCES contacts ON DELETE CASCADE, body TEXT)`)
	if err != nil {
		fmt.Println(err)
		return
	}
	source, err := liveschema.Propose(ctx, db)
	_, source, _ = strings.Cut(source, "// Map is")
	fmt.Println("// Map is"+source, err)
	// Output:
	// // Map is the data map.
	// func Map() *datamap.Map {
	// 	return &datamap.Map{Tenant: "main", Tables: []datamap.Table{
	// 		{
	// 			Name: "contacts", Key: []string{"id"}, Person: "id", Erase: datamap.Delete,
	// 			Columns: []datamap.Column{
	// 				{Name: "email", Category: "contact.email", Purpose: purpose, Basis: basis, Identity: "email"},
	// 				{Name: "rank", Category: datamap.Unclassified, Purpose: purpose, Basis: basis}, // decide: integer
	// 			},
	// 		},
	// 		{
	// 			Name: "notes", Key: []string{"id"}, Person: "contact_id", Erase: datamap.Delete,
	// 			Columns: []datamap.Column{
	// 				{Name: "body", Category: "text", Purpose: purpose, Basis: basis},
	// 			},
	// 		},
	// 	}}
	// }
	//  <nil>
}
