package stranger

import "github.com/crmguard/crmguard/privacy/datamap"

// What contacts are kept for, and why that is lawful: keys of the DPV.
const (
	purpose    = "dpv:CustomerRelationshipManagement"
	contract   = "eu-gdpr:A6-1-b"
	obligation = "eu-gdpr:A6-1-c"
)

// Map is a true data map of the CRM, as its database names the tables.
func (w *World) Map() *datamap.Map {
	ten := &datamap.Keep{Because: "DE-HGB-257", From: "issued_on", Years: 10}
	toContact := datamap.Edge{Columns: []string{"contact_id"}, Table: "contacts"}
	invoices, lines := w.Table("invoices"), w.Table("invoice_lines")
	return &datamap.Map{Tables: []datamap.Table{
		{Name: "schema_migrations", Key: keyOf("version"), Columns: other("dirty")},
		{Name: "products", Key: keyOf("sku"), Columns: other("name", "price")},
		{Name: "users", Key: keyOf("id"), Tenant: "tenant_id", Columns: other("login")},
		{Name: "companies", Key: keyOf("id"), Tenant: "tenant_id", Columns: other("name", "parent_id", "attribs")},
		{
			Name: "contacts", Key: keyOf("id"), Tenant: "tenant_id", Person: "id", Merged: "merged_into", Created: "created_at", Erase: datamap.Delete,
			Edges: []datamap.Edge{{Columns: []string{"reports_to"}, Table: "contacts", Unlink: datamap.Null}},
			Columns: join(other("company_id", "owner_id", "stage"), email("email"),
				about("contact.name", "name", "nickname"), about("contact.phone", "phone"), about("contact.birthday", "born"), about("finance.income", "income"),
				about("device.ip", "last_ip"), about("contact.attributes", "attribs"), about("text", "bio"), about("contact.photo", "photo")),
		},
		{
			Name: "emails", Key: keyOf("id"), Created: "created_at", Erase: datamap.Delete,
			Edges: []datamap.Edge{toContact}, Columns: email("address"),
		},
		{
			// Orders name the account, so that it stays, without the person.
			Name: "portal_accounts", Key: keyOf("id"), Tenant: "tenant_id", Person: "contact_id", Created: "created_at", Erase: datamap.Redact,
			Columns: []datamap.Column{
				with(about("contact.id", "contact_id")[0], datamap.Null, ""),
				with(email("login")[0], datamap.Redact, "gone-"+datamap.RowMark+"@erased.invalid"),
				with(about("contact.name", "display")[0], datamap.Redact, ""),
				with(about("contact.phone", "phone")[0], datamap.Null, ""),
				{Name: "settings", Path: "/theme"},
				{Name: "settings", Path: "/board"},
				jsonMember("/signature", "text", datamap.Redact),
				jsonMember("/address", "contact.address", datamap.Null),
			},
		},
		{
			Name: "portal_orders", Key: keyOf("id"), Created: "created_at", Erase: datamap.Null, // nothing in them but whose they are
			Edges: []datamap.Edge{{Columns: []string{"account_id"}, Table: "portal_accounts"}}, Columns: other("sku"),
		},
		{
			Name: "notes", Key: keyOf("id"), Created: "created_at", Erase: datamap.Delete,
			Edges:   []datamap.Edge{toContact, {Columns: []string{"mentioned"}, Table: "contacts", Unlink: datamap.Null}},
			Columns: join(other("author_id"), about("text", "body")),
		},
		{
			Name: "deals", Key: keyOf("id"), Tenant: "tenant_id", Created: "created_at", Erase: datamap.Delete,
			Link:    &datamap.Link{Table: "deal_persons", Record: "deal_id", Person: "contact_id"},
			Columns: join(other("company_id", "title", "amount", "stage"), about("text", "summary")),
		},
		{
			Name: "deal_persons", Key: keyOf("deal_id", "contact_id"), Created: "created_at", Erase: datamap.Delete,
			Edges: []datamap.Edge{toContact}, Columns: join(other("role"), about("text", "remark")),
		},
		{
			Name: "comments", Key: keyOf("id"), Created: "created_at", Erase: datamap.Delete,
			Edges:   []datamap.Edge{{Columns: []string{"subject_id"}, Table: "contacts", When: []datamap.When{{Column: "subject_type", Is: "Contact"}}}},
			Columns: join(other("subject_type", "subject_id", "author_id"), about("text", "body")),
		},
		{
			Name: invoices, Key: keyOf("tenant_id", "number"), Tenant: "tenant_id", Person: "contact_id", Created: "created_at", Erase: datamap.Delete, Keep: ten,
			Columns: []datamap.Column{
				{Name: "total"},
				{Name: "issued_on"},
				keep("contact_id", "contact.id"), keep("bill_name", "contact.name"), keep("address", "contact.address"),
				with(about("text", "reminder")[0], datamap.Null, ""),
			},
		},
		{
			// A line is kept as long as its invoice is.
			Name: lines, Key: keyOf("tenant_id", "number", "line"), Erase: datamap.Delete,
			Edges:   []datamap.Edge{{Columns: []string{"tenant_id", "number"}, Table: invoices}},
			Columns: join(other("amount"), about("text", "text")),
		},
		{
			Name: "mailing_list", Key: keyOf("id"), Tenant: "tenant_id", Created: "created_at", Erase: datamap.Delete,
			Edges:   []datamap.Edge{{Columns: []string{"address"}, Identity: "email"}},
			Columns: join(other("list"), about("contact.email", "address"), about("device.ip", "opt_in_ip")),
		},
		{
			Name: "preferences", Key: keyOf("contact_id"), Erase: datamap.Delete,
			Edges: []datamap.Edge{toContact}, Columns: join(about("text", "gift"), other("score")),
		},
		{
			Name: "outbox", Key: keyOf("id"), Tenant: "tenant_id", Person: "contact_id", Created: "created_at", Erase: datamap.Delete,
			Columns: about("contact.copy", "payload"),
		},
	}}
}

func keyOf(columns ...string) []string { return columns }

// other are columns that say nothing about a person.
func other(names ...string) (out []datamap.Column) {
	for _, name := range names {
		out = append(out, datamap.Column{Name: name})
	}
	return out
}

func about(category string, names ...string) (out []datamap.Column) {
	for _, name := range names {
		out = append(out, datamap.Column{Name: name, Category: category, Purpose: purpose, Basis: contract})
	}
	return out
}

func email(name string) []datamap.Column {
	out := about("contact.email", name)
	out[0].Identity = "email"
	return out
}

// with says what happens to a column of a row that stays.
func with(c datamap.Column, action datamap.Action, to string) datamap.Column {
	c.Erase, c.To = action, to
	return c
}

func jsonMember(path, category string, action datamap.Action) datamap.Column {
	c := with(about(category, "settings")[0], action, "")
	c.Path = path
	return c
}

func keep(name, category string) datamap.Column {
	c := with(about(category, name)[0], datamap.Retain, "")
	c.Basis = obligation
	return c
}

func join(lists ...[]datamap.Column) (out []datamap.Column) {
	for _, list := range lists {
		out = append(out, list...)
	}
	return out
}
