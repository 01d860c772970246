package value_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/internal/value"
)

// declared is what a column is declared as: values of it, and how one is read.
// Both are compared as text of their own.
type declared struct {
	draw *rapid.Generator[any]
	want func(written any) string
	read func(v value.Value) (string, error)
}

func same(read func(v value.Value) (string, error)) declared {
	return declared{want: func(written any) string { return written.(string) }, read: read}
}

func of[T any](g *rapid.Generator[T]) *rapid.Generator[any] { return g.AsAny() }

func text(g *rapid.Generator[string]) declared {
	d := same(value.Value.Text)
	d.draw = of(g)
	return d
}

func texts() *rapid.Generator[string] {
	odd := rapid.SampledFrom([]string{"", " ", "a ", "A", "0", "007", "1e3", "true", "null", "NULL", "ä", "a\u0308", "\u200b", "客户", "2026-01-02", "{}", "😀"})
	return rapid.OneOf(odd, rapid.StringN(0, 40, 120).Filter(func(s string) bool { return !strings.Contains(s, "\x00") }))
}

func decimals(whole, scale int) declared {
	return declared{
		draw: of(rapid.StringMatching(fmt.Sprintf(`-?(0|[1-9][0-9]{0,%d})\.[0-9]{%d}`, whole-1, scale))),
		want: func(written any) string { out, _ := value.Scaled(written.(string), scale); return out },
		read: func(v value.Value) (string, error) { return v.Decimal(scale) },
	}
}

func show[T any](read func(value.Value) (T, error)) func(value.Value) (string, error) {
	return func(v value.Value) (string, error) { x, err := read(v); return fmt.Sprint(x), err }
}

func integers(low, high int64) declared {
	return declared{draw: of(rapid.OneOf(rapid.Int64Range(low, high), rapid.SampledFrom([]int64{0, 1, low, high}))), want: func(w any) string { return fmt.Sprint(w) }, read: show(value.Value.Integer)}
}

func booleans() declared {
	return declared{draw: of(rapid.Bool()), want: func(w any) string { return fmt.Sprint(w) }, read: show(value.Value.Boolean)}
}

func floats() declared {
	return declared{
		draw: of(rapid.OneOf(rapid.Float64Range(-1e15, 1e15), rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, 0.1, -2.5, 1e-300, 1e300, 1 << 53, 9007199254740994}))),
		want: func(w any) string { return fmt.Sprint(w.(float64) + 0) }, // 0 and -0 are one
		read: func(v value.Value) (string, error) { x, err := v.Float(); return fmt.Sprint(x + 0), err },
	}
}

func blobs() declared {
	return declared{
		draw: of(rapid.OneOf(rapid.SliceOfN(rapid.Byte(), 0, 40), rapid.SampledFrom([][]byte{{}, {0}, {1}, []byte("1"), []byte("true"), []byte("\xff")}))),
		want: func(w any) string { return string(w.([]byte)) },
		read: func(v value.Value) (string, error) { raw, err := v.Bytes(); return string(raw), err },
	}
}

func times() declared {
	stamp := func(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }
	return declared{
		draw: of(rapid.Custom(func(t *rapid.T) time.Time {
			return time.UnixMicro(rapid.Int64Range(1_000_000, 2_000_000_000_000_000).Draw(t, "micros")).UTC()
		})),
		want: func(w any) string { return stamp(w.(time.Time)) },
		read: func(v value.Value) (string, error) { at, err := v.Time(time.UTC); return stamp(at), err },
	}
}

func dates() declared {
	d := same(value.Value.Date)
	d.draw = of(rapid.Custom(func(t *rapid.T) string {
		return time.Unix(86400*rapid.Int64Range(-20_000, 40_000).Draw(t, "day"), 0).UTC().Format(time.DateOnly)
	}))
	return d
}

func uuids() declared {
	d := same(value.Value.Text)
	d.draw = of(rapid.Custom(func(t *rapid.T) string {
		return uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid")).String()
	}))
	return d
}

