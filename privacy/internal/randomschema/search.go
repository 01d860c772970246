package randomschema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Search answers the keys of the rows of a table whose sealed column holds one of
// the values, as an application finds them that has sealed them itself.
func (c *Case) Search(db *sql.DB) func(ctx context.Context, tenant, table, column string, values []string) (keys []string, err error) {
	return func(ctx context.Context, tenant, table, column string, values []string) (keys []string, err error) {
		mapped, _ := c.Map.Table(table)
		person := "''"
		if mapped.Person != "" {
			person = mapped.Person
		}
		query := fmt.Sprintf("SELECT %s, %s, %s, %s FROM %s WHERE %[1]s IS NOT NULL", column, mapped.Tenant, person, list(mapped.Key), table)
		rows, err := db.QueryContext(ctx, query)
		if err != nil {
			return nil, fmt.Errorf("randomschema: %w", err)
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var sealed []byte
			var of, person string
			key := make([]string, len(mapped.Key))
			dest := []any{&sealed, &of, &person}
			for i := range key {
				dest = append(dest, &key[i])
			}
			if err := rows.Scan(dest...); err != nil {
				return nil, fmt.Errorf("randomschema: %w", err)
			}
			by := application
			if mapped.Person != "" {
				by = owner(of, person)
			}
			text, err := c.Keys.open(by, sealed)
			if err != nil && !errors.Is(err, ErrNoKey) {
				return nil, err
			}
			if err == nil && of == tenant && slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(v, text) }) {
				keys = append(keys, strings.Join(escaped(key), "/"))
			}
		}
		return keys, rows.Err()
	}
}

// escaped are the parts of a key as stores write them.
func escaped(key []string) []string {
	if len(key) > 1 {
		for i, part := range key {
			key[i] = strings.NewReplacer("%", "%25", "/", "%2F").Replace(part)
		}
	}
	return key
}
