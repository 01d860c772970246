package integrity_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/integrity"
)

// contactFields is the schema that most tests use.
func contactFields() []integrity.Field {
	return []integrity.Field{
		{Name: "first_name", Group: "name", MaxLen: 100, Label: map[string]string{"en": "First name", "zh-Hans": "名"}},
		{Name: "last_name", Group: "name", MaxLen: 100, Label: map[string]string{"en": "Last name", "zh-Hans": "姓"}},
		{Name: "email", Type: integrity.Email, Required: true, Label: map[string]string{"en": "E-mail", "zh-Hans": "邮箱"}},
		{Name: "phone", Type: integrity.Phone},
		{Name: "country", Type: integrity.Country},
		{Name: "language", Type: integrity.Language},
		{Name: "website", Type: integrity.URL},
		{Name: "card_number", Type: integrity.Card},
		{Name: "stage", OneOf: []string{"lead", "won", "lost"}},
		{Name: "code", Pattern: `[A-Z]{2}\d{3}`, MinLen: 5},
		{Name: "employees", Type: integrity.Integer},
		{Name: "revenue", Type: integrity.Decimal, Scale: 2},
		{Name: "newsletter", Type: integrity.Boolean},
		{Name: "born", Type: integrity.Date},
		{Name: "seen", Type: integrity.Time},
	}
}

func contactSchema(tb testing.TB) *integrity.Schema {
	tb.Helper()
	schema, err := integrity.NewSchema("contact", contactFields()...)
	require.NoError(tb, err)
	return schema
}

func goodContact() map[string]any {
	return map[string]any{
		"first_name": "Ann", "last_name": "O'Brien", "email": "ann.o'brien@shop.example", "phone": "+41 (44) 668-18.00",
		"country": "CH", "language": "de-CH", "website": "https://shop.example/a?b#c", "card_number": "4111 1111 1111 1111", "stage": "won",
		"code": "AB123", "employees": 12, "revenue": "1234.50", "newsletter": true, "born": "1980-02-29", "seen": time.Unix(0, 0),
	}
}

func TestAGoodRecordHasNoViolations(t *testing.T) {
	require.Nil(t, contactSchema(t).Validate(goodContact()))
	require.NoError(t, contactSchema(t).Validate(goodContact()).Err())
}

func TestEachRuleHasItsCode(t *testing.T) {
	type c = integrity.Code
	for _, tc := range []struct {
		field string
		code  c
		bad   []any
		good  []any
	}{
		{"first_name", integrity.CodeMaxLength, []any{strings.Repeat("é", 101)}, []any{strings.Repeat("é", 100), nil, "", "李"}},
		{"first_name", integrity.CodeUTF8, []any{"a\xff"}, nil},
		{"first_name", integrity.CodeNUL, []any{"a\x00b"}, nil},
		{"first_name", integrity.CodeType, []any{7, []byte("a"), true}, nil},
		{"email", integrity.CodeRequired, []any{nil, "", " \t"}, nil},
		{"email", integrity.CodeEmail, []any{"a", "a@b", "a b@c.example", "a@b..example"}, []any{"用户@例子.example"}},
		{"phone", integrity.CodePhone, []any{"12", "1234567890123456", "12a34", "12+34", "(123", "123)"}, []any{"84 23 30", "(61) 1234-5678", "+1-202-555-0143"}},
		{"country", integrity.CodeCountry, []any{"ch", "XX", "UK", "SU", "CHE", "ZZ", "EU"}, []any{"GB", "CN", "XK", "SS", "GL"}},
		{"language", integrity.CodeLanguage, []any{"xx", "de_CH", "e", "12", "de-ZZZ"}, []any{"en", "zh-Hans", "pt-BR", "sr-Latn-RS"}},
		{"website", integrity.CodeURL, []any{"shop.example", "javascript:alert(1)", "ftp://a.example", "http://", "https://a b.example", "https://user:pw@a.example", "https://a.example:x", "https://[::1", "https://[1.2.3.4]"}, []any{"HTTP://a.example", "https://a.example:8443/x", "https://[2001:db8::1]:80/", "http://192.0.2.1/", "http://localhost:8080", "https://例子.example"}},
		{"card_number", integrity.CodeCard, []any{"5.54563E+15", "4111111111111112", "411111", "4111  1111 1111 1111", "41111111111111111111", "-4111111111111111"}, []any{"4111111111111111", "5500-0055-5555-5559", "378282246310005"}},
		{"stage", integrity.CodeOneOf, []any{"Lead", "x"}, []any{"lead"}},
		{"code", integrity.CodePattern, []any{"AB1234", "xAB123", "ABCDE"}, []any{"ZZ999"}},
		{"code", integrity.CodeMinLength, []any{"AB1"}, nil},
		{"employees", integrity.CodeInteger, []any{1.5, uint64(1 << 63), uint(1 << 63), float64(1 << 60), json.Number("1.5")}, []any{1, int8(1), uint64(5), 3.0, json.Number("3")}},
		{"employees", integrity.CodeType, []any{"1", true}, nil},
		{"revenue", integrity.CodeDecimal, []any{"1.234", "1.", ".5", "1,5", "1e3", "", "--1", strings.Repeat("9", 41)}, []any{"-1.5", "0", 7, json.Number("1.25")}},
		{"revenue", integrity.CodeType, []any{1.5, float32(1), true}, nil},
		{"newsletter", integrity.CodeBoolean, []any{"true", 1}, []any{false}},
		{"born", integrity.CodeDate, []any{"2026-02-30", "1.2.2026", "2026-2-3"}, []any{time.Now()}},
		{"born", integrity.CodeType, []any{7}, nil},
		{"seen", integrity.CodeTime, []any{"2026-02-30", "noon"}, []any{"2026-02-28T12:00:00.123456Z", "2026-02-28T12:00:00+08:00"}},
		{"seen", integrity.CodeType, []any{7}, nil},
	} {
		schema := contactSchema(t)
		for _, bad := range tc.bad {
			if bad == "" && tc.code != integrity.CodeRequired {
				continue // blank is not there
			}
			record := goodContact()
			record[tc.field] = bad
			got := schema.Validate(record)
			require.Len(t, got, 1, "%s %q", tc.field, bad)
			require.Equal(t, tc.code, got[0].Code, "%s %q", tc.field, bad)
			require.Equal(t, "/"+tc.field, got[0].Path)
		}
		for _, good := range tc.good {
			record := goodContact()
			record[tc.field] = good
			require.Empty(t, schema.Validate(record), "%s %q", tc.field, good)
		}
	}
}

