package encryption_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// What is known of a person finds her rows in every table, in any spelling, and no
// row of another person whose value is equal in the bits of the index.
func TestRowsAreFoundByWhatIsKnownOfAPerson(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, 1)
		cfg := e.cfg
		cfg.Normalisers = map[encryption.Normaliser]func(string) (string, error){e164: digitsOnly}
		vault, err := encryption.Open(t.Context(), cfg)
		require.NoError(t, err)
		db := d.Open(t)
		blob, marks := "BLOB", []any{"?", "?", "?", "?", "?", "?"}
		if d.Name == testdb.PostgresC || d.Name == testdb.PostgresICU {
			blob, marks = "BYTEA", []any{"$1", "$2", "$3", "$4", "$5", "$6"}
		}
		for _, statement := range []string{
			`CREATE TABLE people (id INTEGER NOT NULL PRIMARY KEY, person VARCHAR(20), email ` + blob + `, email_idx BIGINT, phone ` + blob + `, phone_idx BIGINT)`,
			`CREATE TABLE signups (id INTEGER NOT NULL PRIMARY KEY, person VARCHAR(60), mail ` + blob + `, mail_idx BIGINT, number ` + blob + `, number_idx BIGINT)`,
		} {
			_, err := db.ExecContext(t.Context(), statement)
			require.NoError(t, err)
		}
		declare := func(table, mail, phone string) *encryption.SealedTable {
			sealed, err := vault.Table(encryption.Table{Name: table, Columns: []encryption.Column{
				{Name: mail, Index: []encryption.Index{{Column: mail + "_idx", As: encryption.Email, Bits: 8}}}, // so narrow that rows of others are found
				{Name: phone, Index: []encryption.Index{{Column: phone + "_idx", As: e164, Bits: 32}}},
			}})
			require.NoError(t, err)
			return sealed
		}
		people, signups := declare("people", "email", "phone"), declare("signups", "mail", "number")
		insert := func(table *encryption.SealedTable, mailColumn, phoneColumn string, id int, person, mail, phone string) {
			w, err := table.Writer(t.Context(), tenant, person)
			require.NoError(t, err)
			_, err = db.ExecContext(t.Context(), fmt.Sprintf(`INSERT INTO `+table.Name()+` VALUES (%s, %s, %s, %s, %s, %s)`, marks...), id, person,
				w.Text(mailColumn, mail), w.Int64(mailColumn+"_idx", mail), w.Text(phoneColumn, phone), w.Int64(phoneColumn+"_idx", phone))
			require.NoError(t, err)
		}
		insert(people, "email", "phone", 1, "p1", "ann@b.example", "+41 44 668 18 00")
		for i := range 300 {
			insert(people, "email", "phone", 10+i, "p2", fmt.Sprintf("other%d@b.example", i), "1")
		}
		insert(signups, "mail", "number", 7, "s7", "ANN@b.example.", "2")
		insert(signups, "mail", "number", 8, "s8", "x@y.example", "(41) 44 668-18-00")
		insert(signups, "mail", "number", 9, "s9", "ann@b.example", "3")

		known := map[string][]string{"email": {"Ann@B.example", "ann@second.example"}, "acme.e164": {"41446681800"}}
		find := func(identities map[string][]string) (out []string) {
			for row, err := range vault.FindRows(t.Context(), db, tenant, identities) {
				require.NoError(t, err)
				out = append(out, fmt.Sprint(row.Table, " ", row.Key, " ", row.Owner, " ", row.Confirmed))
			}
			slices.Sort(out)
			return slices.Compact(out)
		}
		require.Equal(t, []string{"people 1 p1 true", "signups 7 s7 true", "signups 8 s8 true", "signups 9 s9 true"}, find(known))
		require.Equal(t, []string{"people 1 p1 true"}, find(map[string][]string{"people.email_idx": {"ann@b.example"}}), "one index alone")
		require.Empty(t, find(nil))

		_, err = vault.Erase(t.Context(), tenant, "s9")
		require.NoError(t, err)
		require.Contains(t, find(known), "signups 9 s9 false", "her row is there still, and does not open")

		all, err := vault.FindConditions(t.Context(), tenant, known)
		require.NoError(t, err)
		require.Len(t, all, 2)
		var found []string
		for table, conditions := range all {
			where, args := conditions.Where("")
			if marks[0] == "$1" {
				where, args = conditions.Postgres("", 1)
			}
			rows, err := db.QueryContext(t.Context(), `SELECT id FROM `+table+` WHERE `+where, args...)
			require.NoError(t, err)
			for rows.Next() {
				var id int
				require.NoError(t, rows.Scan(&id))
				found = append(found, fmt.Sprint(table, " ", id))
			}
			require.NoError(t, rows.Err())
			require.NoError(t, rows.Close())
		}
		require.Subset(t, found, []string{"people 1", "signups 7", "signups 8", "signups 9"}, "and others that are equal in so many bits")

		for _, wrong := range []map[string][]string{{"mail": {"x"}}, {"people.mail_idx": {"x"}}, {"email": {" "}}} {
			_, err = vault.FindConditions(t.Context(), tenant, wrong)
			require.ErrorIs(t, err, encryption.ErrDefinition)
			for _, err := range vault.FindRows(t.Context(), db, tenant, wrong) {
				require.ErrorIs(t, err, encryption.ErrDefinition)
			}
		}
		_, err = vault.FindConditions(t.Context(), tenant, map[string][]string{"acme.e164": {"abc"}})
		require.ErrorIs(t, err, encryption.ErrValue)
	})
}

func ExampleVault_FindRows() {
	// exampleVault, exampleContacts, exampleDB, must and check stand in example_test.go.
	ctx := context.Background()
	vault := exampleVault()
	contacts := exampleContacts(vault)
	db, closeDB := exampleDB()
	defer closeDB()
	w := must(contacts.Writer(ctx, "main", "p1"))
	must(db.ExecContext(ctx, `INSERT INTO contacts (id, person, email, email_idx) VALUES ('c1', 'p1', ?, ?)`, w.Text("email", "ann@b.example"), w.Int64("email_idx", "ann@b.example")))

	known := map[string][]string{"email": {"Ann@B.example", "a.muller@b.example"}}
	for row, err := range vault.FindRows(ctx, db, "main", known) {
		check(err)
		fmt.Println(row.Table, row.Key, "confirmed:", row.Confirmed)
	}
	// Output:
	// contacts c1 confirmed: true
}

// More values than a database takes in one condition are searched all the same, and
// a row that holds several of them is listed once.
func TestThousandsOfIdentitiesAreSearchedAtOnce(t *testing.T) {
	e := newEnv(t, 1)
	for _, person := range []string{"p1", "p2"} {
		e.insert(t, "c"+person, person)
	}
	values := []string{"p1@b.example"}
	for i := range 3000 {
		values = append(values, fmt.Sprintf("x%d@b.example", i))
	}
	values = append(values, "p1@b.example", "p2@b.example")
	var found []string
	for row, err := range e.vault.FindRows(t.Context(), e.db, tenant, map[string][]string{"email": values}) {
		require.NoError(t, err)
		found = append(found, row.Key)
	}
	require.ElementsMatch(t, []string{"cp1", "cp2"}, found)
}
