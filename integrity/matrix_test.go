package integrity_test

import (
	"encoding/base64"
	"math"
	"time"

	"github.com/crmguard/crmguard/integrity"
)

func someTimes() []any {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	return []any{at, time.Date(1970, 1, 1, 0, 0, 1, 0, time.UTC), time.Date(2026, 7, 1, 23, 59, 59, 999999000, time.UTC), nil}
}

func someTexts() []any {
	return []any{"Bern", "", "1", "01", "1e2", "true", "e\u0301", "é", "ß 客户 😀", "a'b\"c\\d`e$1?", "2026-01-02", "\t", nil}
}

// Both drivers, both protocols of each, and sessions in several zones.
func postgresMatrix() matrix {
	return matrix{
		types: postgresTypes(), same: "x.v IS NOT DISTINCT FROM %s",
		ways: []way{
			{name: "pgx", driver: "pgx", options: " TimeZone=America/Sao_Paulo"},
			{name: "pgx, simple protocol", driver: "pgx", options: " default_query_exec_mode=simple_protocol TimeZone=UTC"},
			{name: "lib/pq", driver: "postgres", options: " TimeZone=Asia/Kolkata"},
			{name: "lib/pq, binary parameters", driver: "postgres", options: " binary_parameters=yes TimeZone=Europe/Berlin"},
		},
		behind: []string{
			"NULL", "''::$type", "'1'::$type", "'2'::$type", "'0'::$type", "'true'::$type", "'false'::$type", "'lead'::$type", "'customer'::$type", "'null'::$type", "'{}'::$type", `'\x31'::$type`,
			"'NaN'::$type", "'infinity'::$type", "'-infinity'::$type", "'0001-01-01'::$type", "'0044-03-15 BC'::$type", "'2026-03-02'::$type", "'11111111-2222-3333-4444-555555555555'::$type",
			"upper(v::text)::$type", "lower(v::text)::$type", "(v::text || ' ')::$type", "(' ' || v::text)::$type", "(v::text || '0')::$type", "('0' || v::text)::$type", "(v::text || '.0')::$type", "reverse(v::text)::$type",
			"replace(v::text, '1', '3')::$type", "replace(v::text, '93', '92')::$type", "replace(v::text, '}', ' }')::$type", "replace(v::text, '1', '1.0000000000000000001')::$type", "normalize(v::text, NFC)::$type", "normalize(v::text, NFD)::$type",
			"-v", "v + 1", "v - 1", "v * 2", "v + 0.01", "v + 1e-9::$type", "v * (1 + 1e-15::$type)", "not v", "v + interval '1 microsecond'", "v + interval '1 day'", "v AT TIME ZONE 'Asia/Tokyo'", `v || '\x00'::bytea`,
		},
	}
}