// A record may hold the Go types of the application's structs: what they lead to
// is judged, in a map as in a struct.
func TestARecordIsJudgedByItsValues(t *testing.T) {
	type stage string
	schema, born := contactSchema(t), time.Date(1980, 2, 29, 0, 0, 0, 0, time.UTC)
	for name, values := range map[string][]any{
		"first_name": {new("Ann"), new(new("Ann")), sql.NullString{String: "Ann", Valid: true}, sql.NullString{String: "left"}, (*string)(nil), (*panics)(nil), sql.Null[string]{}, []byte(nil)},
		"stage":      {stage("lead"), new(stage("lead")), sql.Null[stage]{V: "lead", Valid: true}},
		"employees":  {uint16(5), new(5), sql.NullInt64{Int64: 5, Valid: true}, json.Number("5.0"), float32(5)},
		"newsletter": {new(true), sql.NullBool{Bool: true, Valid: true}},
		"born":       {&born, sql.NullTime{Time: born, Valid: true}, new("1980-02-29")},
	} {
		for _, v := range values {
			record := goodContact()
			record[name] = v
			require.Empty(t, schema.Validate(record), "%s %T", name, v)
		}
	}
	for name, values := range map[string][]any{
		"first_name": {panics{}, struct{}{}, []string{"Ann"}, new(7), sql.NullInt64{Int64: 7, Valid: true}, []byte("Ann")},
		"stage":      {stage("nobody's"), new(stage("nobody's"))},
		"employees":  {sql.NullString{String: "5", Valid: true}, uint64(math.MaxUint64), sql.Null[float64]{V: 1.5, Valid: true}},
		"email":      {sql.NullString{}, (*string)(nil), []byte(nil)},
	} {
		for _, v := range values {
			record := goodContact()
			record[name] = v
			require.Len(t, schema.Validate(record), 1, "%s %T", name, v)
		}
	}
}

func TestAGroupNeedsOneOfItsFields(t *testing.T) {
	schema, record := contactSchema(t), goodContact()
	delete(record, "first_name")
	require.Empty(t, schema.Validate(record))
	record["last_name"] = " "
	got := schema.Validate(record)
	require.Equal(t, integrity.Violations{{Code: integrity.CodeRequiredAny, Path: "/first_name", Params: []integrity.Param{{Name: "fields", Value: "first_name, last_name"}}}}, got)
	require.Equal(t, "At least one of these is needed: First name, Last name.", schema.Explain("en", got[0]))
	require.Equal(t, "以下各项至少填写一项：名, 姓。", schema.Explain("zh-CN", got[0]))
}