func documents() declared {
	plain := func(document []byte) string { out, _ := canon.Typed(document); return string(out) }
	return declared{
		draw: of(rapid.SampledFrom([]string{`{}`, `[]`, `null`, `"x"`, `{"b":1.50,"a":[true,null]}`, `{"n":12345678901234}`, `{"ä":"客户"}`, `17`})),
		want: func(w any) string { return plain([]byte(w.(string))) },
		read: func(v value.Value) (string, error) { out, err := v.JSON(); return plain(out), err },
	}
}

func unsigned() declared {
	return declared{draw: of(rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1 << 63, 1<<64 - 1, 1<<63 - 1}))), want: func(w any) string { return fmt.Sprint(w) }, read: value.Value.ID}
}

const most = 1<<63 - 1

// columns are the usual ones of each database.
func columns(kind sqldb.Kind) map[string]declared {
	switch kind {
	case sqldb.SQLite:
		return map[string]declared{
			"INTEGER": integers(-most-1, most), "TEXT": text(texts()), "BLOB": blobs(), "REAL": floats(), "NUMERIC(12,2)": decimals(10, 2),
			"BOOLEAN": booleans(), "TIMESTAMP": times(), "DATE": dates(), "JSON": documents(), "UUID": uuids(),
		}
	case sqldb.Postgres:
		return map[string]declared{
			"bigint": integers(-most-1, most), "smallint": integers(-1<<15, 1<<15-1), "text": text(texts()), "varchar(200)": text(texts()), "bytea": blobs(), "double precision": floats(),
			"numeric(12,2)": decimals(10, 2), "numeric(30,10)": decimals(20, 10), "boolean": booleans(), "timestamptz": times(), "timestamp": times(), "date": dates(),
			"json": documents(), "jsonb": documents(), "uuid": uuids(),
		}
	default:
		return map[string]declared{
			"BIGINT": integers(-most-1, most), "INT": integers(-1<<31, 1<<31-1), "BIGINT UNSIGNED": unsigned(), "TINYINT(1)": booleans(), "BIT(1)": booleans(),
			"VARCHAR(200)": text(texts()), "TEXT": text(texts()), "VARBINARY(200)": blobs(), "BLOB": blobs(), "DOUBLE": floats(),
			"DECIMAL(12,2)": decimals(10, 2), "DECIMAL(30,10)": decimals(20, 10), "DATETIME(6)": times(), "TIMESTAMP(6) NULL": times(), "DATE": dates(), "JSON": documents(), "CHAR(36)": uuids(),
		}
	}
}

// targets are what applications scan into.
func targets() map[string]func() any {
	return map[string]func() any{
		"any": func() any { return new(any) }, "[]byte": func() any { return new([]byte) }, "RawBytes": func() any { return new(sql.RawBytes) },
		"NullString": func() any { return new(sql.NullString) }, "NullInt64": func() any { return new(sql.NullInt64) }, "NullInt32": func() any { return new(sql.NullInt32) },
		"NullFloat64": func() any { return new(sql.NullFloat64) }, "NullBool": func() any { return new(sql.NullBool) }, "NullTime": func() any { return new(sql.NullTime) },
		"Null[string]": func() any { return new(sql.Null[string]) }, "Null[[]byte]": func() any { return new(sql.Null[[]byte]) }, "Null[uint64]": func() any { return new(sql.Null[uint64]) },
		"*string": func() any { return new(*string) }, "*int64": func() any { return new(*int64) }, "*time.Time": func() any { return new(*time.Time) },
		"**string": func() any { return new(**string) }, "string": func() any { return new(string) }, "int64": func() any { return new(int64) }, "float64": func() any { return new(float64) },
		"bool": func() any { return new(bool) }, "time.Time": func() any { return new(time.Time) }, "status": func() any { return new(status) }, "blob": func() any { return new(blob) },
		"RawMessage": func() any { return new(json.RawMessage) }, "json.Number": func() any { return new(json.Number) }, "uint64": func() any { return new(uint64) },
	}
}

