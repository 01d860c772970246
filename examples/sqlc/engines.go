package main

import (
	"context"
	"errors"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/examples/sqlc/postgres"
	"github.com/crmguard/crmguard/examples/sqlc/sqlite"
)

// onSQLite are the queries that sqlc made for SQLite, on database/sql.
type onSQLite struct{ q *sqlite.Queries }

func (s onSQLite) add(ctx context.Context, person string, email encryption.Sealed, index encryption.IndexValue, notes encryption.Sealed) (int64, error) {
	return s.q.AddContact(ctx, sqlite.AddContactParams{Person: person, Email: email, EmailIdx: index, Notes: notes})
}

func (s onSQLite) changeEmail(ctx context.Context, id int64, person string, email encryption.Sealed, index encryption.IndexValue) (int64, error) {
	return s.q.ChangeEmail(ctx, sqlite.ChangeEmailParams{ID: id, Person: person, Email: email, EmailIdx: index})
}

func (s onSQLite) findByEmail(ctx context.Context, values []encryption.IndexValue) ([]stored, error) {
	rows, err := s.q.FindByEmail(ctx, values)
	out := make([]stored, len(rows))
	for i, row := range rows {
		out[i] = stored(row)
	}
	return out, err
}

func (s onSQLite) list(ctx context.Context, after int64, page int32) ([]stored, error) {
	rows, err := s.q.ListContacts(ctx, sqlite.ListContactsParams{After: after, Page: int64(page)})
	out := make([]stored, len(rows))
	for i, row := range rows {
		out[i] = stored(row)
	}
	return out, err
}

// onPostgres are the queries that sqlc made for PostgreSQL, on pgx.
type onPostgres struct{ q *postgres.Queries }

func (p onPostgres) add(ctx context.Context, person string, email encryption.Sealed, index encryption.IndexValue, notes encryption.Sealed) (int64, error) {
	return p.q.AddContact(ctx, postgres.AddContactParams{Person: person, Email: email, EmailIdx: index, Notes: notes})
}

func (p onPostgres) changeEmail(ctx context.Context, id int64, person string, email encryption.Sealed, index encryption.IndexValue) (int64, error) {
	return p.q.ChangeEmail(ctx, postgres.ChangeEmailParams{ID: id, Person: person, Email: email, EmailIdx: index})
}

func (p onPostgres) findByEmail(ctx context.Context, values []encryption.IndexValue) ([]stored, error) {
	numbers := make([]int64, len(values))
	for i, value := range values {
		number, ok := value.Int64()
		if !ok {
			return nil, errors.Join(errors.New("an index value that is no integer"), value.Err())
		}
		numbers[i] = number
	}
	rows, err := p.q.FindByEmail(ctx, numbers)
	out := make([]stored, len(rows))
	for i, row := range rows {
		out[i] = stored(row)
	}
	return out, err
}

func (p onPostgres) list(ctx context.Context, after int64, page int32) ([]stored, error) {
	rows, err := p.q.ListContacts(ctx, postgres.ListContactsParams{After: after, Page: page})
	out := make([]stored, len(rows))
	for i, row := range rows {
		out[i] = stored(row)
	}
	return out, err
}
