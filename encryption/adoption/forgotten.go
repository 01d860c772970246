package adoption

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// exact is a column of names, so that no collation takes two of them for one.
func (a *Adoption) exact(c sqldb.Column) string {
	text := a.db.Text(c)
	switch {
	case a.db.Kind == sqldb.SQLite:
		return text + ` COLLATE BINARY`
	case c.Binary():
		return text
	case a.db.Kind == sqldb.Postgres:
		return `CAST(` + text + ` AS text) COLLATE "C"`
	}
	return `CAST(CONVERT(` + text + ` USING utf8mb4) AS BINARY)`
}

// noneForgotten refuses where rows stand in the clear whose tenant has no stage, or
// is spelt otherwise: nobody has ever asked for it, so no job has gone over them,
// and the release without the adoption would read nothing there.
func (a *Adoption) noneForgotten(ctx context.Context, known []stageRow) error {
	if a.def.Tenant == "" {
		return nil
	}
	failed := func(err error) error {
		return fmt.Errorf("adoption: tenants of %s: %w", a.def.Name, sqldb.Safe(err))
	}
	names := []string{a.def.Tenant}
	for _, name := range a.order {
		names = append(names, a.columns[name].Plain)
	}
	columns, err := a.db.Columns(ctx, a.db, a.def.SQL, names...)
	if err != nil {
		return failed(err)
	}
	table, err := a.db.Quote(a.def.SQL)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDefinition, err)
	}
	of := columns[0]
	var some []string
	for _, c := range columns[1:] {
		some = append(some, c.Name+" IS NOT NULL")
	}
	var forgotten []string
	err = a.db.Read(ctx, func(q sqldb.Querier) error {
		forgotten = nil
		return sqldb.Each(ctx, q, func(rows *sql.Rows) error {
			var value any
			if err := rows.Scan(&value); err != nil {
				return err
			}
			name := "NULL"
			if value != nil {
				if raw, ok := value.([]byte); ok {
					value = string(raw)
				}
				text, err := encryption.RowText(value)
				if err != nil {
					return err
				}
				name = fmt.Sprintf("%q", text)
				if slices.ContainsFunc(known, func(r stageRow) bool { return r.tenant == text }) {
					return nil
				}
			}
			forgotten = append(forgotten, name)
			return nil
		}, `SELECT DISTINCT `+a.exact(of)+` FROM `+table+` WHERE `+strings.Join(some, " OR "))
	})
	if err != nil {
		return failed(err)
	}
	if len(forgotten) > 0 {
		return fmt.Errorf("%w: rows of %d tenants that were never moved stand in the clear, first tenant %s: move and backfill each of them; give rows without a tenant, or with one that is spelt otherwise, the right one", ErrStage, len(forgotten), forgotten[0])
	}
	return nil
}

// alone refuses a second tenant on a table that has no column of tenants: the rows
// are all of one, and a job of the other would take values of the first away.
func (a *Adoption) alone(tenant string, rows []stageRow) error {
	if a.def.Tenant != "" {
		return nil
	}
	for _, r := range rows {
		if r.tenant != tenant && (r.stage != Plain || !r.settled) {
			return fmt.Errorf("%w: table %s has no column of tenants, and its rows were moved to %s as those of tenant %q: declare the column (Table.Tenant), or use that tenant", ErrDefinition, a.def.Name, r.stage, r.tenant)
		}
	}
	return nil
}
