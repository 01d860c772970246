package audit

import (
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// A page is one statement, so that all of it is of one moment. Two traps stand in
// its way, and a test asks each database for its plan: joined by JOIN … ON some
// begin with all persons of a tenant, where CROSS JOIN keeps the order; and the
// upper end of the range must be the smaller of the question's and the cursor's,
// or a deep page reads all that stands before it.

// The parts of an answer, as its first column says.
const (
	partState    = 0 // size, found, pruned
	partEntry    = 1 // idx, at, filed, leaf
	partTail     = 2 // the same, of entries without an index yet
	partOpening  = 3 // idx, sealed, owner
	partPerson   = 4 // n, k, state, surrogate, head, tag, into, person
	partWaiting  = 5 // seq, body, id
	partWaitings = 6 // how many wait
)

// statement is a statement on its way.
type statement struct {
	text strings.Builder
	args []any
}

func (s *statement) add(text string, args ...any) {
	s.text.WriteString(text)
	s.args = append(s.args, args...)
}

// condition is one that a column of an index must meet.
type condition struct {
	column string
	keys   []int64 // any of them; none: the column is NULL
}

// conditions of a question, the one that drives it first. Those of persons stand
// in a table of their own.
func (q *question) conditions() (out []condition) {
	if q.persons != nil {
		c := condition{column: "k"}
		for _, p := range q.persons {
			c.keys = append(c.keys, surrogateK(p))
		}
		out = append(out, c)
	}
	if q.objects != nil {
		c := condition{column: "object_k"}
		for _, o := range q.objects {
			c.keys = append(c.keys, findKey("object", q.Tenant, findObject(o.Kind, o.ID)))
		}
		out = append(out, c)
	}
	one := func(name, value string) {
		if value != "" {
			out = append(out, condition{name + "_k", []int64{findKey(name, q.Tenant, value)}})
		}
	}
	one("actor", q.Actor)
	if q.Outcome != OutcomeOK && (q.Outcome != OutcomeAllowed || q.Action == "") {
		one("outcome", q.Outcome)
	}
	if q.Action != "" {
		out = append(out, condition{"action_k", []int64{findAction(q.Tenant, q.Action, q.Outcome)}})
	}
	if len(out) == 0 {
		out = append(out, condition{"tenant_k", []int64{findKey("tenant", q.Tenant, "")}})
	}
	if q.Outcome == OutcomeOK {
		out = append(out, condition{"outcome_k", nil})
	}
	return out
}

func (s *statement) where(table string, c condition) {
	name := table + "." + c.column
	switch {
	case c.keys == nil:
		s.add(name + " IS NULL")
	case len(c.keys) == 1:
		s.add(name+" = ?", c.keys[0])
	default:
		s.add(name + " IN (" + sqldb.Marks(len(c.keys)) + ")")
		for _, k := range c.keys {
			s.args = append(s.args, k)
		}
	}
}

// found is the subquery of the newest entries before a place, by the index.
func (s *statement) found(q *question, from *place, limit int) {
	all := q.conditions()
	drive := all[0]
	if len(drive.keys) == 1 || len(drive.keys) > rangesMost {
		s.span(q, all, from, limit)
		return
	}
	s.add("SELECT u.idx, u.at FROM (")
	for i, k := range drive.keys { // each a range of the index; of all together none is
		if i > 0 {
			s.add(" UNION ")
		}
		all[0].keys = []int64{k}
		s.add("SELECT idx, at FROM (")
		s.span(q, all, from, limit)
		s.add(fmt.Sprintf(") r%d", i))
	}
	s.add(fmt.Sprintf(") u ORDER BY u.at DESC, u.idx DESC LIMIT %d", limit))
}

// span is one range of an index.
func (s *statement) span(q *question, all []condition, from *place, limit int) {
	distinct := ""
	if len(all[0].keys) > 1 {
		distinct = "DISTINCT "
	}
	switch {
	case all[0].column != "k":
		s.add("SELECT " + distinct + "d.idx, d.at FROM crmguard_audit_found d WHERE ")
		s.where("d", all[0])
		for _, c := range all[1:] {
			s.add(" AND ")
			s.where("d", c)
		}
	case len(all) == 1:
		s.add("SELECT " + distinct + "d.idx, d.at FROM crmguard_audit_persons d WHERE ")
		s.where("d", all[0])
	default:
		s.add("SELECT " + distinct + "d.idx, d.at FROM crmguard_audit_persons d CROSS JOIN crmguard_audit_found w WHERE w.idx = d.idx AND ")
		s.where("d", all[0])
		for _, c := range all[1:] {
			s.add(" AND ")
			s.where("w", c)
		}
	}
	s.add(" AND d.at >= ?", q.from)
	if from.waits {
		s.add(" AND d.at <= ?", q.to)
	} else {
		upper := min(q.to, from.at)
		s.add(" AND d.at <= ? AND (d.at < ? OR d.idx < ?)", upper, from.at, from.n)
	}
	if !from.first {
		s.add(" AND d.idx < ?", from.end)
	}
	s.add(fmt.Sprintf(" ORDER BY d.at DESC, d.idx DESC LIMIT %d", limit))
}

// limits are how much a page looks at.
type limits struct{ page, waiting, tail int }

const nulls = ", NULL, NULL, NULL, NULL"

// pageText is the statement of a page.
func (t *Trail) pageText(q *question, from *place, most limits) *statement {
	s := &statement{}
	s.add("WITH hit AS (")
	s.found(q, from, most.page)
	s.add("), page AS (SELECT e.idx, e.at, e.filed, " + upTo(auditlog.MaxLeaf, "e.leaf") + " AS leaf FROM hit CROSS JOIN crmguard_audit_entries e WHERE e.idx = hit.idx), tail AS (")
	entry := `SELECT e.idx, e.at, e.filed, ` + upTo(auditlog.MaxLeaf, "e.leaf") + ` AS leaf FROM crmguard_audit_entries e WHERE `
	late := fmt.Sprintf(entry+`e.idx >= (SELECT found FROM crmguard_audit_state WHERE id = 1) AND e.idx < ? ORDER BY e.idx DESC LIMIT %d`, most.tail)
	switch {
	case from.first:
		s.add(late, int64(1<<63-1))
	case !from.waits:
		s.add(late, from.end)
	default: // what waited on the first page may have been filed since
		s.add("SELECT * FROM ("+late+") a UNION ALL SELECT * FROM ("+entry, from.end)
		s.add(fmt.Sprintf("e.idx >= ? ORDER BY e.idx LIMIT %d) b", most.tail), from.end)
	}
	// The first of the parts gives the columns their types.
	s.add(`) SELECT 0 AS part, z.size, z.found, z.pruned` + strings.Repeat(", "+upTo(0, "z.root"), 4) + `, z.origin FROM crmguard_audit_state z WHERE z.id = 1`)
	s.add(` UNION ALL SELECT 1, idx, at, filed, leaf` + nulls + ` FROM page`)
	s.add(` UNION ALL SELECT 2, idx, at, filed, leaf` + nulls + ` FROM tail`)
	s.add(` UNION ALL SELECT 3, o.idx, 0, 0, ` + upTo(mostSealed, "o.sealed") + `, ` + upTo(mostID, "o.owner") + `, NULL, NULL, NULL FROM hit CROSS JOIN crmguard_audit_openings o WHERE o.idx = hit.idx`)
	s.add(` UNION ALL SELECT 3, o.idx, 0, 0, ` + upTo(mostSealed, "o.sealed") + `, ` + upTo(mostID, "o.owner") + `, NULL, NULL, NULL FROM tail CROSS JOIN crmguard_audit_openings o WHERE o.idx = tail.idx`)
	person := ` UNION ALL SELECT 4, s.n, s.k, s.state, ` + upTo(mostID, "s.surrogate") + `, ` + upTo(mostSmall, "s.head") + `, ` + upTo(tagSize, "s.tag") + `, ` + upTo(mostID, "s.into_surrogate") + `, s.person FROM `
	s.add(person+`(SELECT DISTINCT p.k AS k FROM hit CROSS JOIN crmguard_audit_persons p WHERE p.idx = hit.idx) who`+
		` CROSS JOIN crmguard_audit_surrogates s WHERE s.k = who.k AND s.tenant = ?`, q.Tenant)
	var nobody [16]byte
	s.add(person+`crmguard_audit_surrogates s WHERE s.tenant = ? AND s.surrogate = ?`, q.Tenant, nobody[:])
	if from.waits {
		waiting, limit, args := ` FROM crmguard_audit_events WHERE idx IS NULL AND seq > `+t.drainedNow(), most.waiting, []any(nil)
		if from.rows != (seqs{}) { // what the first page looked at, whatever has come since
			waiting, limit, args = waiting+` AND seq >= ? AND seq <= ?`, 2*pendingMost, []any{from.rows.from, from.rows.to}
		}
		s.add(` UNION ALL SELECT 5, v.seq, 0, 0, `+upTo(mostBody, "v.body")+`, `+upTo(64, "v.id")+`, NULL, NULL, NULL FROM (SELECT seq, body, id`+waiting+fmt.Sprintf(` ORDER BY seq DESC LIMIT %d) v`, limit), args...)
		s.add(` UNION ALL SELECT 6, COUNT(*), 0, 0`+nulls+`, NULL FROM (SELECT seq`+waiting+fmt.Sprintf(` LIMIT %d) c`, countMost), args...)
	}
	return s
}

// drainedNow is up to where nothing waits, for a statement.
func (t *Trail) drainedNow() string {
	if t.db.Kind == sqldb.SQLite {
		return `(SELECT drained FROM crmguard_audit_state WHERE id = 1)`
	}
	return "0"
}
