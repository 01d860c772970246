package adoption

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// found asks for a column that the definition names. What the database compiles only
// when it runs, as PostgreSQL and SQLite do with triggers, is never handed out over a
// column that is not there: it would stop every UPDATE of the table.
func (a *Adoption) found(ctx context.Context, name, what string) (c sqldb.Column, err error) {
	all, err := a.db.Columns(ctx, a.db, a.def.SQL, name)
	var missing *sqldb.KeyError
	switch {
	case errors.As(err, &missing):
		return c, &ColumnError{a.def.Name, name, fmt.Sprintf("was not found, which is %s: %v", what, err)}
	case err != nil:
		return c, fmt.Errorf("adoption: columns of %s: %w", a.def.Name, sqldb.Safe(err))
	}
	return all[0], nil
}

// bound refuses a definition whose key, owner or tenant is no column of the table.
func (a *Adoption) bound(ctx context.Context) error {
	type named struct{ name, what string }
	all := []named{
		{a.def.Owner, `the Owner of the encryption.Table ("" there means person): name the column that says whose row it is`},
		{a.def.Tenant, `the Tenant of the encryption.Table: name the column that says which tenant's row it is, or none where the table has one tenant`},
	}
	for key := range strings.SplitSeq(a.def.Key, ",") {
		all = append(all, named{strings.TrimSpace(key), `of the Key of the encryption.Table ("" there means id): name the column that says which row it is`})
	}
	for _, one := range all {
		if one.name == "" {
			continue
		}
		if _, err := a.found(ctx, one.name, one.what); err != nil {
			return err
		}
	}
	return nil
}

// guardable refuses a table that lacks a column which the trigger Reset names.
func (a *Adoption) guardable(ctx context.Context) error {
	if err := a.bound(ctx); err != nil {
		return err
	}
	return a.each(func(c column) error {
		if _, err := a.found(ctx, c.Plain, "Column.Plain, the column in the clear"); err != nil {
			return err
		}
		const added = "a column of the adoption: execute first what SQL returns"
		if _, err := a.found(ctx, c.sealed.SQL, added); err != nil {
			return err
		}
		for _, x := range c.indexes {
			if _, err := a.found(ctx, x.Column, added); err != nil {
				return err
			}
		}
		return nil
	})
}
