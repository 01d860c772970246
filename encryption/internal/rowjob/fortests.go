package rowjob

import (
	"context"
	"database/sql"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// PageQueries is for tests: the questions for one page of Reseal and of a census,
// behind a place.
func (t *Table) PageQueries(ctx context.Context, db *sql.DB, tenant, after string) (queries map[string]string, args map[string][]any, err error) {
	s, err := t.keyed(ctx, db)
	if err != nil {
		return nil, nil, err
	}
	place, err := s.place(tenant, after)
	if err != nil {
		return nil, nil, err
	}
	queries, args = map[string]string{}, map[string][]any{}
	queries["reseal"], args["reseal"] = s.pageQuery(tenant, place, "", nil, 100)
	queries["census"], args["census"], _ = s.countQuery(tenant, place)
	return queries, args, nil
}

// SearchPages is for tests: the statements by which Undeclared reads a table with a
// key, from the beginning and from behind a key.
func SearchPages(ctx context.Context, handle *sql.DB, name string, after []any, versions ...uint32) (queries []string, args [][]any, err error) {
	db, err := sqldb.Open(ctx, handle)
	if err != nil {
		return nil, nil, err
	}
	tables, err := db.Catalog(ctx, db)
	if err != nil {
		return nil, nil, err
	}
	for _, table := range tables {
		if table.Name != name {
			continue
		}
		key, err := db.Keyset(ctx, db, table.Path)
		if err != nil {
			return nil, nil, err
		}
		for _, cursor := range [][]any{nil, after} {
			query, arg := searcher{db: db, table: table, columns: table.Columns, versions: versions}.page(key, cursor)
			queries, args = append(queries, query), append(args, arg)
		}
	}
	return queries, args, nil
}
