package capture_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/capture"
)

// as is the same database as a role that has rights on the table of the
// application, and none besides.
func (b *bench) as(rights ...string) (role string, other *bench) {
	b.Helper()
	role, d := b.Role(b.T)
	for _, right := range rights {
		b.exec(`GRANT ` + right + ` TO ` + role)
	}
	return role, &bench{T: b.T, Database: d, driver: b.driver, db: d.OpenWith(b.T, b.driver)}
}

func TestTheRoleOfTheApplicationNeedsNoRight(t *testing.T) {
	each(t, func(b *bench) {
		b.exec(`CREATE SCHEMA app`, `CREATE TABLE app.contacts (id int PRIMARY KEY, name text)`)
		b.pack(capture.Table{Name: "app.contacts", Kind: "contact", Tenant: "main"})
		role, app := b.as(`USAGE ON SCHEMA app`, `SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON app.contacts`)
		app.exec(`INSERT INTO app.contacts VALUES (1, 'a')`, `UPDATE app.contacts SET name = 'b'`)
		b.exec(`ALTER TABLE app.contacts ADD later int`)
		app.exec(`UPDATE app.contacts SET later = 1`, `DELETE FROM app.contacts`, `TRUNCATE app.contacts`)
		rows := b.rows()
		require.Len(b, rows, 5)
		for _, r := range rows {
			require.Equal(b, role, r.Who)
			within(b.T, r.At)
		}
		for _, statement := range []string{
			`SELECT FROM crmguard_audit_captured`, `DELETE FROM crmguard_audit_captured`, `TRUNCATE crmguard_audit_captured`,
			`INSERT INTO crmguard_audit_captured (tx, at, tab, kind, op, who) VALUES ('1', 1, 'app.contacts', 'contact', 'd', 'postgres')`,
		} {
			_, err := app.db.ExecContext(b.Context(), statement)
			require.ErrorContains(b, err, "permission denied", statement)
		}
	})
}

// Whoever could hang the function on a table of his own, or write into that of
// the captured rows, would write them as he likes.
func TestNobodyElseHangsTheFunctionOnATable(t *testing.T) {
	one(t, func(b *bench) {
		role, app := b.as(`CREATE, USAGE ON SCHEMA public`)
		b.exec(contactsTable, `ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO `+role, `ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO `+role+`, PUBLIC`)
		b.pack(contacts())
		b.exec(`ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM `+role, `ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM `+role)
		function := b.text(`SELECT tgfoid::regproc::text FROM pg_trigger WHERE tgname = 'crmguard_audit_capture'`)
		app.exec(`CREATE TABLE mine (id int, tenant text)`)
		_, err := app.db.ExecContext(b.Context(), `CREATE TRIGGER t AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION `+function+`()`)
		require.ErrorContains(b, err, "permission denied")
		_, err = app.db.ExecContext(b.Context(), `DELETE FROM crmguard_audit_captured`)
		require.ErrorContains(b, err, "permission denied", "whatever the administrator gives on new tables")

		b.exec(`GRANT SELECT, DELETE ON crmguard_audit_captured TO ` + role)
		b.pack(contacts())
		app.exec(`DELETE FROM crmguard_audit_captured`) // what was given to whoever files stays
	})
}