func postgresTypes() []declared {
	sealed := "cg1.aabbccdd." + base64.RawURLEncoding.EncodeToString(sealedField())
	return []declared{
		{decls: []string{"text", "varchar(60)", "citext", "mail"}, column: of(integrity.Text), honest: someTexts()},
		{decls: []string{"char(60)"}, column: of(integrity.Text), honest: []any{"Bern", "", "1", "é", nil}}, // without the blanks that the database adds
		{decls: []string{"stage"}, column: of(integrity.Text), honest: []any{"lead", "", nil}},
		{decls: []string{"uuid"}, column: of(integrity.Text), honest: []any{"0195a0e8-1c2d-7000-8000-00000000000a", nil}},
		{decls: []string{"smallint", "integer", "bigint", "numeric(20,0)", "numeric"}, column: of(integrity.Integer), honest: []any{0, 1, -1, 32767, nil}},
		{decls: []string{"bigint", "numeric"}, column: of(integrity.Integer), honest: []any{int64(math.MaxInt64), int64(math.MinInt64), 9007199254740993}},
		{decls: []string{"numeric(12,2)", "numeric", "numeric(20,6)", "price", "text", "double precision"}, column: decimals(2), honest: []any{"12.50", "12.00", "0.00", "-0.01", "0.10", "9999999999.99", nil}},
		{decls: []string{"integer", "bigint", "numeric"}, column: decimals(0), honest: []any{"12", "0", "-7", nil}, writer: "postgres"}, // pgx binds no text to an integer
		{decls: []string{"double precision", "numeric"}, column: of(integrity.Float), honest: []any{0.0, math.Copysign(0, -1), 1.0, -3.0, 0.1, 1e18, 12345.678901234567, nil}},
		{decls: []string{"double precision"}, column: of(integrity.Float), honest: []any{1e300, math.SmallestNonzeroFloat64, math.MaxFloat64}},
		{decls: []string{"real"}, column: of(integrity.Float), honest: []any{0.0, 1.0, float64(float32(0.1)), float32(0.1), float64(float32(16777217)), nil}},
		{decls: []string{"boolean"}, column: of(integrity.Boolean), honest: []any{true, false, nil}},
		{decls: []string{"date"}, column: of(integrity.Date), honest: []any{"2026-01-02", "0001-01-01", "9999-12-31", time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), nil}},
		{decls: []string{"text"}, column: of(integrity.Date), honest: []any{"2026-01-02", nil}},
		{decls: []string{"timestamp", "timestamptz"}, column: of(integrity.Time), honest: someTimes()},
		{decls: []string{"timestamptz"}, column: of(integrity.Time), honest: []any{time.Date(2026, 10, 25, 2, 30, 0, 0, time.FixedZone("CET", 3600))}},
		{decls: []string{"bigint"}, column: of(integrity.Time), honest: []any{time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC).UnixMicro(), nil}},
		{decls: []string{"bytea"}, column: of(integrity.Bytes), honest: []any{[]byte("1"), []byte{}, []byte{0, 255}, []byte("Bern"), nil}},
		{decls: []string{"bytea"}, column: of(integrity.Sealed), honest: []any{sealedField(), nil}},
		{decls: []string{"text"}, column: of(integrity.Sealed), honest: []any{sealed, nil}},
		{decls: []string{"json", "jsonb"}, column: of(integrity.JSON), honest: []any{`{"a":1}`, `[9007199254740993,1.50]`, `{"b":"\u00fc","a":[]}`, `"text"`, `null`, nil}, sameAs: "x.v::jsonb IS NOT DISTINCT FROM %s::jsonb"},
		{decls: []string{"text"}, column: of(integrity.JSON), honest: []any{`{"a":1}`, `[1.50]`, nil}, sameAs: "x.v IS NOT DISTINCT FROM %[1]s OR says(x.v) = says(%[1]s)"},
	}
}

// With and without times, and in another zone: the one of the driver that
// writes and the one of the driver that reads are the same.
func mariaMatrix() matrix {
	return matrix{
		types: mariaTypes(), same: "x.v <=> %s",
		before: "SET sql_mode = 'ALLOW_INVALID_DATES'",
		ways: []way{
			{name: "times", driver: "mysql"}, // the DSN says parseTime=true
			{name: "no times", driver: "mysql", options: "&parseTime=false", noTimes: true},
			{name: "times, arguments in the text", driver: "mysql", options: "&interpolateParams=true&charset=utf8mb4"},
			{name: "times in Berlin", driver: "mysql", options: "&loc=Europe%2FBerlin&time_zone=%27%2B01:00%27", zone: "Berlin"},
		},
		behind: []string{
			"NULL", "''", "x''", "'0'", "'1'", "'2'", "0", "1", "2", "-1", "0.5", "'true'", "'lead'", "'customer'", "'null'", "'{}'", "x'31'", "1e300", "18446744073709551615",
			"'0000-00-00'", "'0001-01-01'", "'2026-02-30'", "'2026-03-02'", "'2026-00-00'", "'2026-02-30 03:04:05'",
			"upper(v)", "lower(v)", "concat(v, ' ')", "concat(' ', v)", "concat(v, '0')", "concat('0', v)", "concat(v, '.0')", "concat(v, char(0))", "reverse(v)", "hex(v)",
			"replace(v, '1', '3')", "replace(v, '93', '92')", "replace(v, '}', ' }')", "replace(v, '1', '1.0000000000000000001')", "-v", "v + 1", "v - 1", "v * 2", "v + 0.01", "v * (1 + 1e-15)", "NOT v",
			"v + INTERVAL 1 MICROSECOND", "v + INTERVAL 1 DAY", "v + INTERVAL 1 HOUR", "replace(v, '-0', '-')", "replace(v, '-', '/')", "concat(v, x'00')",
		},
	}
}

