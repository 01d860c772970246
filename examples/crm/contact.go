package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"iter"
	"strings"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/integrity"
)

// contact is a row of contacts as it is stored.
type contact struct {
	id, owner, region          string
	account, country, language sql.NullString
	hold                       sql.NullInt64
	sealed                     map[string][]byte // by field; nil is NULL
	emailIndex                 any
	created, version           int64
	event, sealSchema          string
	seal                       []byte
	company                    string // until the account is known
}

// sealContact seals what is known of a person under the person's key.
func (c *crm) sealContact(ctx context.Context, p *person) (*contact, error) {
	w, err := c.contacts.Writer(ctx, tenant, p.id)
	if err != nil {
		return nil, err
	}
	row := &contact{
		id: p.id, owner: p.user, region: regionOf(p.user), country: optional(p.values["country"]), language: optional(p.values["language"]),
		company: p.values["company"], sealed: map[string][]byte{}, created: c.now(), version: 1, sealSchema: schemaID,
	}
	for _, name := range sealedFields() {
		value, there := p.values[name]
		if !there {
			continue
		}
		if row.sealed[name], err = w.Seal(name, []byte(value)); err != nil {
			return nil, err
		}
	}
	row.emailIndex, err = indexValue(w, p.values["email"])
	return row, err
}

func indexValue(w *encryption.Writer, email string) (driver.Value, error) {
	return w.Int64("email_index", email).Value()
}

func optional(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

// ensureAccount makes the company of a person, once.
func (c *crm) ensureAccount(ctx context.Context, tx *sql.Tx, p *person) error {
	name := p.values["company"]
	if name == "" {
		return nil
	}
	if _, there := c.accounts[name]; there {
		return nil
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO accounts (id, tenant, name, region, created) VALUES (?, ?, ?, ?, ?)`, id.String(), tenant, name, regionOf(p.user), c.now()); err != nil {
		return err
	}
	c.accounts[name] = id.String()
	return nil
}

// insertContact stores a new row with its event and its seal: all three
// commit, or none.
func (c *crm) insertContact(ctx context.Context, tx *sql.Tx, row *contact) error {
	row.account = optional(c.accounts[row.company])
	event, err := c.record(ctx, tx, row.owner, "contact.create", row.id, nil)
	if err != nil {
		return err
	}
	row.event = event
	if row.seal, err = c.sealer.Seal(ctx, row.ref(), row.values()); err != nil {
		return err
	}
	columns := []string{"id", "tenant", "owner", "account", "region", "country", "language", "hold", "email_index", "created", "version", "event", "seal_schema", "seal"}
	args := []any{row.id, tenant, row.owner, row.account, row.region, row.country, row.language, row.hold, row.emailIndex, row.created, row.version, row.event, row.sealSchema, row.seal}
	for _, name := range sealedFields() {
		columns, args = append(columns, name), append(args, row.sealed[name])
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO contacts (`+strings.Join(columns, ", ")+`) VALUES (?`+strings.Repeat(", ?", len(columns)-1)+`)`, args...)
	return err
}

// record writes an audit event about a contact in the caller's transaction
// and returns its id.
func (c *crm) record(ctx context.Context, tx *sql.Tx, actor, action, id string, changes []audit.Change) (string, error) {
	return c.live.trail.Record(ctx, tx, audit.Event{
		Tenant: tenant, Actor: actor, Action: action, Object: audit.PersonRef("contact", id),
		Persons: []string{id}, Policy: c.policy.Hash(), Changes: changes,
	})
}

// ref names the row and its version to the sealer.
func (row *contact) ref() integrity.Ref {
	return integrity.Ref{Tenant: tenant, Table: "contacts", Key: row.id, Version: row.version, SchemaID: row.sealSchema, Event: row.event}
}

// values are what the seal covers.
func (row *contact) values() map[string]any {
	out := map[string]any{
		"owner": row.owner, "account": row.account, "region": row.region, "country": row.country, "language": row.language,
		"hold": row.hold, "created": row.created,
	}
	for _, name := range sealedFields() {
		if row.sealed[name] == nil {
			out[name] = nil
			continue
		}
		out[name] = row.sealed[name]
	}
	return out
}

// sealedRow is the row for verification.
func (row *contact) sealedRow() integrity.SealedRow {
	return integrity.SealedRow{Ref: row.ref(), Values: row.values(), Seal: row.seal}
}

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// contactsWhere reads rows of contacts.
func contactsWhere(ctx context.Context, q querier, where string, args ...any) iter.Seq2[*contact, error] {
	return func(yield func(*contact, error) bool) {
		rows, err := q.QueryContext(ctx, `SELECT id, owner, account, region, country, language, hold, created, version, event, seal_schema, seal, `+
			strings.Join(sealedFields(), ", ")+` FROM contacts AS c WHERE `+where, args...)
		if err != nil {
			yield(nil, fmt.Errorf("reading contacts: %w", err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			row := &contact{sealed: map[string][]byte{}}
			into := []any{&row.id, &row.owner, &row.account, &row.region, &row.country, &row.language, &row.hold, &row.created, &row.version, &row.event, &row.sealSchema, &row.seal}
			cells := make([][]byte, len(sealedFields()))
			for i := range cells {
				into = append(into, &cells[i])
			}
			if err := rows.Scan(into...); err != nil {
				yield(nil, err)
				return
			}
			for i, name := range sealedFields() {
				row.sealed[name] = cells[i]
			}
			if !yield(row, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(nil, err)
		}
	}
}

// collect gathers a sequence that fits in memory.
func collect[T any](rows iter.Seq2[T, error]) ([]T, error) {
	var out []T
	for row, err := range rows {
		if err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, nil
}

// SealedCells lets the vault open all sealed columns of many rows with one
// key query; the values go to opened.
type openedContact struct {
	*contact
	text map[string]*string
}

// SealedCells names owner, row and columns.
func (o *openedContact) SealedCells() (owner, row string, cells []encryption.Cell) {
	o.text = map[string]*string{}
	for _, name := range sealedFields() {
		if o.sealed[name] == nil {
			continue
		}
		o.text[name] = new(string)
		cells = append(cells, encryption.Cell{Column: name, Sealed: o.sealed[name], Text: o.text[name]})
	}
	return o.id, o.id, cells
}

// open opens rows for reading: the persons' keys come with one query.
func (c *crm) open(ctx context.Context, rows []*contact) ([]*openedContact, error) {
	out := make([]*openedContact, len(rows))
	for i, row := range rows {
		out[i] = &openedContact{contact: row}
	}
	return out, encryption.OpenAll(ctx, c.contacts, tenant, out)
}
