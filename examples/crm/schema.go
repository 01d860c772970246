package main

import (
	"context"
	"database/sql"
	_ "embed" // the tables
	"fmt"

	_ "modernc.org/sqlite" // the database

	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
)

//go:embed schema.sql
var schemaSQL string

// tenant is the only one of this CRM. Every package wants it named.
const tenant = "main"

// schemaID is what the row seals of contacts cover.
const schemaID = "contact/1"

// sealedFields are the columns of contacts that hold personal data, each
// sealed under the person's key. The order is that of the statements.
func sealedFields() []string {
	return []string{
		"full_name", "first_name", "last_name", "middle_initial", "title", "gender", "email", "phone", "mobile_phone",
		"street", "city", "state", "postal_code", "birthday", "job_title", "website", "username", "national_id",
		"card_number", "note", "custom",
	}
}

// contactRules are what a contact must be like: somebody who can be told from
// others, by an e-mail address or by a name. A fault in any other field costs
// that field alone.
func contactRules() (*integrity.Schema, error) {
	label := func(en, zh string) map[string]string { return map[string]string{"en": en, "zh-Hans": zh} }
	text := func(name, en, zh string, longest int) integrity.Field {
		return integrity.Field{Name: name, Label: label(en, zh), MaxLen: longest}
	}
	free := func(name, en, zh string, longest int) integrity.Field {
		f := text(name, en, zh, longest)
		f.FreeText = true
		return f
	}
	who := func(f integrity.Field) integrity.Field {
		f.Group = "who"
		return f
	}
	return integrity.NewSchema(
		"contact",
		who(integrity.Field{Name: "email", Label: label("E-mail", "电子邮箱"), Type: integrity.Email}),
		who(text("full_name", "Name", "姓名", 300)),
		who(text("first_name", "First name", "名", 200)),
		who(text("last_name", "Last name", "姓", 200)),
		text("middle_initial", "Middle initial", "中间名", 100),
		text("title", "Title", "称谓", 100),
		text("gender", "Gender", "性别", 100),
		integrity.Field{Name: "phone", Label: label("Phone", "电话"), Type: integrity.Phone},
		integrity.Field{Name: "mobile_phone", Label: label("Mobile", "手机"), Type: integrity.Phone},
		free("street", "Street", "街道", 1000), // exports break its lines
		text("city", "City", "城市", 200),
		text("state", "State", "省/州", 200),
		text("postal_code", "Postal code", "邮政编码", 40),
		integrity.Field{Name: "country", Label: label("Country", "国家"), Type: integrity.Country},
		integrity.Field{Name: "language", Label: label("Language", "语言"), Type: integrity.Language},
		integrity.Field{Name: "birthday", Label: label("Birthday", "生日"), Type: integrity.Date},
		text("job_title", "Job title", "职务", 500),
		free("company", "Company", "公司", 500),
		text("website", "Website", "网站", 2000),
		text("username", "User name", "用户名", 200),
		text("national_id", "National id", "证件号码", 60),
		integrity.Field{Name: "card_number", Label: label("Card number", "卡号"), Type: integrity.Card},
		free("note", "Note", "备注", 0),
	)
}

// contactLayout is what the seal of a contact covers: every stored column but
// the blind index, the seal and its schema id. Sealed columns enter as they
// are stored, so that no key is needed to verify a row.
func contactLayout() integrity.Layout {
	columns := []integrity.Column{{Name: "owner"}, {Name: "account"}, {Name: "region"}, {Name: "country"}, {Name: "language"}}
	columns = append(columns, integrity.Column{Name: "hold", Type: integrity.Integer}, integrity.Column{Name: "created", Type: integrity.Integer})
	for _, name := range sealedFields() {
		columns = append(columns, integrity.Column{Name: name, Type: integrity.Sealed})
	}
	return integrity.Layout{ID: schemaID, Columns: columns}
}

