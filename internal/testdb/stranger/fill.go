package stranger

import (
	"crypto/sha256"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crmguard/crmguard/internal/testdb"
)

const (
	users      = 40
	accounts   = 600
	tags       = 120
	sources    = 150
	activities = 2500
	events     = 2500
	invoices   = 800
	notes      = 300
)

// day is when the CRM began; nothing in it depends on today.
func day(n int) time.Time { return time.Date(2024, 1, 1, 8, 30, 0, 0, time.UTC).AddDate(0, 0, n) }

// uuid is the same each time, and in no order.
func uuid(kind string, n int) [16]byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", kind, n))
	id := [16]byte(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

// binaryUUID is how billing keeps its keys.
func (c *CRM) binaryUUID(id [16]byte) any {
	if c.mysql() {
		return id[:]
	}
	return uuidText(id)
}

// time is a time as applications hand it to the database: SQLite has no type
// for it, and gets text.
func (c *CRM) time(t time.Time) any {
	if c.Name == testdb.SQLite {
		return t.Format("2006-01-02 15:04:05.000000")
	}
	return t
}

func (c *CRM) fill(tb testing.TB) {
	tb.Helper()
	c.fillPeople(tb)
	c.fillTags(tb)
	c.fillBilling(tb)
	// The history is written by the trigger.
	contacts := c.quote(tb, c.path("crm", "contacts"))
	c.exec(tb, "UPDATE "+contacts+" SET stage = 'qualified' WHERE score % 10 = 3")
	c.exec(tb, "UPDATE "+contacts+" SET stage = 'won' WHERE score % 20 = 3")
	c.exec(tb, c.dialect.Bind("DELETE FROM "+contacts+" WHERE id IN (?, ?)"), contactID(people-1), contactID(people-2))
	if c.postgres() {
		for _, table := range []string{"crm.users", "crm.activities"} {
			c.exec(tb, "SELECT setval(pg_get_serial_sequence('"+table+"', 'id'), max(id)) FROM "+table)
		}
		c.exec(tb, "ANALYZE")
	}
}

func (c *CRM) fillPeople(tb testing.TB) {
	tb.Helper()
	c.insert(tb, "crm", "users", []string{"id", "email", "name", "role", "reports_to", "hired_on"}, users, func(i int) []any {
		var boss any
		if i > 0 {
			boss = (i-1)/5 + 1
		}
		return []any{i + 1, fmt.Sprintf("User%d@Crm.example", i), fmt.Sprintf("User %d", i), []string{"seller", "manager", "admin"}[i%3], boss, day(i).Format("02.01.2006")}
	})
	c.insert(tb, "crm", "accounts", []string{"id", "name", "domain", "parent_id", "revenue", "custom"}, accounts, func(i int) []any {
		p := c.people[i]
		var parent any
		if i > 9 && i%4 == 0 {
			parent = uuidText(uuid("account", i/10))
		}
		return []any{uuidText(uuid("account", i)), p.company, fmt.Sprintf("%d.%s", i, p.domain), parent, fmt.Sprintf("%d.%02d", i*977, i%100), fmt.Sprintf(`{"size": %d, "Segment": "%c"}`, i, 'A'+i%5)}
	})
	mails := map[string]bool{}
	columns := []string{
		"id", "account_id", "owner_id", "first_name", "last_name", "email", "phone", "street", "city", "country", "birthday",
		"stage", "score", "value", "consent", "custom", "created_at", "updated_at", "deleted_at",
	}
	c.insert(tb, "crm", "contacts", columns, people, func(i int) []any {
		p := c.people[i]
		row := []any{
			contactID(i), uuidText(uuid("account", i%accounts)), i%users + 1, p.first, p.last, p.email, p.phone, p.street, p.city, p.country, p.birthday,
			[]string{"new", "lost"}[i%2], i % 100, fmt.Sprintf("%d.%02d", i*13, i%100), i%3 == 0, fmt.Sprintf(`{"job": %q, "n": %d}`, p.job, i),
			c.time(day(i % 700)), day(i % 700).Format(time.RFC3339), nil,
		}
		folded := strings.ToLower(p.email)
		if mails[folded] || p.email == "" {
			row[5] = nil // one person in two rows, as in every CRM
		}
		mails[folded] = true
		for at, every := range map[int]int{1: 7, 2: 11, 3: 13, 5: 19, 6: 9, 13: 8, 14: 5, 15: 6} {
			if i%every == every-1 {
				row[at] = nil
			}
		}
		if i%10 == 9 {
			row[18] = c.time(day(i%700 + 1))
		}
		if i%17 == 16 {
			row[3] = "" // empty is not NULL
		}
		return row
	})
	c.insert(tb, "crm", "activities", []string{"id", "subject_type", "subject_id", "body", "due_on", "done", "meta"}, activities, func(i int) []any {
		kind, id := "contact", contactID(i%people)
		if i%4 == 0 {
			kind, id = "account", uuidText(uuid("account", i%accounts))
		}
		due := ""
		if i%3 > 0 {
			due = day(i % 900).Format(time.DateOnly)
		}
		return []any{i*3 + 1, kind, id, "call " + c.people[i].first, due, i%2 == 0, nil}
	})
	c.insert(tb, "crm", "events", []string{"occurred_at", "id", "contact_id", "what"}, events, func(i int) []any {
		return []any{c.time(day(i % 1100).Add(time.Duration(i%4) * time.Microsecond)), i, contactID(i), "opened"} // several at one time
	})
}

func (c *CRM) fillTags(tb testing.TB) {
	tb.Helper()
	c.insert(tb, "crm", "tags", []string{"name"}, tags, func(i int) []any { return []any{tag(i)} })
	c.insert(tb, "crm", "sources", []string{"code", "label"}, sources, func(i int) []any { return []any{tag(i), nil} })
	c.insert(tb, "crm", "contact_tags", []string{"contact_id", "tag"}, people, func(i int) []any {
		name := tag(i * i % tags)
		if i%5 == 0 {
			name = strings.ToUpper(name) // the same tag, to the database
		}
		return []any{contactID(i), name}
	})
}

// tag is text in mixed case, script and length, none like another one without
// regard to case and accents.
func tag(i int) string {
	switch i % 5 {
	case 0:
		return fmt.Sprintf("vip%d", i)
	case 1:
		return fmt.Sprintf("Lead %03d", i)
	case 2:
		return fmt.Sprintf("ÄRZTE-%d", i)
	case 3:
		return fmt.Sprintf("0%d_new", i)
	}
	return fmt.Sprintf("客户%d", i)
}

func (c *CRM) fillBilling(tb testing.TB) {
	tb.Helper()
	c.insert(tb, "billing", "invoices", []string{"id", "number", "contact_id", "issued_on", "total", "address"}, invoices, func(i int) []any {
		return []any{c.binaryUUID(uuid("invoice", i)), fmt.Sprintf("%08d", i), contactID(i * 3), day(i).Format(time.DateOnly), fmt.Sprintf("%d.50", i), fmt.Sprintf(`{"city": %q}`, c.people[i*3].city)}
	})
	c.insert(tb, "billing", "invoice_lines", []string{"invoice_id", "line", "text", "amount"}, 2*invoices, func(i int) []any {
		return []any{c.binaryUUID(uuid("invoice", i/2)), i%2 + 1, "licence", fmt.Sprintf("%d.25", i)}
	})
	c.insert(tb, "billing", "rates", []string{"country", "kind", "valid_from", "percent"}, 360, func(i int) []any {
		return []any{[]string{"DE", "CH", "AT", "FR"}[i%4], []string{"standard", "reduced", "exempt"}[i/4%3], day(i / 12 * 31).Format(time.DateOnly), "7.70"}
	})
	c.insert(tb, "billing", "Credit Notes", []string{"No", "order", "invoice_id"}, notes, func(i int) []any {
		var invoice any
		if i%2 == 0 {
			invoice = c.binaryUUID(uuid("invoice", i))
		}
		return []any{fmt.Sprintf("%07d", i*37), i, invoice}
	})
}

// insert writes n rows in as few statements as every database takes.
func (c *CRM) insert(tb testing.TB, schema, table string, columns []string, n int, row func(i int) []any) {
	tb.Helper()
	const most = 1500
	quoted := make([]string, len(columns))
	for i, column := range columns {
		quoted[i] = c.quote(tb, column)
	}
	one := "(" + strings.TrimSuffix(strings.Repeat("?, ", len(columns)), ", ") + ")"
	into := "INSERT INTO " + c.quote(tb, c.path(schema, table)) + " (" + strings.Join(quoted, ", ") + ") VALUES "
	for first := 0; first < n; first += most {
		count := min(most, n-first)
		args := make([]any, 0, count*len(columns))
		for i := range count {
			args = append(args, row(first+i)...)
		}
		c.exec(tb, c.dialect.Bind(into+strings.TrimSuffix(strings.Repeat(one+", ", count), ", ")), args...)
	}
}

func readKeys(tb testing.TB, rows *sql.Rows, width int) []string {
	tb.Helper()
	var out []string
	values, dest := make([]string, width), make([]any, width)
	for i := range values {
		dest[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			tb.Fatalf("stranger: %v", err)
		}
		out = append(out, KeyText(values...))
	}
	if err := rows.Err(); err != nil {
		tb.Fatalf("stranger: %v", err)
	}
	slices.Sort(out)
	return out
}
