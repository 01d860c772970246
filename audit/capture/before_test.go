package capture_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/capture"
)

// Over a table of captured rows of another version each statement of the application
// would fail: the pack says so, and does nothing.
func TestAPackOverATableOfAnotherVersionDoesNothing(t *testing.T) {
	for change, lacks := range map[string]string{
		`ALTER TABLE crmguard_audit_captured ALTER tx TYPE xid8 USING NULL`: "it lacks tx text",
		`ALTER TABLE crmguard_audit_captured DROP id, DROP person`:          "it lacks id uuid, person text",
	} {
		one(t, func(b *bench) {
			b.exec(contactsTable, `CREATE TABLE deals (id int PRIMARY KEY)`)
			b.pack(contacts())
			b.exec(change)
			deals := capture.Table{Name: "deals", Kind: "deal", Tenant: "main"}
			up, _, err := capture.Pack(deals)
			require.NoError(b, err)
			_, err = b.db.ExecContext(b.Context(), up)
			require.ErrorContains(b, err, lacks)
			require.ErrorContains(b, err, "42804")
			b.exec(`INSERT INTO deals VALUES (1)`, `BEGIN; DROP TABLE crmguard_audit_captured; `+up+`; COMMIT`, `INSERT INTO deals VALUES (2)`)
			require.Len(b, b.rows(), 1, "as the text says")
		})
	}
}
