package bundle_test

import (
	"database/sql"
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/value"
	"github.com/crmguard/crmguard/privacy/bundle"
	"github.com/crmguard/crmguard/privacy/datastore"
)

type stage string

// A person reads the same in their bundle whatever Go type a store keeps their
// data in, and one odd cell does not keep the rest back.
func TestABundleShowsTheValueNotItsGoType(t *testing.T) {
	at, id := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)), uuid.MustParse("0195d2c0-0000-7000-8000-00000000000a")
	for want, values := range map[string][]any{
		`null`:                             {nil, (*string)(nil), sql.NullString{String: "left"}, sql.Null[int]{}, sql.RawBytes(nil), json.RawMessage(nil), json.RawMessage("null")},
		`""`:                               {"", []byte{}, []byte(nil), new(""), sql.NullString{Valid: true}},
		`"x"`:                              {"x", []byte("x"), stage("x"), new(new("x")), sql.NullString{String: "x", Valid: true}, json.RawMessage(`"x"`)},
		`7`:                                {7, int8(7), uint64(7), json.Number("7"), json.Number("7.0"), new(int64(7)), sql.NullInt64{Int64: 7, Valid: true}, time.Duration(7), 7.0, json.RawMessage(" 7")},
		`"9007199254740993"`:               {9007199254740993, uint64(9007199254740993), json.Number("9007199254740993"), time.Duration(9007199254740993)},
		`"18446744073709551615"`:           {uint64(math.MaxUint64), sql.Null[uint64]{V: math.MaxUint64, Valid: true}},
		`1.5`:                              {1.5, float32(1.5), json.Number("1.50"), json.RawMessage("1.50")},
		`"0.1000000000000000055"`:          {json.Number("0.1000000000000000055")},
		`0.1000000000000000055`:            {json.RawMessage("0.1000000000000000055")},
		`true`:                             {true, sql.NullBool{Bool: true, Valid: true}},
		`"NaN"`:                            {math.NaN()},
		`"-Inf"`:                           {math.Inf(-1)},
		`{"base64url":"_w"}`:               {"\xff", []byte("\xff"), stage("\xff")},
		`"` + id.String() + `"`:            {id, [16]byte(id), uuid.NullUUID{UUID: id, Valid: true}},
		`"2026-01-02T02:04:05.000000Z"`:    {at, &at, sql.NullTime{Time: at, Valid: true}},
		`"2026-01-02T02:04:05.000000001Z"`: {at.Add(1)},
		`{"a":[1,null,"x"]}`:               {json.RawMessage(`{"a": [1, null, "x"]}`), map[string]any{"a": []any{1, nil, stage("x")}}},
		`["a",{"base64url":"_w"}]`:         {[]string{"a", "\xff"}, []stage{"a", "\xff"}},
		`{"City":"Bern"}`:                  {struct{ City string }{"Bern"}},
		`"{"`:                              {json.RawMessage("{")},
	} {
		for _, v := range values {
			data, _ := write(t, config(), record("contacts", "1", fields{{Name: "x", Value: v}}))
			require.Equal(t, `{"x":`+want+`}`, lines(file(t, data, "data/contacts.ndjson"))[0], "%T", v)
		}
	}
}

// What the map calls a date is read as one, in microseconds too.
func TestDatesThatAreNumbers(t *testing.T) {
	data, _ := write(
		t, config(),
		record("contacts", "1", fields{{Name: "created", Value: noon.UnixMicro()}, {Name: "n", Value: noon.UnixMicro()}}),
		record("contacts", "2", fields{{Name: "created", Value: "2026-11-27"}}), record("contacts", "3", fields{{Name: "created", Value: int64(math.MaxInt64)}}),
		record("invoices", "1", fields{{Name: "issued", Value: noon.UnixMicro()}}),
	)
	require.Equal(t, []string{
		`{"created":"2026-11-27T12:00:00.000000Z","n":1795780800000000}`, `{"created":"2026-11-27"}`, `{"created":"+294247-01-10T04:00:54.775807Z"}`,
	}, lines(file(t, data, "data/contacts.ndjson")))
	require.Equal(t, `{"issued":"2026-11-27T12:00:00.000000Z"}`, lines(file(t, data, "data/invoices.ndjson"))[0])
}

// NULL in a sealed column is NULL in every spelling, and is not opened.
func TestASealedNullIsNotOpened(t *testing.T) {
	for _, null := range []any{nil, (*string)(nil), sql.NullString{String: "left"}, sql.Null[[]byte]{V: []byte("left")}, sql.RawBytes(nil)} {
		data, _ := write(t, config(), record("contacts", "1", fields{{Name: "email", Value: null, Sealed: true}})) // without Open
		require.Equal(t, `{"email":null}`, lines(file(t, data, "data/contacts.ndjson"))[0])
	}
	_, err := bundle.Write(t.Context(), nil, config(), seq(record("contacts", "1", fields{{Name: "email", Value: make(chan int), Sealed: true}})))
	var unread *value.Error
	require.ErrorAs(t, err, &unread)
	var named *bundle.RecordError
	require.ErrorAs(t, err, &named)
	require.Equal(t, "contacts.email", named.Table+"."+named.Column)
}