// A value that is written to any of the databases and read back through any of
// their drivers into any usual variable is the same value, or an error. NULL is
// NULL and nothing else is. Into an any, every value is read.
func TestWhatIsWrittenIsWhatIsRead(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, driver := range d.Name.Drivers() {
			t.Run(driver, func(t *testing.T) { roundTrips(t, d.OpenWith(t, driver), "t_"+driver) })
		}
	})
}

const rowsADriver = 12 // each is read in every column into every target, twice

// uuidTargets are for columns of UUIDs alone: their Scan takes empty text, and
// any 16 bytes, for a UUID.
func uuidTargets() map[string]func() any {
	out := targets()
	out["NullUUID"] = func() any { return new(uuid.NullUUID) }
	out["Null[UUID]"] = func() any { return new(sql.Null[uuid.UUID]) }
	return out
}

func roundTrips(t *testing.T, db *sql.DB, table string) {
	t.Helper()
	dialect, err := sqldb.Ask(t.Context(), db)
	require.NoError(t, err)
	all := columns(dialect.Kind)
	var types []string
	for sqlType := range all {
		types = append(types, sqlType)
	}
	slices.Sort(types)
	var create strings.Builder
	create.WriteString("CREATE TABLE " + table + " (id BIGINT PRIMARY KEY")
	for i, sqlType := range types {
		fmt.Fprintf(&create, ", c%d %s", i, sqlType)
	}
	_, err = db.ExecContext(t.Context(), create.String()+")")
	require.NoError(t, err)

	rows, read, refused, failed := 0, 0, 0, false
	rapid.Check(t, func(rt *rapid.T) {
		if rows >= rowsADriver && !failed {
			return // bounded; rapid draws again only to shrink a failure
		}
		rows++
		defer func() { failed = failed || rt.Failed() }()
		args := []any{rows}
		for _, sqlType := range types {
			if rapid.IntRange(0, 5).Draw(rt, "null") == 0 {
				args = append(args, nil)
				continue
			}
			args = append(args, all[sqlType].draw.Draw(rt, sqlType))
		}
		_, err := db.ExecContext(t.Context(), dialect.Bind("INSERT INTO "+table+" VALUES ("+strings.TrimSuffix(strings.Repeat("?, ", len(args)), ", ")+")"), args...)
		require.NoError(rt, err)
		for i, sqlType := range types {
			into := targets()
			if strings.EqualFold(sqlType, "uuid") || sqlType == "CHAR(36)" {
				into = uuidTargets()
			}
			for name, target := range into {
				for _, literal := range []bool{false, true} { // drivers speak another protocol without arguments
					got, err := fetch(t, db, dialect, fmt.Sprintf("SELECT c%d FROM %s WHERE id = ", i, table), rows, literal, target())
					if err == nil {
						err = compare(got, all[sqlType], args[i+1], name)
					}
					switch {
					case err == nil:
						read++
					case name == "any" || strings.HasPrefix(err.Error(), "another"):
						rt.Fatalf("%s into %s: %v", sqlType, name, err)
					default:
						refused++
					}
				}
			}
		}
	})
	require.Greater(t, read, rowsADriver*len(types)*8, "too few values were read to prove anything")
	require.Positive(t, refused, "an integer does not go into a time")
}

// fetch scans one column of one row, and reads it as long as the row is there.
func fetch(t *testing.T, db *sql.DB, d sqldb.Dialect, query string, id int, literal bool, target any) (got value.Value, err error) {
	t.Helper()
	args := []any{id}
	if literal {
		query, args = query+fmt.Sprint(id), nil
	} else {
		query = d.Bind(query + "?")
	}
	rows, err := db.QueryContext(t.Context(), query, args...)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	require.True(t, rows.Next())
	if err := rows.Scan(target); err != nil {
		return got, err
	}
	if scanned, isAny := target.(*any); isAny {
		return value.Scanned(*scanned)
	}
	got, err = value.Of(target)
	if got.Kind() == value.Bytes { // of a RawBytes: good until the next row
		raw, _ := got.Bytes()
		got, err = value.Of(append([]byte{}, raw...))
	}
	return got, err
}

