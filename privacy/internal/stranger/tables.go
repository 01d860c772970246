package stranger

import (
	"fmt"

	"github.com/crmguard/crmguard/privacy/internal/wholedb"
)

// A table says which rows are made and what stands in them.
type table struct {
	name    string
	rows    func(w *World) []row
	columns []column
}

// A column says what stands in it, and what an erasure of the row's person does
// to that. What of answers is a value, a *Person for their number, or marked.
type column struct {
	name string
	fate wholedb.Fate
	of   func(r row) any
}

const (
	users     = 4
	companies = 4
	products  = 3
)

// The tables in an order in which no row comes before the one that it names.
var tables = []table{
	{"schema_migrations", nobodys(2), []column{
		{"version", plain, number(20240101000000)}, {"dirty", plain, is(false)},
	}},
	{"products", nobodys(products), []column{
		{"sku", plain, sku}, {"name", plain, is("Product")}, {"price", plain, is("19.90")},
	}},
	{"users", nobodys(users), []column{
		{"id", plain, number(1)}, {"tenant_id", plain, alternating}, {"login", plain, func(r row) any { return fmt.Sprintf("staff-%d", r.i) }},
	}},
	{"companies", nobodys(companies), []column{
		{"id", plain, func(r row) any { return uuidOf("company", r.i) }},
		{"tenant_id", plain, alternating},
		{"name", plain, is("Company")},
		{"parent_id", plain, parentCompany},
		{"attribs", plain, is(`{"size": 7}`)},
	}},
	{"contacts", contacts, []column{
		{"id", plain, contact},
		{"tenant_id", plain, tenant},
		{"company_id", plain, company},
		{"owner_id", plain, user},
		{"reports_to", plain, chief},
		{"merged_into", plain, survivor},
		{"email", gone, func(r row) any { return r.p.email(4 * r.n) }},
		{"name", gone, must("name")},
		{"nickname", gone, text("nickname")},
		{"phone", gone, row.phone},
		{"born", gone, row.date},
		{"income", gone, row.money},
		{"last_ip", gone, row.ip},
		{"stage", plain, is("open")},
		{"attribs", gone, func(r row) any {
			return r.object(r.member("birthplace", gone), r.nested("family", gone), member{name: "lang", value: "de"})
		}},
		{"bio", gone, row.long},
		{"photo", gone, row.photo},
		{"created_at", plain, row.created},
	}},
	{"emails", withMerged(2), []column{
		{"id", plain, number(1)}, {"contact_id", plain, contact}, {"address", gone, func(r row) any { return r.p.respelt(r.n) }}, {"created_at", plain, row.created},
	}},
	{"portal_accounts", each(1), []column{
		{"id", plain, number(1)},
		{"tenant_id", plain, tenant},
		{"contact_id", plain, contact},
		{"login", gone, func(r row) any { return r.p.email(2) }},
		{"display", gone, must("display")},
		{"phone", gone, row.phone},
		{"settings", plain, func(r row) any {
			return r.object(r.member("theme", kept), r.member("signature", gone), r.nested("address", gone), r.nested("board", kept))
		}},
		{"created_at", plain, row.created},
	}},
	{"portal_orders", nobodys(2), []column{
		{"id", plain, func(r row) any { return uuidOf("order", r.i) }}, {"account_id", plain, number(1)}, {"sku", plain, sku}, {"created_at", plain, row.created},
	}},
	{"notes", each(2), []column{
		{"id", plain, number(1)}, {"contact_id", plain, contact}, {"mentioned", plain, mentioned}, {"author_id", plain, user}, {"body", gone, noteBody}, {"created_at", plain, row.created},
	}},
	{"deals", each(2), []column{ // one of the person alone, one with the next
		{"id", plain, deal},
		{"tenant_id", plain, tenant},
		{"company_id", plain, company},
		{"title", plain, is("Renewal")},
		{"summary", gone, dealSummary},
		{"amount", plain, is("1200.00")},
		{"stage", plain, is("won")},
		{"created_at", plain, row.created},
	}},
	{"deal_persons", dealPersons, []column{
		{"deal_id", plain, deal}, {"contact_id", plain, contact}, {"role", plain, is("buyer")}, {"remark", gone, text("remark")}, {"created_at", plain, row.created},
	}},
	{"comments", comments, []column{
		{"id", plain, number(1)},
		{"subject_type", plain, func(r row) any { return r.subject }},
		{"subject_id", plain, subjectID},
		{"author_id", plain, user},
		{"body", gone, func(r row) any {
			if r.subject != "Contact" {
				return marked{value: "what everybody may know of this"}
			}
			return r.text("body", true)
		}},
		{"created_at", plain, row.created},
	}},
	{"invoices", each(2), []column{ // one of this year, one whose obligation has ended
		{"tenant_id", plain, tenant},
		{"number", plain, invoiceNumber},
		{"contact_id", plain, contact},
		{"bill_name", kept, must("bill name")},
		{"address", plain, func(r row) any { return r.object(r.nested("bill address", old(kept, r))) }},
		{"reminder", gone, text("reminder")},
		{"total", plain, is("119.00")},
		{"issued_on", plain, issuedOn},
		{"created_at", plain, row.created},
	}},
	{"invoice_lines", each(4), []column{
		{"tenant_id", plain, tenant},
		{"number", plain, func(r row) any { return invoiceNumber(row{p: r.p, n: r.n / 2}) }},
		{"line", plain, func(r row) any { return int64(r.n%2 + 1) }},
		{"text", kept, must("licence")},
		{"amount", plain, is("59.50")},
	}},
	{"mailing_list", each(3), []column{
		{"id", plain, number(1)},
		{"tenant_id", plain, tenant},
		{"list", plain, func(r row) any { return []string{"news", "offers", "portal"}[r.n] }},
		{"address", gone, func(r row) any { return r.p.respelt(r.n) }},
		{"opt_in_ip", gone, row.ip},
		{"created_at", plain, row.created},
	}},
	{"preferences", each(1), []column{ // without a date
		{"contact_id", plain, contact}, {"gift", gone, text("gift")}, {"score", plain, is(int64(0))},
	}},
	{"outbox", each(1), []column{
		{"id", plain, number(1)},
		{"tenant_id", plain, tenant},
		{"contact_id", plain, contact},
		{"payload", plain, func(r row) any { return r.object(r.member("old name", gone)) }},
		{"created_at", plain, row.created},
	}},
}