func TestUnknownFieldsAreCountedAndNotNamed(t *testing.T) {
	schema, record := contactSchema(t), goodContact()
	record["Ann Canary"], record["emial"] = "x", "y"
	got := schema.Validate(record)
	require.Equal(t, integrity.Violations{{Code: integrity.CodeUnknownField, Params: []integrity.Param{{Name: "count", Value: "2"}}}}, got)
	require.Equal(t, []string{"Ann Canary", "emial"}, schema.Unknown(record))
}

func TestPathsAreJSONPointers(t *testing.T) {
	schema, err := integrity.NewSchema("s", integrity.Field{Name: "a/b~c", Required: true})
	require.NoError(t, err)
	got := schema.Validate(nil)
	require.Equal(t, "/a~1b~0c", got[0].Path)
	require.Equal(t, "a/b~c is missing.", schema.Explain("en", got[0]))
}

func TestABadRuleIsAnErrorWhenTheSchemaIsMade(t *testing.T) {
	for name, f := range map[string]integrity.Field{
		"no name":           {},
		"control in name":   {Name: "a\nb"},
		"invalid name":      {Name: "\xff"},
		"long name":         {Name: strings.Repeat("x", 129)},
		"bad pattern":       {Name: "a", Pattern: "("},
		"back reference":    {Name: "a", Pattern: `(a)\1`},
		"long pattern":      {Name: "a", Pattern: strings.Repeat("a", 1001)},
		"nested repeats":    {Name: "a", Pattern: `((a{1000}){1000}){1000}`},
		"lengths crossed":   {Name: "a", MinLen: 5, MaxLen: 4},
		"negative length":   {Name: "a", MinLen: -1},
		"length of a date":  {Name: "a", Type: integrity.Date, MaxLen: 4},
		"choices of an int": {Name: "a", Type: integrity.Integer, OneOf: []string{"1"}},
		"choice twice":      {Name: "a", OneOf: []string{"x", "x"}},
		"scale of text":     {Name: "a", Scale: 2},
		"scale too large":   {Name: "a", Type: integrity.Decimal, Scale: 19},
		"column type":       {Name: "a", Type: integrity.Sealed},
		"no such type":      {Name: "a", Type: 99},
	} {
		_, err := integrity.NewSchema("s", f)
		require.ErrorIs(t, err, integrity.ErrConfig, name)
	}
	_, err := integrity.NewSchema("s")
	require.ErrorIs(t, err, integrity.ErrConfig, "no fields")
	_, err = integrity.NewSchema("", integrity.Field{Name: "a"})
	require.ErrorIs(t, err, integrity.ErrConfig, "no schema name")
	_, err = integrity.NewSchema("s", integrity.Field{Name: "a"}, integrity.Field{Name: "a"})
	require.ErrorIs(t, err, integrity.ErrConfig, "field twice")
	var many []integrity.Field
	for i := range 65 {
		many = append(many, integrity.Field{Name: fmt.Sprint("f", i), Group: fmt.Sprint("g", i)})
	}
	_, err = integrity.NewSchema("s", many...)
	require.ErrorIs(t, err, integrity.ErrConfig, "too many groups")
}

func TestExtendLeavesTheSchemaAsItWas(t *testing.T) {
	base := contactSchema(t)
	wide, err := base.Extend(integrity.Field{Name: "shoe_size", Type: integrity.Integer}, integrity.Field{Name: "nick", Group: "name"})
	require.NoError(t, err)
	require.Equal(t, "contact", wide.Name())
	require.Equal(t, append(base.Fields(), "shoe_size", "nick"), wide.Fields())

	record := map[string]any{"email": "a@b.example", "nick": "Ann", "shoe_size": 39}
	require.Empty(t, wide.Validate(record))
	require.Len(t, base.Validate(record), 2) // the group, and two unknown fields
	_, err = base.Extend(integrity.Field{Name: "email"})
	require.ErrorIs(t, err, integrity.ErrConfig)
}

func TestTheFieldsHandedInMayChangeAfterwards(t *testing.T) {
	fields := contactFields()
	schema, err := integrity.NewSchema("contact", fields...)
	require.NoError(t, err)
	fields[2].Required, fields[2].Label["en"], fields[8].OneOf[0] = false, "changed", "changed"
	got := schema.Validate(map[string]any{"first_name": "A", "stage": "x"})
	require.Equal(t, "E-mail is missing.", schema.Explain("en", got[0]))
	require.Equal(t, "lead, won, lost", got[1].Params[0].Value)
}