// compare answers an error that begins with "another" where the value is not
// the one that was written.
func compare(got value.Value, d declared, written any, target string) error {
	if written == nil {
		if !got.IsNull() {
			return fmt.Errorf("another value: %s for NULL", got.Kind())
		}
		return nil
	}
	if got.IsNull() {
		raw, isBytes := written.([]byte)
		if target != "any" && isBytes && len(raw) == 0 || target == "RawBytes" && written == "" {
			return errors.New("nil for what is empty") // the exceptions of the package comment
		}
		return fmt.Errorf("another value: NULL for %T", written)
	}
	text, err := d.read(got)
	if err != nil {
		return err
	}
	if want := d.want(written); text != want {
		return fmt.Errorf("another value: %s %q for %q", got.Kind(), text, want)
	}
	return nil
}

// The exceptions are those of the package comment, and they are still there.
func TestWhatIsEmptyIsNilOnlyWhereTheCommentSays(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, driver := range d.Name.Drivers() {
			db := d.OpenWith(t, driver)
			blob := map[testdb.Name]string{testdb.SQLite: "x''", testdb.MariaDB: "x''"}[d.Name]
			if blob == "" {
				blob = `'\x'::bytea`
			}
			var into []byte
			require.NoError(t, db.QueryRowContext(t.Context(), "SELECT "+blob).Scan(&into))
			got, err := value.Of(into)
			require.NoError(t, err)
			require.Equal(t, d.Name == testdb.SQLite, got.IsNull(), driver)
			var held any
			require.NoError(t, db.QueryRowContext(t.Context(), "SELECT "+blob).Scan(&held))
			got, err = value.Scanned(held)
			require.NoError(t, err)
			raw, err := got.Bytes()
			require.NoError(t, err)
			require.True(t, bytes.Equal([]byte{}, raw), driver)

			rows, err := db.QueryContext(t.Context(), "SELECT ''")
			require.NoError(t, err)
			require.True(t, rows.Next())
			var view sql.RawBytes
			require.NoError(t, rows.Scan(&view))
			got, err = value.Of(view)
			require.NoError(t, err)
			require.Equal(t, driver != "mysql", got.IsNull(), "%s: the one that gives text as bytes", driver)
			require.NoError(t, rows.Close())
		}
	})
}

func noTimes() map[testdb.Name][]string {
	postgres := []string{"SELECT 'infinity'::timestamptz", "SELECT '-infinity'::date", "SELECT '0044-03-15 BC'::date"}
	return map[testdb.Name][]string{
		testdb.SQLite:    {"SELECT 'now'", "SELECT 1767323045", "SELECT 2461042.5"},
		testdb.PostgresC: postgres, testdb.PostgresICU: postgres,
		testdb.MariaDB: {"SELECT CAST('0000-00-00' AS DATE)", "SELECT CAST('0000-00-00 00:00:00' AS DATETIME)"},
	}
}

// What a database keeps in a column of times and is no time is none here.
func TestWhatIsNoTimeInTheDatabaseIsNone(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, driver := range d.Name.Drivers() {
			db := d.OpenWith(t, driver)
			for _, query := range noTimes()[d.Name] {
				var held any
				if err := db.QueryRowContext(t.Context(), query).Scan(&held); err != nil || held == nil {
					continue // the driver has said so
				}
				got, err := value.Scanned(held)
				require.NoError(t, err)
				_, err = got.Date()
				require.Error(t, err, "%s %s: %v", driver, query, held)
				_, err = got.Time(time.UTC)
				require.Equal(t, strings.Contains(query, "BC"), err == nil, "%s %s: %v", driver, query, held) // a time that has no date
			}
		}
	})
}
