package capture_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/capture"
)

// Whoever owns a table makes its triggers and their function anew as he likes, under
// the names that they had: Missing compares them with what the pack makes.
func TestMissingComparesWhatStandsWithThePack(t *testing.T) {
	each(t, func(b *bench) {
		b.exec(contactsTable, `CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`)
		b.pack(contacts())
		routine := b.text(`SELECT tgfoid::regproc::text FROM pg_trigger WHERE tgname = 'crmguard_audit_capture' AND tgrelid = 'contacts'::regclass`)
		row := func(what string) string {
			return strings.NewReplacer("crmguard()", routine+"()").Replace(`DROP TRIGGER crmguard_audit_capture ON contacts;;CREATE TRIGGER crmguard_audit_capture AFTER ` + what)
		}
		whole := func(what string) string {
			return strings.NewReplacer("crmguard()", routine+"()").Replace(`DROP TRIGGER crmguard_audit_capture_truncate ON contacts;;CREATE TRIGGER crmguard_audit_capture_truncate AFTER ` + what)
		}
		for _, c := range []struct{ statements, why string }{
			{row(`INSERT OR UPDATE OR DELETE ON contacts FOR EACH ROW WHEN (pg_trigger_depth() > 100) EXECUTE FUNCTION crmguard()`), "has a condition"},
			{row(`INSERT OR DELETE OR UPDATE OF name ON contacts FOR EACH ROW EXECUTE FUNCTION crmguard()`), "another one under its name"},
			{row(`INSERT OR UPDATE ON contacts FOR EACH ROW EXECUTE FUNCTION crmguard()`), "another one under its name"},
			{row(`INSERT OR UPDATE OR DELETE ON contacts FOR EACH STATEMENT EXECUTE FUNCTION crmguard()`), "another one under its name"},
			{row(`INSERT OR UPDATE OR DELETE ON contacts FOR EACH ROW EXECUTE FUNCTION nothing()`), "another one under its name"},
			// At COMMIT, when the session may say something else about whom it acts for.
			{`DROP TRIGGER crmguard_audit_capture ON contacts;;CREATE CONSTRAINT TRIGGER crmguard_audit_capture AFTER INSERT OR UPDATE OR DELETE ON contacts
				DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ` + routine + `()`, "deferred"},
			{whole(`TRUNCATE ON contacts FOR EACH STATEMENT WHEN (false) EXECUTE FUNCTION crmguard()`), "has a condition"},
			{whole(`TRUNCATE ON contacts FOR EACH STATEMENT EXECUTE FUNCTION nothing()`), "another one under its name"},
			{whole(`INSERT ON contacts FOR EACH STATEMENT EXECUTE FUNCTION crmguard()`), "another one under its name"},
			{`ALTER TABLE contacts ENABLE REPLICA TRIGGER crmguard_audit_capture_truncate`, "disabled"},
			{row(`INSERT OR UPDATE OR DELETE ON contacts FOR EACH ROW EXECUTE FUNCTION nothing()`) + `;;` + whole(`TRUNCATE ON contacts FOR EACH STATEMENT EXECUTE FUNCTION nothing()`), "another pack was"},
			{`CREATE OR REPLACE FUNCTION ` + routine + `() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN NULL; END'`, "find out who has replaced it"},
			{`ALTER FUNCTION ` + routine + `() SECURITY INVOKER`, "find out who has replaced it"},
			{`ALTER FUNCTION ` + routine + `() SET search_path = public`, "find out who has replaced it"},
			{`ALTER FUNCTION ` + routine + `() RESET ALL`, "find out who has replaced it"},
			{`COMMENT ON FUNCTION ` + routine + `() IS 'x'`, "another pack was"},
		} {
			for statement := range strings.SplitSeq(c.statements, ";;") {
				b.exec(statement)
			}
			lacks, err := capture.Missing(b.Context(), b.db, contacts())
			require.NoError(b, err)
			require.Len(b, lacks, 1, c.statements)
			require.Contains(b, lacks[0].Why, c.why, c.statements)
			b.pack(contacts())
			lacks, err = capture.Missing(b.Context(), b.db, contacts())
			require.NoError(b, err)
			require.Empty(b, lacks, "%s: packing again mends it", c.statements)
		}
		for _, harmless := range []string{`ALTER TABLE contacts ENABLE ALWAYS TRIGGER crmguard_audit_capture`, `ALTER TABLE contacts ENABLE ALWAYS TRIGGER crmguard_audit_capture_truncate`} {
			b.exec(harmless)
			lacks, err := capture.Missing(b.Context(), b.db, contacts())
			require.NoError(b, err)
			require.Empty(b, lacks, harmless)
		}
	})
}
