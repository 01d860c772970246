package capture_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/capture"
	"github.com/crmguard/crmguard/internal/testdb"
)

func TestADescriptionThatCannotBeIsRefused(t *testing.T) {
	good := capture.Table{Name: "public.contacts", Kind: "contact", Key: []string{"id"}, TenantColumn: "tenant", Skip: []string{"updated"}}
	_, _, err := capture.Pack(good)
	require.NoError(t, err)
	for what, c := range map[string]struct {
		change func(c *capture.Table)
		field  string
	}{
		"no name":            {func(c *capture.Table) { c.Name = "" }, "Name"},
		"no schema":          {func(c *capture.Table) { c.Name = ".canary" }, "Name"},
		"no table":           {func(c *capture.Table) { c.Name = "canary." }, "Name"},
		"three parts":        {func(c *capture.Table) { c.Name = "a.b.canary" }, "Name"},
		"long name":          {func(c *capture.Table) { c.Name = strings.Repeat("x", 64) }, "Name"},
		"long schema":        {func(c *capture.Table) { c.Name = strings.Repeat("x", 64) + ".a" }, "Name"},
		"no text":            {func(c *capture.Table) { c.Name = "canary\xff" }, "Name"},
		"NUL":                {func(c *capture.Table) { c.Name = "canary\x00" }, "Name"},
		"end of the quote":   {func(c *capture.Table) { c.Name = "$crmguard$" }, "Name"},
		"no kind":            {func(c *capture.Table) { c.Kind = "" }, "Kind"},
		"kind with blanks":   {func(c *capture.Table) { c.Kind = "a person" }, "Kind"},
		"empty key":          {func(c *capture.Table) { c.Key = []string{""} }, "Key"},
		"long key":           {func(c *capture.Table) { c.Key = []string{strings.Repeat("x", 64)} }, "Key"},
		"quote in the key":   {func(c *capture.Table) { c.Key = []string{"a$crmguard$"} }, "Key"},
		"key twice":          {func(c *capture.Table) { c.Key = []string{"id", "id"} }, "Key"},
		"two tenants":        {func(c *capture.Table) { c.Tenant = "main" }, "Tenant"},
		"no tenant":          {func(c *capture.Table) { c.TenantColumn = "" }, "Tenant"},
		"long tenant":        {func(c *capture.Table) { c.Tenant, c.TenantColumn = strings.Repeat("x", 256), "" }, "Tenant"},
		"quote in tenant":    {func(c *capture.Table) { c.Tenant, c.TenantColumn = "$crmguard$", "" }, "Tenant"},
		"long tenant column": {func(c *capture.Table) { c.TenantColumn = strings.Repeat("x", 64) }, "TenantColumn"},
		"empty skip":         {func(c *capture.Table) { c.Skip = []string{""} }, "Skip"},
		"skip twice":         {func(c *capture.Table) { c.Skip = []string{"a", "a"} }, "Skip"},
		"skip the key":       {func(c *capture.Table) { c.Skip = []string{"id"} }, "Skip"},
		"skip the tenant":    {func(c *capture.Table) { c.Skip = []string{"tenant"} }, "Skip"},
		"long person column": {func(c *capture.Table) { c.Person = strings.Repeat("x", 64) }, "Person"},
		"skip the person":    {func(c *capture.Table) { c.Person, c.Skip = "name", []string{"name"} }, "Skip"},
	} {
		bad := good
		c.change(&bad)
		for _, ask := range []func() error{
			func() error { _, _, err := capture.Pack(good, bad); return err },
			func() error {
				_, err := capture.Missing(t.Context(), testdb.New(t, testdb.SQLite).Open(t), bad)
				return err
			},
		} {
			err := ask()
			var wrong *capture.TableError
			require.ErrorAs(t, err, &wrong, what)
			require.Equal(t, c.field, wrong.Field, what)
			require.ErrorIs(t, err, capture.ErrInvalid)
			require.True(t, strings.HasPrefix(err.Error(), "capture: "))
			require.NotContains(t, err.Error(), "canary", what)
		}
	}
	_, _, err = capture.Pack()
	require.ErrorIs(t, err, capture.ErrInvalid)
	_, _, err = capture.Pack(good, good)
	require.ErrorContains(t, err, "table public.contacts: Name stands in the pack twice")
}

func TestThePackIsTheSameEachTime(t *testing.T) {
	up, down, err := capture.Pack(contacts(), capture.Table{Name: "deals", Kind: "deal", Tenant: "main"})
	require.NoError(t, err)
	again, downAgain, err := capture.Pack(contacts(), capture.Table{Name: "deals", Kind: "deal", Tenant: "main"})
	require.NoError(t, err)
	require.Equal(t, up, again)
	require.Equal(t, down, downAgain)
	require.True(t, strings.HasPrefix(up, "-- +goose Up\n"))
	require.True(t, strings.HasPrefix(down, "-- +goose Down\n"))
}

func TestMissingIsAboutPostgreSQL(t *testing.T) {
	_, err := capture.Missing(t.Context(), testdb.New(t, testdb.SQLite).Open(t), contacts())
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = capture.Missing(t.Context(), nil, contacts())
	require.ErrorIs(t, err, capture.ErrInvalid)
}

func TestMissingSaysWhatLacks(t *testing.T) {
	each(t, func(b *bench) {
		b.exec(contactsTable, `CREATE SCHEMA "a b"`, `CREATE TABLE "a b"."c""d" (id int PRIMARY KEY)`)
		odd := capture.Table{Name: `a b.c"d`, Kind: "thing", Tenant: "main"}
		_, app := b.as(`USAGE ON SCHEMA public`) // needs no right on the tables
		lacks := func() (out []string) {
			found, err := capture.Missing(b.Context(), app.db, contacts(), odd)
			require.NoError(b, err)
			for _, l := range found {
				out = append(out, l.Table+": "+l.Why)
			}
			return out
		}
		require.Len(b, lacks(), 2)
		require.Contains(b, lacks()[0], "contacts: a trigger is not there")
		b.pack(contacts(), odd)
		require.Empty(b, lacks())
		for statement, why := range map[string]string{
			`ALTER TABLE contacts DISABLE TRIGGER crmguard_audit_capture`:          "disabled",
			`ALTER TABLE contacts ENABLE REPLICA TRIGGER crmguard_audit_capture`:   "disabled",
			`ALTER TABLE contacts DISABLE TRIGGER crmguard_audit_capture_truncate`: "disabled",
			`DROP TRIGGER crmguard_audit_capture ON contacts`:                      "not there",
			`DROP TRIGGER crmguard_audit_capture_truncate ON contacts`:             "not there",
			`ALTER TABLE contacts ADD COLUMN later text`:                           "columns or the key have changed",
			`ALTER TABLE contacts ALTER COLUMN name TYPE varchar(99)`:              "columns or the key have changed",
			`ALTER TABLE contacts RENAME COLUMN email TO mail`:                     "columns or the key have changed",
		} {
			b.exec(statement)
			require.Len(b, lacks(), 1, statement)
			require.Contains(b, lacks()[0], why, statement)
			b.pack(contacts(), odd)
			require.Empty(b, lacks(), "%s: packing again mends it", statement)
		}
		b.exec(`DROP TABLE contacts`)
		require.Contains(b, lacks()[0], "no such table")
		role := app.text(`SELECT session_user::text`)
		b.exec(contactsTable)
		b.pack(contacts())
		b.exec(`ALTER ROLE ` + role + ` SET session_replication_role = replica`)
		app.db = app.OpenWith(b.T, b.driver)
		require.Contains(b, lacks()[0], "session_replication_role")
	})
}