func mariaTypes() []declared {
	sealed := "cg1.aabbccdd." + base64.RawURLEncoding.EncodeToString(sealedField())
	valid := "CASE WHEN x.v <=> %[1]s THEN 1 ELSE coalesce(json_equals(x.v, %[1]s), 0) END"
	return []declared{
		{decls: []string{"VARCHAR(60) CHARACTER SET utf8mb4", "TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "VARBINARY(60)", "BLOB"}, column: of(integrity.Text), honest: someTexts()},
		{decls: []string{"CHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"}, column: of(integrity.Text), honest: []any{"Bern", "", "1", "é", nil}},
		{decls: []string{"ENUM('lead','customer','1')"}, column: of(integrity.Text), honest: []any{"lead", "customer", nil}},
		{decls: []string{"CHAR(36)", "UUID"}, column: of(integrity.Text), honest: []any{"0195a0e8-1c2d-7000-8000-00000000000a", nil}},
		{decls: []string{"SMALLINT", "INT", "INT UNSIGNED", "BIGINT", "BIGINT UNSIGNED", "DECIMAL(20,0)", "BIT(16)"}, column: of(integrity.Integer), honest: []any{0, 1, 32767, nil}},
		{decls: []string{"TINYINT", "SMALLINT"}, column: of(integrity.Integer), honest: []any{-1, 127, nil}},
		{decls: []string{"BIGINT", "DECIMAL(30,0)"}, column: of(integrity.Integer), honest: []any{int64(math.MaxInt64), int64(math.MinInt64), 9007199254740993}},
		{decls: []string{"YEAR"}, column: of(integrity.Integer), honest: []any{2026, 1901, nil}},
		{decls: []string{"TINYINT(1)", "BOOLEAN", "BIT(1)", "BIT(8)"}, column: of(integrity.Boolean), honest: []any{true, false, nil}},
		{decls: []string{"DECIMAL(12,2)", "DECIMAL(20,6)", "VARCHAR(30)", "DOUBLE"}, column: decimals(2), honest: []any{"12.50", "12.00", "0.00", "-0.01", "0.10", "9999999999.99", nil}},
		{decls: []string{"BIGINT UNSIGNED", "DECIMAL(30,0)"}, column: decimals(0), honest: []any{"18446744073709551615", "0", nil}},
		{decls: []string{"DOUBLE", "DECIMAL(40,15)"}, column: of(integrity.Float), honest: []any{0.0, 1.0, -3.0, 0.1, 1e18, 12345.678901234567, nil}},
		{decls: []string{"DOUBLE"}, column: of(integrity.Float), honest: []any{1e300, math.Copysign(0, -1), math.MaxFloat64}},
		{decls: []string{"FLOAT"}, column: of(integrity.Float), honest: []any{0.0, 1.0, float64(float32(0.1)), float32(0.1), float64(float32(16777217)), nil}},
		{decls: []string{"DATE", "DATETIME"}, column: of(integrity.Date), honest: []any{"2026-01-02", "1000-01-01", "9999-12-31", nil}},
		{decls: []string{"VARCHAR(30)"}, column: of(integrity.Date), honest: []any{"2026-01-02", nil}},
		{decls: []string{"DATETIME(6)", "TIMESTAMP(6) NULL"}, column: of(integrity.Time), honest: someTimes()},
		{decls: []string{"BIGINT", "VARCHAR(30)"}, column: of(integrity.Time), honest: []any{time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC).UnixMicro(), nil}},
		{decls: []string{"VARBINARY(60)", "BLOB"}, column: of(integrity.Bytes), honest: []any{[]byte("1"), []byte{}, []byte{0, 255}, []byte("Bern"), nil}},
		{decls: []string{"BLOB"}, column: of(integrity.Sealed), honest: []any{sealedField(), nil}},
		{decls: []string{"TEXT"}, column: of(integrity.Sealed), honest: []any{sealed, nil}},
		{decls: []string{"JSON"}, column: of(integrity.JSON), honest: []any{`{"a":1}`, `[9007199254740993,1.50]`, `{"b":"\u00fc","a":[]}`, `"text"`, nil}, sameAs: valid},
		{decls: []string{"TEXT"}, column: of(integrity.JSON), honest: []any{`{"a":1}`, `[1.50]`, nil}, sameAs: valid},
	}
}