// The functions run with the rights of their owner, so nothing that the owner
// of a column's type, or of a schema on the search path, has written may be
// called by them.
func TestNothingOfOthersRunsWithTheRightsOfTheOwner(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(`CREATE TABLE proof (who text, what text)`, `GRANT INSERT ON proof TO PUBLIC`)
		role, app := b.as(`CREATE, USAGE ON SCHEMA public`)
		trap := func(name, args, returns, value string) string {
			return `CREATE FUNCTION ` + name + `(` + args + `) RETURNS ` + returns + ` LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.proof VALUES (current_user, '` + name + `'); RETURN ` + value + `; END $$`
		}
		app.exec(`CREATE TYPE mood AS (m text)`, `CREATE TYPE stage AS ENUM ('a', 'b')`,
			trap("mood_text", "mood", "text", "'x'"), `CREATE CAST (mood AS text) WITH FUNCTION mood_text(mood) AS IMPLICIT`,
			trap("mood_json", "mood", "json", "'{}'"), `CREATE CAST (mood AS json) WITH FUNCTION mood_json(mood) AS IMPLICIT`,
			trap("stage_text", "stage", "text", "'x'"), `CREATE CAST (stage AS text) WITH FUNCTION stage_text(stage) AS IMPLICIT`,
			trap("same", "mood, mood", "boolean", "true"), `CREATE OPERATOR = (LEFTARG = mood, RIGHTARG = mood, FUNCTION = same)`,
			trap("same", "stage, stage", "boolean", "true"), `CREATE OPERATOR = (LEFTARG = stage, RIGHTARG = stage, FUNCTION = same)`,
			trap("format", "text, stage", "text", "'x'"), trap("octet_length", "text", "int", "1"), trap("lower", "text", "text", "'x'"),
			`CREATE TABLE things (id stage PRIMARY KEY, m mood, v text)`, `GRANT ALL ON things TO PUBLIC`)
		b.pack(capture.Table{Name: "things", Kind: "thing", TenantColumn: "m"})
		session := app.conn()
		execOn(b, session, `SET search_path = public, pg_catalog`, `CREATE TEMP TABLE pg_attribute (attname text)`, `CREATE TEMP TABLE crmguard_audit_captured (n int)`,
			`INSERT INTO things VALUES ('a', ROW('x'), 'y')`, `UPDATE things SET m = ROW('z')`, `UPDATE things SET id = 'b', v = 'w'`, `ALTER TABLE things ADD later stage`,
			`UPDATE things SET later = 'a'`, `ALTER TABLE things DROP v`, `UPDATE things SET m = ROW('w'), later = 'b'`, `DELETE FROM things`)
		require.Equal(b, "0", b.text(`SELECT count(*)::text FROM proof WHERE who <> $1`, role))
		require.Equal(b, []string{"i a", "u a", "u a", "u a", "u b", "u b", "u b", "u b", "d b"}, ops(b.rows()), "and all was captured")
		require.NoError(b, session.Close())
		b.exec(`DROP TABLE things`, `DROP TYPE mood, stage CASCADE`)
	})
}

func ops(rows []capture.Row) (out []string) {
	for _, r := range rows {
		out = append(out, r.Op+" "+r.Key)
	}
	return out
}

func TestTheTableOfCapturedRowsBelongsToWhoPacks(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(contactsTable)
		_, other := b.as(`CREATE, USAGE ON SCHEMA public`)
		other.exec(`CREATE TABLE crmguard_audit_captured (n bigint, id uuid, tx text, at bigint, tab text, kind text, tenant text, key text, person text, op text, cols text[], who text, actor text)`)
		up, _, err := capture.Pack(contacts())
		require.NoError(b, err)
		_, err = b.db.ExecContext(b.Context(), up)
		require.ErrorContains(b, err, "belongs to another role", "its triggers would run with our rights")
		require.Equal(b, "0", b.text(`SELECT count(*)::text FROM pg_trigger WHERE tgname LIKE 'crmguard%'`))
	})
}

func TestRowSecurityHidesNoChange(t *testing.T) {
	each(t, func(b *bench) {
		b.exec(`CREATE TABLE contacts (id int PRIMARY KEY, org text, v int)`, `ALTER TABLE contacts ENABLE ROW LEVEL SECURITY`, `ALTER TABLE contacts FORCE ROW LEVEL SECURITY`,
			`CREATE POLICY own ON contacts USING (org = current_setting('app.org', true)) WITH CHECK (true)`)
		b.pack(capture.Table{Name: "contacts", Kind: "contact", TenantColumn: "org"})
		_, app := b.as(`SELECT, INSERT, UPDATE ON contacts`)
		session := app.conn()
		execOn(b, session, `SET app.org = 'a'`, `INSERT INTO contacts VALUES (1, 'a', 1), (2, 'b', 1)`, `UPDATE contacts SET v = 2`, `UPDATE contacts SET org = 'b'`)
		require.Equal(b, []said{
			{"i", "contacts", "contact", "a", "1", nil},
			{"i", "contacts", "contact", "b", "2", nil},
			{"u", "contacts", "contact", "a", "1", []string{"v"}},
			{"u", "contacts", "contact", "a", "1", []string{"org"}},
			{"u", "contacts", "contact", "b", "1", []string{"org"}},
		}, b.captured(), "also of a row that the role does not see")
	})
}

func TestWhereItCannotBeWrittenTheStatementFails(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(contactsTable)
		b.pack(contacts())
		b.exec(`ALTER TABLE crmguard_audit_captured RENAME TO elsewhere`)
		_, err := b.db.ExecContext(b.Context(), `INSERT INTO contacts (name) VALUES ('a')`)
		require.ErrorContains(b, err, "crmguard_audit_captured")
		b.exec(`ALTER TABLE elsewhere RENAME TO crmguard_audit_captured`, `INSERT INTO contacts (name) VALUES ('a')`)
		require.Len(b, b.captured(), 1)
	})
}
