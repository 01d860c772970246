package roles_test

import (
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// drawnRow is a row as it was drawn, and as an application reads it.
type drawnRow struct {
	accesscontrol.Resource
	tenant string
	attrs  map[string]any // ids, nil where there is none
}

func (w *roleWorld) columnDDL(as accesscontrol.ColumnType, text string) string {
	switch {
	case as == accesscontrol.UUID:
		return "uuid"
	case as == "":
		return text
	case w.database == testdb.SQLite:
		return "INTEGER"
	default:
		return "BIGINT"
	}
}

// cell is an id as a column takes it.
func cell(as accesscontrol.ColumnType, id any) any {
	if text, is := id.(string); is && as == accesscontrol.Integer {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			panic(err)
		}
		return n
	}
	return id
}

// fill makes a table with rows of both tenants, which share ids, and reads them.
func (w *roleWorld) fill(t *testing.T, db *sql.DB, dialect sqldb.Dialect, table drawnTable) (out []drawnRow) {
	t.Helper()
	text := pickOf(w.Rand, map[testdb.Name][]string{
		testdb.SQLite:      {"TEXT", "TEXT COLLATE NOCASE"},
		testdb.PostgresC:   {"text", "varchar(60)"},
		testdb.PostgresICU: {"text", "varchar(60)"},
		testdb.MariaDB:     {"VARCHAR(60) COLLATE utf8mb4_general_ci", "VARCHAR(60) COLLATE utf8mb4_bin", "VARBINARY(60)"},
	}[w.database])
	columns, types := []string{"rownr", "id"}, []string{w.columnDDL(accesscontrol.Integer, "") + " NOT NULL", w.columnDDL(table.keyAs, text) + " NOT NULL"}
	unique := "id"
	if table.only == "" {
		columns, types, unique = append(columns, "tenant"), append(types, w.columnDDL(table.tenantAs, text)+" NOT NULL"), "tenant, id"
	}
	for _, a := range table.attrs {
		columns, types = append(columns, a.column), append(types, w.columnDDL(a.as, text)+map[bool]string{true: " NOT NULL"}[a.required])
	}
	quote := map[bool]string{true: `"`, false: "`"}[w.database != testdb.MariaDB]
	for i := range columns {
		columns[i] = quote + columns[i] + quote
		types[i] = columns[i] + " " + types[i]
	}
	run(t, db, "CREATE TABLE "+table.name+" ("+strings.Join(types, ", ")+", UNIQUE ("+unique+"))"+map[bool]string{true: " STRICT"}[w.database == testdb.SQLite])
	var rows [][]any
	for i := range 28 {
		key := map[accesscontrol.ColumnType]string{"": "r", accesscontrol.UUID: "a0eebc99-9c0b-4ef8-bb6d-0000000000"}[table.keyAs] + strconv.Itoa(10+i)
		for _, tenant := range w.tenants[:1+w.IntN(2)] {
			if tenant != table.only && table.only != "" {
				continue
			}
			r := drawnRow{tenant: tenant, attrs: map[string]any{}}
			row := []any{int64(len(rows)), cell(table.keyAs, key)}
			if table.only == "" {
				row = append(row, cell(table.tenantAs, tenant))
			}
			for _, a := range table.attrs {
				ids := map[accesscontrol.ColumnType][]string{"": w.ids, accesscontrol.UUID: {uuidOne, uuidTwo}, accesscontrol.Integer: {"7", "7", "8", "-1"}}[a.as]
				if r.attrs[a.name] = pickOf(w.Rand, ids); !a.required && w.IntN(4) == 0 {
					r.attrs[a.name] = nil
				}
				row = append(row, cell(a.as, r.attrs[a.name]))
			}
			rows, out = append(rows, row), append(out, r)
		}
	}
	require.NoError(t, dialect.Insert(t.Context(), db, sqldb.Insert{Table: table.name, Columns: columns, New: true}, rows))
	w.read(t, db, table, out)
	return out
}

// read reads what an application would hand in.
func (w *roleWorld) read(t *testing.T, db *sql.DB, table drawnTable, out []drawnRow) {
	t.Helper()
	i := 0
	require.NoError(t, sqldb.Each(t.Context(), db, func(rows *sql.Rows) error {
		names, err := rows.Columns()
		if err != nil {
			return err
		}
		values, into := make([]any, len(names)), make([]any, len(names))
		for j := range values {
			into[j] = &values[j]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		r := accesscontrol.Resource{Type: table.resource, ID: spelt(values[1]), Tenant: table.only, Attrs: map[string]any{}}
		if table.only == "" {
			r.Tenant = spelt(values[2])
		}
		for _, a := range table.attrs {
			v := values[slices.Index(names, a.column)]
			if v != nil || w.IntN(2) == 0 { // NULL, or left out
				r.Attrs[a.name] = v
			}
		}
		out[i].Resource = r
		i++
		return nil
	}, "SELECT * FROM "+table.name+" ORDER BY rownr"))
	require.Len(t, out, i)
}

func spelt(v any) string {
	if b, is := v.([]byte); is {
		return string(b)
	}
	return fmt.Sprint(v)
}