// Which rows there are.

func nobodys(n int) func(w *World) []row {
	return func(*World) []row { return make([]row, n) }
}

func each(n int) func(w *World) []row {
	return func(w *World) (out []row) {
		for _, p := range w.People {
			for i := range n {
				out = append(out, row{p: p, n: i})
			}
		}
		return out
	}
}

// withMerged adds a row of the contact that was merged into another one.
func withMerged(n int) func(w *World) []row {
	return func(w *World) []row {
		out := each(n)(w)
		for _, p := range w.People {
			if p.Merged != 0 {
				out = append(out, row{p: p, n: n, merged: true})
			}
		}
		return out
	}
}

func contacts(w *World) []row { return withMerged(1)(w) }

func dealPersons(w *World) (out []row) {
	for _, p := range w.People {
		out = append(out, row{p: p, deal: 2 * p.N}, row{p: p, deal: 2*p.N + 1})
		if q := w.person(p, 1); q != p {
			out = append(out, row{p: q, deal: 2*p.N + 1})
		}
	}
	return out
}

func comments(w *World) (out []row) {
	for i := range companies {
		out = append(out, row{subject: "Company", n: i})
	}
	for _, p := range w.People {
		out = append(out, row{p: p, subject: "Contact"}, row{p: p, subject: "Deal", deal: 2 * p.N}, row{subject: "Deal", deal: 2*p.N + 1})
		if p.Merged != 0 {
			out = append(out, row{p: p, subject: "Contact", merged: true})
		}
	}
	return out
}

// What stands in a column.

func is(value any) func(row) any { return func(row) any { return value } }

func number(first int64) func(row) any { return func(r row) any { return first + int64(r.i) } }

func text(name string) func(row) any { return func(r row) any { return r.text(name, false) } }

func must(name string) func(row) any { return func(r row) any { return r.text(name, true) } }

func alternating(r row) any { return int64(r.i%2 + 1) }

func tenant(r row) any { return r.p.Tenant }

func sku(r row) any { return fmt.Sprintf("sku-%d", r.i%products) }

func user(r row) any { return int64(r.i%users + 1) }

func company(r row) any { return uuidOf("company", r.i%companies) }

func parentCompany(r row) any {
	if r.i == 0 {
		return nil
	}
	return uuidOf("company", 0)
}

func contact(r row) any {
	if r.merged {
		return r.p.Merged
	}
	return r.p
}

// chief is the person before, as far as there is one.
func chief(r row) any {
	if r.p.N < 2 || r.merged {
		return nil
	}
	return r.w.person(r.p, -1)
}

func survivor(r row) any {
	if !r.merged {
		return nil
	}
	return r.p
}

func mentioned(r row) any {
	if r.n == 0 {
		return nil
	}
	return r.w.person(r.p, 1)
}

// noteBody names the person mentioned.
func noteBody(r row) any {
	about := r.text("body", true).(string)
	q := r.w.person(r.p, 1)
	if r.n == 0 || q == r.p {
		return about
	}
	name := fmt.Sprintf("colleague of %d, %s", q.N, r.token("mention"))
	return marked{about + "; met " + name + " again", []needle{{of: r.p, text: about, fate: gone}, {of: q, text: name, fate: mention}}}
}

// deal has numbers that contacts have too.
func deal(r row) any {
	if r.table == "deals" {
		return firstID + int64(r.i)
	}
	return firstID + int64(r.deal)
}

func dealSummary(r row) any {
	q := r.w.person(r.p, 1)
	if r.n == 0 || q == r.p {
		return r.text("summary", true)
	}
	a, b := r.text("summary", true).(string), fmt.Sprintf("other side of %d, %s", q.N, r.token("other"))
	return marked{a + " and " + b, []needle{{of: r.p, text: a, fate: shared}, {of: q, text: b, fate: shared}}}
}

// subjectID is text, because some subjects are numbers and some are UUIDs.
func subjectID(r row) any {
	switch {
	case r.subject == "Company":
		return uuidOf("company", r.n)
	case r.subject == "Deal":
		return fmt.Sprint(firstID + int64(r.deal))
	case r.merged:
		return fmt.Sprint(r.p.Merged)
	}
	return r.p.IDText()
}

// invoiceNumber is the same in both tenants for different persons.
func invoiceNumber(r row) any { return int64(1001 + r.p.N/2*2 + r.n) }

func issuedOn(r row) any { return []string{"2026-02-01", "2014-02-01"}[r.n] }

// old is the fate of what an obligation keeps, in a row where it has ended.
func old(f wholedb.Fate, r row) wholedb.Fate {
	ended := r.table == "invoices" && r.n == 1 || r.table == "invoice_lines" && r.n >= 2
	if f == kept && ended {
		return gone
	}
	return f
}
