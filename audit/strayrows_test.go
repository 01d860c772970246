package audit_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// Rows of no entry are found in whatever table they stand, and so is a log that has
// another name or a second one.
func TestRowsOfNoEntryAreFound(t *testing.T) {
	for table, edit := range map[string]string{
		"crmguard_audit_entries":  `INSERT INTO crmguard_audit_entries (idx, id, leaf, at, filed) SELECT 99, x'00', leaf, at, filed FROM crmguard_audit_entries WHERE idx = 1`,
		"crmguard_audit_events":   `INSERT INTO crmguard_audit_events (id, log, retry, idx) VALUES (x'00112233445566778899aabbccddeeff', 1, x'', 99)`,
		"crmguard_audit_found":    `INSERT INTO crmguard_audit_found (idx, at, tenant_k, actor_k, object_k, action_k, outcome_k) SELECT 99, at, tenant_k, actor_k, object_k, action_k, outcome_k FROM crmguard_audit_found WHERE idx = 1`,
		"crmguard_audit_persons":  `INSERT INTO crmguard_audit_persons (k, idx, at) SELECT k, 99, at FROM crmguard_audit_persons WHERE idx = 1`,
		"crmguard_audit_openings": `INSERT INTO crmguard_audit_openings (idx, owner, sealed) SELECT 99, owner, sealed FROM crmguard_audit_openings WHERE idx = 1`,
		"crmguard_audit_log":      `UPDATE crmguard_audit_log SET name = 'crm.example/audit/1'`,
		"crmguard_audit_state":    `UPDATE crmguard_audit_state SET origin = 'crm.example/audit/1'`,
	} {
		b := newBench(t)
		b.fill(4)
		b.run()
		require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
		b.exec(edit)
		r := b.verifyStore(b.checkpoint())
		require.Equal(t, auditlog.Tampered, r.Verdict, table)
		tables := map[string]bool{}
		for _, f := range r.Faults {
			tables[f.File] = true
		}
		require.True(t, tables[table], "%s: %+v", table, r.Faults)
	}
}
