package datamap_test

import "github.com/crmguard/crmguard/privacy/datamap"

// crm is a map with every kind of edge and action.
func crm() *datamap.Map {
	col := func(name, category string) datamap.Column {
		return datamap.Column{Name: name, Category: category, Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract"}
	}
	identity := func(c datamap.Column, kind string) datamap.Column { c.Identity = kind; return c }
	member := func(c datamap.Column, path string, erase datamap.Action, to string) datamap.Column {
		c.Path, c.Erase, c.To = path, erase, to
		return c
	}
	erase := func(c datamap.Column, action datamap.Action, to string) datamap.Column {
		c.Erase, c.To = action, to
		return c
	}
	key := func(names ...string) []string { return names }
	return &datamap.Map{Tenant: "main", Tables: []datamap.Table{
		{Name: "rates", Key: key("id"), Columns: []datamap.Column{{Name: "percent"}}},
		{
			Name: "contacts", Key: key("id"), Person: "id", Merged: "merged_into", Created: "created", Erase: datamap.Delete,
			Edges:   []datamap.Edge{{Columns: key("reports_to"), Table: "contacts", Unlink: datamap.Null}},
			Columns: []datamap.Column{col("name", "contact.name"), identity(col("email", "contact.email"), "email")},
		},
		{
			Name: "emails", Key: key("id"), Erase: datamap.Delete,
			Edges:   []datamap.Edge{{Columns: key("contact_id"), Table: "contacts"}},
			Columns: []datamap.Column{identity(col("address", "contact.email"), "email")},
		},
		{
			Name: "newsletter", Key: key("id"), Tenant: "tenant", Erase: datamap.Delete,
			Edges:   []datamap.Edge{{Columns: key("address"), Identity: "email"}},
			Columns: []datamap.Column{col("address", "contact.email")},
		},
		{
			Name: "comments", Key: key("id"), Erase: datamap.Delete,
			Edges: []datamap.Edge{
				{Columns: key("subject_id"), Table: "contacts", When: []datamap.When{{Column: "subject_type", Is: "Contact"}}},
				{Columns: key("subject_id"), Table: "invoices", To: key("id"), When: []datamap.When{{Column: "subject_type", Is: "Invoice"}}},
			},
			Columns: []datamap.Column{col("body", "text")},
		},
		{
			Name: "tasks", Key: key("id"), // somebody else's
			Edges:   []datamap.Edge{{Columns: key("about"), Table: "contacts", Unlink: datamap.Null}, {Columns: key("done_by"), Unlink: datamap.Delete}},
			Columns: []datamap.Column{{Name: "title"}},
		},
		{
			Name: "billing.invoices", Key: key("year", "number"), Person: "customer", Created: "created", Erase: datamap.Delete,
			Keep: &datamap.Keep{Because: "DE-HGB-257", From: "issued", Years: 10},
			Columns: []datamap.Column{
				{Name: "customer", Category: "id", Purpose: "dpv:LegalCompliance", Basis: "dpv:LegalObligation", Erase: datamap.Retain},
				erase(col("address", "contact.address"), datamap.Retain, ""),
				erase(col("phone", "contact.phone"), datamap.Null, ""),
				erase(col("mail", "contact.email"), datamap.Redact, "gone-{row}@erased.invalid"),
				member(col("extra", "contact.birthday"), "/birthday", datamap.Generalise, datamap.ToYear),
				member(col("extra", "contact.name"), "/names/0", datamap.Pseudonymise, "p-{code}"),
				member(col("extra", "contact.name"), "/a~1b~0", datamap.Retain, ""),
			},
		},
		{
			Name: "invoice_lines", Key: key("id"), Erase: datamap.Delete, Keep: &datamap.Keep{Because: "DE-HGB-257", From: "issued", Years: 10},
			Edges:   []datamap.Edge{{Columns: key("year", "number"), Table: "billing.invoices"}},
			Columns: []datamap.Column{erase(col("text", "text"), datamap.Retain, "")},
		},
		{
			Name: "invoices", Key: key("id"), Person: "person", Erase: datamap.Null,
			Columns: []datamap.Column{
				{Name: "person", Category: "id", Purpose: "dpv:LegalCompliance", Basis: "dpv:LegalObligation", Erase: datamap.Null},
				erase(col("postcode", "contact.address"), datamap.Generalise, "first:3"),
				erase(col("note", "text"), datamap.Scrub, ""),
				{Name: "secret", Category: "text", Purpose: "dpv:LegalCompliance", Basis: "dpv:LegalObligation", Sealed: true, Erase: datamap.Shred},
			},
		},
		{
			Name: "meetings", Key: key("id"), Erase: datamap.Delete,
			Link:    &datamap.Link{Table: "participants", Record: "meeting", Person: "contact", Tenant: "tenant", Owner: "owner"},
			Columns: []datamap.Column{{Name: "text", Category: "text", Purpose: "dpv:CustomerCare", Basis: "dpv:Contract", Everyone: true}},
		},
	}}
}