// The cells of one CSV line, by value.
func TestCSVCells(t *testing.T) {
	for want, values := range map[string][]any{
		``:                              {nil, json.RawMessage("null")},
		`""`:                            {"", []byte{}},
		`7`:                             {7, json.RawMessage("7")},
		`-5.25`:                         {-5.25},
		`true`:                          {true},
		`"a ""quoted"" b"`:              {`a "quoted" b`},
		`"a,b"`:                         {"a,b"},
		"\"a\nb\"":                      {"a\nb"},
		`"+49 (0)30 901820"`:            {"+49 (0)30 901820"},
		`"+491701234567"`:               {"+491701234567"},
		`"-5"`:                          {"-5"},
		`"'+1-800-555-0100"`:            {"+1-800-555-0100"},
		`"'+"`:                          {"+"},
		`"'- milk"`:                     {"- milk"},
		`"'=1+1"`:                       {"=1+1"},
		`"'@x"`:                         {"@x"},
		"\"'\t1\"":                      {"\t1"},
		"\"'\r1\"":                      {"\r1"},
		"\"'\n1\"":                      {"\n1"},
		`"'＝1"`:                         {"＝1"},
		`"'-1(x)"`:                      {"-1(x)"},
		`"' =1+1"`:                      {" =1+1"},
		"\"'\u00a0@x\"":                 {"\u00a0@x"},
		"\"'\u200b\ufe0f=1\"":           {"\u200b\ufe0f=1"},
		"\"'\ufeff\t=1\"":               {"\ufeff\t=1"},
		`"'﹦1"`:                         {"﹦1"},
		`"'−1"`:                         {"−1"},
		`"  ann"`:                       {"  ann"},
		"\"\u200b+49 30\"":              {"\u200b+49 30"},
		"\"\u2401\u241b\u2421\"":        {"\x01\x1b\x7f"},
		`"[1,""=x""]"`:                  {[]any{1, "=x"}},
		`"{""base64url"":""_w""}"`:      {"\xff"},
		`"ann@a.example"`:               {"ann@a.example"},
		`"2026-11-27T12:00:00.000000Z"`: {noon},
	} {
		for _, v := range values {
			data, _ := write(t, config(), record("contacts", "1", fields{{Name: "n", Value: 1}, {Name: "x", Value: v}}))
			require.Equal(t, "\ufeff\"n\",\"x\"\n1,"+want+"\n", file(t, data, "data/contacts.csv"))
		}
	}
	data, _ := write(t, config(), record("contacts", "1", fields{{Name: "x"}}), record("contacts", "2", fields{{Name: "=y", Value: 1}}))
	require.Equal(t, "\ufeff\"x\",\"'=y\"\n,\n,1\n", file(t, data, "data/contacts.csv"))
	data, _ = write(t, config(), record("contacts", "1", fields{{Name: "x"}}))
	require.Equal(t, "\ufeff\"x\"\n\"\"\n", file(t, data, "data/contacts.csv"), "an empty line would be no row")
}

// The types in the schema are those that readers of JSON meet.
func TestTheSchemaHasTheTypesOfTheValues(t *testing.T) {
	for want, v := range map[string]any{
		`"null"`: nil, `"boolean"`: true, `"integer"`: 7, `"number"`: 1.5, `"string"`: "x", `"array"`: []int{1}, `"object"`: map[string]any{}, `"array" `: json.RawMessage("\n[]"),
		`"object" `: json.RawMessage("{}"), `"string" `: json.RawMessage(`"x"`), `"number" `: json.RawMessage("-1"), `"boolean" `: json.RawMessage("false"), `"null" `: json.RawMessage("null"),
	} {
		data, _ := write(t, config(), record("contacts", "1", fields{{Name: "x", Value: v}}))
		require.Contains(t, file(t, data, "schema/contacts.json"), `"properties":{"x":{"type":[`+trim(want)+`]}}`)
	}
	data, _ := write(t, config(), record("contacts", "1", fields{{Name: "x", Value: 1}}), record("contacts", "2", fields{{Name: "x"}}), record("contacts", "3", []datastore.Field{{Name: "y"}}))
	require.Contains(t, file(t, data, "schema/contacts.json"), `"x":{"type":["integer","null"]}`)
	require.Contains(t, file(t, data, "schema/contacts.json"), `"required":[]`)
}

func trim(text string) string {
	if text[len(text)-1] == ' ' {
		return text[:len(text)-1]
	}
	return text
}
