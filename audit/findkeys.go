package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Questions are asked by 64 bits of a digest, so that an index holds numbers of
// one size whatever an application calls its records. Two that meet are told
// apart by the leaf.

// findKey is how a value of a leaf stands in a column of crmguard_audit_found.
func findKey(column, tenant, value string) int64 {
	var room [256]byte
	data := frame.Append(room[:0], "crmguard/audit/find/v1")
	data = frame.Append(data, column)
	data = frame.Append(data, tenant)
	sum := sha256.Sum256(frame.Append(data, value))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

// findObject is the value of an object.
func findObject(kind, id string) string { return string(frame.Join(kind, id)) }

var (
	foundOf = sqldb.Insert{
		Table: "crmguard_audit_found", Columns: []string{"idx", "at", "tenant_k", "actor_k", "object_k", "action_k", "outcome_k"}, Key: []string{"idx"},
		Types: slices.Repeat([]string{sqldb.Bigint}, 7), Ends: true,
	}
	personsOf = sqldb.Insert{
		Table: "crmguard_audit_persons", Columns: []string{"idx", "k", "at"}, Key: []string{"idx", "k"},
		Types: slices.Repeat([]string{sqldb.Bigint}, 3), Ends: true,
	}
)

// findAction is how an action stands there. What was only allowed stands apart from
// what was done: a million permissions to read are none of the rows among which the
// exports are looked for.
func findAction(tenant, action, outcome string) int64 {
	if outcome == auditlog.OutcomeAllowed {
		return findKey("allowed", tenant, action)
	}
	return findKey("action", tenant, action)
}

// foundRow is the row of an entry in crmguard_audit_found.
func foundRow(idx, at int64, l *auditlog.Leaf) []any {
	row := []any{
		idx, at, findKey("tenant", l.Tenant, ""), findKey("actor", l.Tenant, l.Actor), nil, findAction(l.Tenant, l.Action, l.Outcome), nil,
	}
	if l.Object != (auditlog.Object{}) {
		row[4] = findKey("object", l.Tenant, findObject(l.Object.Kind, l.Object.ID))
	}
	if l.Outcome != "" && l.Outcome != auditlog.OutcomeOK {
		row[6] = findKey("outcome", l.Tenant, l.Outcome)
	}
	return row
}

// personRows are those of an entry in crmguard_audit_persons: one a number, should
// two surrogates share it.
func personRows(idx, at int64, l *auditlog.Leaf) (rows [][]any, err error) {
	persons, err := surrogatesOf(l.Persons)
	if err != nil {
		return nil, err
	}
	seen := make(map[int64]bool, len(persons))
	for _, p := range persons {
		if k := surrogateK(p); !seen[k] {
			seen[k] = true
			rows = append(rows, []any{idx, k, at})
		}
	}
	return rows, nil
}
