package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/encryption"
)

// A contact is what the application knows of a person, opened.
type contact struct {
	id     int64
	person string
	email  string
	notes  string
}

// stored is a row as sqlc reads it: the row types of all queries have these
// fields, so they convert.
type stored struct {
	ID     int64
	Person string
	Email  encryption.Sealed
	Notes  encryption.Sealed
}

// queries is what both generated packages can do.
type queries interface {
	add(ctx context.Context, person string, email encryption.Sealed, index encryption.IndexValue, notes encryption.Sealed) (int64, error)
	changeEmail(ctx context.Context, id int64, person string, email encryption.Sealed, index encryption.IndexValue) (int64, error)
	findByEmail(ctx context.Context, values []encryption.IndexValue) ([]stored, error)
	list(ctx context.Context, after int64, page int32) ([]stored, error)
}

// contacts seals what goes into the queries and opens what comes out.
type contacts struct {
	tenant  string
	table   *encryption.SealedTable
	queries queries
}

// definition declares what the columns of schema.*.sql hold.
func definition() encryption.Table {
	return encryption.Table{Name: "contacts", Columns: []encryption.Column{
		{Name: "email", Find: encryption.Email},
		{Name: "notes"},
	}}
}

func (c *contacts) add(ctx context.Context, person, email, notes string) (int64, error) {
	w, err := c.table.Writer(ctx, c.tenant, person)
	if err != nil {
		return 0, err
	}
	return c.queries.add(ctx, person, w.Text("email", email), w.Int64("email_idx", email), w.Text("notes", notes))
}

// changeEmail names the person beside the id, so that a value sealed for one
// person never lands in the row of another.
func (c *contacts) changeEmail(ctx context.Context, id int64, person, email string) error {
	w, err := c.table.Writer(ctx, c.tenant, person)
	if err != nil {
		return err
	}
	n, err := c.queries.changeEmail(ctx, id, person, w.Text("email", email), w.Int64("email_idx", email))
	if err == nil && n != 1 {
		err = fmt.Errorf("no contact %d of that person", id)
	}
	return err
}

func (c *contacts) find(ctx context.Context, email string) ([]contact, error) {
	conditions, err := c.table.Lookup(ctx, c.tenant, "email_idx", email)
	if err != nil {
		return nil, err
	}
	values := make([]encryption.IndexValue, len(conditions))
	for i, condition := range conditions { // one for each live key of the index, all in one column
		values[i] = condition.Value
	}
	rows, err := c.queries.findByEmail(ctx, values)
	if err != nil {
		return nil, err
	}
	opened, err := c.open(ctx, rows)
	if err != nil {
		return nil, err
	}
	var found []contact
	for _, one := range opened { // different addresses may share an index value
		if c.table.Match("email_idx", one.email, email) {
			found = append(found, one)
		}
	}
	return found, nil
}

func (c *contacts) list(ctx context.Context, after int64, page int32) ([]contact, error) {
	rows, err := c.queries.list(ctx, after, page)
	if err != nil {
		return nil, err
	}
	return c.open(ctx, rows)
}

// record is a row and where its values go.
type record struct {
	stored
	contact
}

// SealedCells is for encryption.OpenAll.
func (r *record) SealedCells() (owner, row string, cells []encryption.Cell) {
	return r.Person, fmt.Sprint(r.ID), []encryption.Cell{
		{Column: "email", Sealed: r.Email.Bytes(), Text: &r.email},
		{Column: "notes", Sealed: r.Notes.Bytes(), Text: &r.notes},
	}
}

// open opens a page with one query for keys. Who was erased stays on the page,
// with nothing to read.
func (c *contacts) open(ctx context.Context, rows []stored) ([]contact, error) {
	records := make([]*record, len(rows))
	for i, row := range rows {
		records[i] = &record{stored: row, contact: contact{id: row.ID, person: row.Person}}
	}
	err := encryption.OpenAll(ctx, c.table, c.tenant, records)
	var some *encryption.RowsError
	if err != nil && !errors.As(err, &some) {
		return nil, err
	}
	if some != nil {
		for _, reason := range some.Rows {
			if !errors.Is(reason, encryption.ErrErased) {
				return nil, err
			}
		}
	}
	out := make([]contact, len(records))
	for i, r := range records {
		out[i] = r.contact
	}
	return out, nil
}
