package bundle_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// rowsOf is one row of each database, with the same values in it.
func rowsOf() map[testdb.Name]string {
	postgres := `SELECT 9007199254740993::bigint AS n, 1.5::float8 AS x, 12.50::numeric(10,2) AS price, 'NaN'::float8 AS odd, true AS yes, '客户 😀'::text AS name, ''::text AS blank,
		NULL::text AS gone, '\xff00'::bytea AS raw, '2026-01-02 03:04:05.678901+00'::timestamptz AS at, '9999-12-31'::date AS day, '{"b": 1.50, "a": 12345678901234567890}'::jsonb AS attribs`
	return map[testdb.Name]string{
		testdb.SQLite: `SELECT 9007199254740993 AS n, 1.5 AS x, 12.5 AS price, 9e999 AS odd, 1 AS yes, '客户 😀' AS name, '' AS blank,
			NULL AS gone, x'ff00' AS raw, '2026-01-02 03:04:05.678901' AS at, '9999-12-31' AS day, '{"b": 1.50, "a": 12345678901234567890}' AS attribs`,
		testdb.MariaDB: `SELECT CAST(9007199254740993 AS SIGNED) AS n, CAST(1.5 AS DOUBLE) AS x, CAST(12.50 AS DECIMAL(10,2)) AS price, NULL AS odd, true AS yes, '客户 😀' AS name, '' AS blank,
			NULL AS gone, x'ff00' AS raw, CAST('2026-01-02 03:04:05.678901' AS DATETIME(6)) AS at, CAST('9999-12-31' AS DATE) AS day, '{"b": 1.50, "a": 12345678901234567890}' AS attribs`,
		testdb.PostgresC: postgres, testdb.PostgresICU: postgres,
	}
}

// Whatever the driver makes of a value, the person reads the same.
func TestTheSameRowFromEveryDatabase(t *testing.T) {
	c := config()
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, driver := range d.Name.Drivers() {
			rows, err := d.OpenWith(t, driver).QueryContext(t.Context(), rowsOf()[d.Name])
			require.NoError(t, err)
			defer rows.Close()
			columns, err := rows.Columns()
			require.NoError(t, err)
			held, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range held {
				into[i] = &held[i]
			}
			require.True(t, rows.Next())
			require.NoError(t, rows.Scan(into...))
			r := datastore.Record{Table: "contacts", Key: "1"}
			for i, name := range columns {
				r.Fields = append(r.Fields, datastore.Field{Name: name, Value: held[i]})
			}
			data, _ := write(t, c, r)
			got := map[string]json.RawMessage{}
			require.NoError(t, json.Unmarshal([]byte(file(t, data, "data/contacts.ndjson")), &got))
			for name, want := range map[string][]string{
				"n": {`"9007199254740993"`}, "x": {`1.5`, `"1.5"`}, "price": {`12.5`, `"12.50"`}, "odd": {`"NaN"`, `"+Inf"`, `null`}, "yes": {`true`, `1`},
				"name": {`"客户 😀"`}, "blank": {`""`}, "gone": {`null`}, "raw": {`{"base64url":"_wA"}`},
				"at":      {`"2026-01-02T03:04:05.678901Z"`, `"2026-01-02 03:04:05.678901"`},
				"day":     {`"9999-12-31T00:00:00.000000Z"`, `"9999-12-31"`},
				"attribs": {`{"a":12345678901234567890,"b":1.5}`},
			} {
				require.Contains(t, want, string(got[name]), "%s %s", driver, name)
			}
		}
	})
}
