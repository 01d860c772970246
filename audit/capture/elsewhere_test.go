package capture_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/capture"
)

// hangsElsewhere hangs the pack's own function on contacts, made anew in another schema
// where a table of the same name stands: nobody files what is written there.
const hangsElsewhere = `DO $do$ DECLARE r oid; home text := current_schema(); name text; BEGIN
	SELECT tgfoid INTO r FROM pg_trigger WHERE tgname = 'crmguard_audit_capture' AND tgrelid = 'contacts'::regclass;
	SELECT proname INTO name FROM pg_proc WHERE oid = r;
	EXECUTE format('CREATE TABLE mine.crmguard_audit_captured (LIKE %I.crmguard_audit_captured INCLUDING ALL)', home);
	EXECUTE replace(pg_get_functiondef(r), format('%I.', home), 'mine.');
	EXECUTE format('COMMENT ON FUNCTION mine.%I() IS %L', name, obj_description(r, 'pg_proc'));
	DROP TRIGGER crmguard_audit_capture ON contacts;
	DROP TRIGGER crmguard_audit_capture_truncate ON contacts;
	EXECUTE format('CREATE TRIGGER crmguard_audit_capture AFTER INSERT OR UPDATE OR DELETE ON contacts FOR EACH ROW EXECUTE FUNCTION mine.%I()', name);
	EXECUTE format('CREATE TRIGGER crmguard_audit_capture_truncate AFTER TRUNCATE ON contacts FOR EACH STATEMENT EXECUTE FUNCTION mine.%I()', name);
	END $do$`

func (b *bench) lack(tables ...capture.Table) string {
	b.Helper()
	lacks, err := capture.Missing(b.Context(), b.db, tables...)
	require.NoError(b, err)
	if len(lacks) == 0 {
		return ""
	}
	return lacks[0].Why
}

// Captured rows are those that the session reads: the same function over a table of the
// same name elsewhere captures nothing.
func TestCapturedElsewhereIsNotCaptured(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(contactsTable)
		b.pack(contacts())
		b.exec(`CREATE SCHEMA mine`, hangsElsewhere, `INSERT INTO contacts (name) VALUES ('x')`)
		require.Empty(b, b.rows())
		require.Contains(b, b.lack(contacts()), "find out who has replaced it")
		b.pack(contacts())
		require.Empty(b, b.lack(contacts()), "packing again mends it")
	})
}

// The function has the rights of its owner, who is the one that owns the captured rows:
// of another owner it may do anything but write them.
func TestAFunctionOfAnotherOwnerIsNotThePacks(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(contactsTable)
		b.pack(contacts())
		role, _ := b.as(`USAGE ON SCHEMA public`)
		routine := b.text(`SELECT tgfoid::regproc::text FROM pg_trigger WHERE tgname = 'crmguard_audit_capture' AND tgrelid = 'contacts'::regclass`)
		b.exec(`GRANT CREATE ON SCHEMA public TO `+role, `ALTER FUNCTION `+routine+`() OWNER TO `+role)
		require.Contains(b, b.lack(contacts()), "find out who has replaced it")
		b.exec(`ALTER FUNCTION ` + routine + `() OWNER TO CURRENT_USER`)
		require.Empty(b, b.lack(contacts()))
	})
}

// Where a session does not see the captured rows, nobody is accused.
func TestASessionThatSeesNoCapturedRowsIsTold(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(contactsTable)
		b.pack(contacts())
		b.exec(`ALTER TABLE crmguard_audit_captured RENAME TO away`)
		require.Contains(b, b.lack(contacts()), "sees no crmguard_audit_captured")
	})
}