func TestAnOwnCheckSeesTheRecord(t *testing.T) {
	schema, err := integrity.NewSchema("s", integrity.Field{Name: "country", Type: integrity.Country}, integrity.Field{
		Name: "phone", Type: integrity.Phone,
		Check: func(value any, record map[string]any) integrity.Code {
			if record["country"] == "CH" && !strings.HasPrefix(value.(string), "+41") {
				return "phone_country"
			}
			return ""
		},
	})
	require.NoError(t, err)
	require.Empty(t, schema.Validate(map[string]any{"country": "CH", "phone": "+41 44 668 18 00"}))
	got := schema.Validate(map[string]any{"country": "CH", "phone": "+49 30 1234"})
	require.Equal(t, integrity.Code("phone_country"), got[0].Code)
	require.Equal(t, "phone is not accepted (phone_country).", schema.Explain("fr", got[0]))
}

func TestNoViolationHoldsTheValue(t *testing.T) {
	schema := contactSchema(t)
	record := map[string]any{}
	for _, name := range schema.Fields() {
		record[name] = "Canary-\x00-" + name
	}
	record["email"], record["card_number"] = "Canary", "Canary 4111"
	got := schema.Validate(record)
	require.GreaterOrEqual(t, len(got), len(record)-1)
	for _, v := range got {
		for _, text := range []string{fmt.Sprintf("%#v", v), schema.Explain("en", v), schema.Explain("zh", v), got.Err().Error()} {
			require.NotContains(t, text, "Canary")
		}
	}
}

func TestEveryCodeHasASentenceInBothLanguages(t *testing.T) {
	schema := contactSchema(t)
	for _, v := range []integrity.Violation{
		{Code: integrity.CodeRequired},
		{Code: integrity.CodeUnknownField, Params: []integrity.Param{{Name: "count", Value: "1"}}},
		{Code: integrity.CodeType, Params: []integrity.Param{{Name: "type", Value: "text"}}},
		{Code: integrity.CodeMinLength, Params: []integrity.Param{{Name: "min", Value: "1"}}},
		{Code: integrity.CodeMaxLength, Params: []integrity.Param{{Name: "max", Value: "1"}}},
		{Code: integrity.CodeOneOf, Params: []integrity.Param{{Name: "choices", Value: "a"}}},
		{Code: integrity.CodeDecimal, Params: []integrity.Param{{Name: "scale", Value: "2"}}},
		{Code: integrity.CodePattern},
		{Code: integrity.CodeEmail},
		{Code: integrity.CodePhone},
		{Code: integrity.CodeURL},
		{Code: integrity.CodeInteger},
		{Code: integrity.CodeBoolean},
		{Code: integrity.CodeDate},
		{Code: integrity.CodeTime},
		{Code: integrity.CodeCountry},
		{Code: integrity.CodeLanguage},
		{Code: integrity.CodeCard},
		{Code: integrity.CodeUTF8},
		{Code: integrity.CodeNUL},
		{Code: integrity.CodeControl},
		{Code: integrity.CodeNoSchema},
		{Code: integrity.CodeLineEnd},
		{Code: integrity.CodeQuote},
		{Code: integrity.CodeQuoteOpen},
		{Code: integrity.CodeFieldTooLarge},
		{Code: integrity.CodeRecordTooLarge},
		{Code: integrity.CodeDuplicate, Params: []integrity.Param{{Name: "line", Value: "1"}}},
		{Code: integrity.CodeHeaderDuplicate},
		{Code: "made_up"},
	} {
		v.Path = "/email"
		en, zh := schema.Explain("en-GB", v), schema.Explain("zh-Hans-CN", v)
		require.NotEqual(t, en, zh, v.Code)
		for _, sentence := range []string{en, zh} {
			require.NotContains(t, sentence, "{", v.Code)
		}
		require.Equal(t, v.Code == "made_up", strings.Contains(en, "not accepted"), v.Code)
	}
	require.Equal(t, "The file is empty.", (&integrity.SourceError{Code: integrity.CodeEmptyFile}).Explain("de"))
	require.Equal(t, "E-mail stands in line 3 already.", schema.ExplainFault("en", integrity.Fault{Field: "email", Code: integrity.CodeDuplicate, Params: []integrity.Param{{Name: "line", Value: "3"}}}))
}

func TestValidatingAGoodRecordAllocatesNothing(t *testing.T) {
	schema, record := contactSchema(t), goodContact()
	require.Zero(t, testing.AllocsPerRun(200, func() { schema.Validate(record) }))
}

func TestTypesHaveNames(t *testing.T) {
	require.Equal(t, "text", integrity.Text.String())
	require.Equal(t, "sealed", integrity.Sealed.String())
	require.Equal(t, "unknown", integrity.Type(-1).String())
}

func BenchmarkValidateMap(b *testing.B) {
	schema, record := contactSchema(b), goodContact()
	b.ReportAllocs()
	for b.Loop() {
		if schema.Validate(record) != nil {
			b.Fatal("not valid")
		}
	}
}