// sealedTables declares to the vault what is sealed where.
func (c *crm) sealedTables() error {
	var columns []encryption.Column
	for _, name := range sealedFields() {
		column := encryption.Column{Name: name}
		if name == "email" {
			column.Index = []encryption.Index{{Column: "email_index", As: encryption.Email, Bits: 32}}
		}
		columns = append(columns, column)
	}
	for _, t := range []struct {
		to  **encryption.SealedTable
		def encryption.Table
	}{
		{&c.contacts, encryption.Table{Name: "contacts", Owner: "id", Tenant: "tenant", Columns: columns}},
		{&c.deals, encryption.Table{Name: "deals", Tenant: "tenant", Columns: []encryption.Column{{Name: "subject"}}}},
		{&c.activities, encryption.Table{Name: "activities", Owner: "key_owner", Tenant: "tenant", Columns: []encryption.Column{{Name: "body"}}}},
		{&c.attachments, encryption.Table{Name: "attachments", Tenant: "tenant", Columns: []encryption.Column{{Name: "file", Stream: true}}}},
	} {
		table, err := c.vault.Table(t.def)
		if err != nil {
			return err
		}
		*t.to = table
	}
	return nil
}

// dataMap tells the desk where personal data is, why, and what an erasure does
// to it. Every table of the database stands in it.
func dataMap() *datamap.Map {
	contact := []datamap.Column{
		{Name: "owner"},
		{Name: "region"},
		{Name: "hold"},
		{Name: "version"},
		{Name: "event"},
		{Name: "seal_schema"},
		{Name: "account", Shared: true, Category: "contact.company", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract"},
		{Name: "country", Shared: true, Category: "contact.country", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract"},
		{Name: "language", Shared: true, Category: "contact.language", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract"},
		{Name: "email_index", Category: "contact.email", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Withhold: "blind index"},
		{Name: "seal", Withhold: "integrity tag"},
	}
	for _, name := range sealedFields() {
		contact = append(contact, datamap.Column{Name: name, Category: "contact." + name, Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Sealed: true})
	}
	return &datamap.Map{Tables: []datamap.Table{
		{Name: "contacts", Schema: schemaID, Key: []string{"id"}, Tenant: "tenant", Person: "id", Created: "created", Erase: datamap.Delete, Columns: contact},
		{Name: "deals", Key: []string{"id"}, Tenant: "tenant", Person: "person", Created: "created", Erase: datamap.Delete, Columns: []datamap.Column{
			{Name: "owner"},
			{Name: "stage"},
			{Name: "amount_cents"},
			{Name: "subject", Category: "deal.subject", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Sealed: true},
		}},
		{
			Name: "activities", Key: []string{"id"}, Tenant: "tenant", Created: "created", Erase: datamap.Delete,
			Link: &datamap.Link{Table: "activity_persons", Record: "activity", Person: "person", Owner: "key_owner"},
			Columns: []datamap.Column{
				{Name: "kind"},
				{Name: "key_owner", Withhold: "key owner"},
				{Name: "body", Category: "activity.body", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Sealed: true, Everyone: true},
			},
		},
		{Name: "attachments", Key: []string{"id"}, Tenant: "tenant", Person: "person", Created: "created", Erase: datamap.Delete, Columns: []datamap.Column{
			{Name: "file", Withhold: "file name in the attachment store"}, {Name: "bytes"},
		}},
		{Name: "users", Key: []string{"id"}, Tenant: "tenant", Columns: []datamap.Column{{Name: "role"}, {Name: "region"}}},
		{Name: "accounts", Key: []string{"id"}, Tenant: "tenant", Columns: []datamap.Column{{Name: "name"}, {Name: "region"}, {Name: "created"}}},
	}}
}

// openDatabase opens SQLite as a CRM must: every commit survives a power cut,
// and deleted bytes are overwritten from the first row on.
func openDatabase(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)&_pragma=secure_delete(1)&_pragma=foreign_keys(1)")
	if err != nil {
		return nil, err
	}
	return db, db.Ping()
}

// installTables makes the tables of the CRM and of the packages that keep
// theirs beside them.
func installTables(ctx context.Context, db *sql.DB) error {
	if _, err := db.ExecContext(ctx, schemaSQL); err != nil {
		return fmt.Errorf("tables of the CRM: %w", err)
	}
	if err := sqltrail.Install(ctx, db); err != nil {
		return err
	}
	return privacy.Install(ctx, db)
}
