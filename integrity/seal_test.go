package integrity_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/integrity/integritytest"
)

// bare is the HMAC of the published vector, without the prefix of Tink.
type bare []byte

func (k bare) Tag(_ context.Context, _ string, data []byte) ([]byte, error) {
	mac := hmac.New(sha256.New, k)
	mac.Write(data)
	return mac.Sum(nil), nil
}

func (k bare) Verify(ctx context.Context, tenant string, data, tag []byte) error {
	want, _ := k.Tag(ctx, tenant, data)
	if !hmac.Equal(want, tag) {
		return errors.New("no")
	}
	return nil
}

func root() []byte {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i)
	}
	return key
}

// The vectors of formats.md, section 7.
func TestSealVector(t *testing.T) {
	sealer, err := integrity.NewSealer(bare(root()), integrity.Layout{ID: "contact/1", Columns: []integrity.Column{{Name: "city"}}})
	require.NoError(t, err)
	seal, err := sealer.Seal(t.Context(), integrity.Ref{Tenant: "t1", Table: "contacts", Key: "r1", Version: 7, SchemaID: "contact/1"}, map[string]any{"city": "Bern"})
	require.NoError(t, err)
	require.Equal(t, "16c10f26123d9f4b8f18015971702e7494f5beee6dc2c390f5b2df5a5ecd178e", hex.EncodeToString(seal))

	sealer, err = integrity.NewSealer(bare(root()), integrity.Layout{ID: "contact/1", Columns: []integrity.Column{{Name: "extra", Type: integrity.JSON}}})
	require.NoError(t, err)
	document := `{"n": [1.50, 1E2, -0.000001, 1e400], "id": 9007199254740993, "a": "\u00fc\u000b"}`
	seal, err = sealer.Seal(t.Context(), integrity.Ref{Tenant: "t1", Table: "contacts", Key: "r1", Version: 7, SchemaID: "contact/1"}, map[string]any{"extra": document})
	require.NoError(t, err)
	require.Equal(t, "1b59788c4e0a291ccb650d5f8cfb5faac5147a0128951ffcef270ba62895b107", hex.EncodeToString(seal))
}

func contactLayout() integrity.Layout {
	return integrity.Layout{ID: "contact/1", Columns: []integrity.Column{
		{Name: "email", Type: integrity.Sealed},
		{Name: "country", Type: integrity.Country},
		{Name: "active", Type: integrity.Boolean},
		{Name: "employees", Type: integrity.Integer},
		{Name: "revenue", Type: integrity.Decimal, Scale: 2},
		{Name: "born", Type: integrity.Date},
		{Name: "seen", Type: integrity.Time},
		{Name: "extra", Type: integrity.JSON},
		{Name: "photo", Type: integrity.Bytes},
		{Name: "score", Type: integrity.Float},
	}}
}

func sealedField() []byte {
	field := append([]byte{1, 0xaa, 0xbb, 0xcc, 0xdd}, make([]byte, 12+5+16)...)
	field[20] = 7
	return field
}

func contactRow() map[string]any {
	return map[string]any{
		"email": sealedField(), "country": "CH", "active": true, "employees": int64(12), "revenue": "10.50", "born": "1980-02-29",
		"seen": time.UnixMicro(1234567), "extra": `{"b":1,"a":[]}`, "photo": []byte{1, 2}, "score": 0.5,
	}
}

func contactRef() integrity.Ref {
	return integrity.Ref{Tenant: "t1", Table: "contacts", Key: "r1", Version: 7, SchemaID: "contact/1", Event: "01890a5d-ac96-774b-bcce-b302099a8057"}
}

func newSealer(tb testing.TB, more ...integrity.Layout) (*integrity.Sealer, *integritytest.Tagger) {
	tb.Helper()
	tagger := &integritytest.Tagger{}
	sealer, err := integrity.NewSealer(tagger, append([]integrity.Layout{contactLayout()}, more...)...)
	require.NoError(tb, err)
	return sealer, tagger
}

func TestASealBindsEverything(t *testing.T) {
	other := contactLayout()
	other.ID = "contact/2"
	sealer, _ := newSealer(t, other)
	seal, err := sealer.Seal(t.Context(), contactRef(), contactRow())
	require.NoError(t, err)
	require.NoError(t, sealer.Verify(t.Context(), integrity.SealedRow{Ref: contactRef(), Values: contactRow(), Seal: seal}))

	for name, change := range map[string]func(*integrity.Ref){
		"tenant":        func(r *integrity.Ref) { r.Tenant = "t2" },
		"table":         func(r *integrity.Ref) { r.Table = "contact" },
		"key":           func(r *integrity.Ref) { r.Key = "r2" },
		"version":       func(r *integrity.Ref) { r.Version = 6 },
		"schema":        func(r *integrity.Ref) { r.SchemaID = "contact/2" },
		"event":         func(r *integrity.Ref) { r.Event = "01890a5d-ac96-774b-bcce-b302099a8058" },
		"no event":      func(r *integrity.Ref) { r.Event = "" },
		"not a version": func(r *integrity.Ref) { r.Version = -1 },
		"not an event":  func(r *integrity.Ref) { r.Event = "x" },
		"not an UUID":   func(r *integrity.Ref) { r.Event = "01890a5d-ac96-774b-bcce-b302099a805x" },
		"not a key":     func(r *integrity.Ref) { r.Key = "r\x001" },
	} {
		ref := contactRef()
		change(&ref)
		require.ErrorIs(t, sealer.Verify(t.Context(), integrity.SealedRow{Ref: ref, Values: contactRow(), Seal: seal}), integrity.ErrTampered, name)
	}
	changed := sealedField()
	changed[20] = 8
	for name, value := range map[string]any{
		"email": changed, "country": "DE", "active": false, "employees": int64(13), "revenue": "10.51", "born": "1980-02-28",
		"seen": time.UnixMicro(1234568), "extra": `{"b":1,"a":[1]}`, "photo": []byte{1, 3}, "score": 0.25,
	} {
		for _, v := range []any{value, nil, struct{}{}} { // another value, NULL, nothing that the column can hold
			row := contactRow()
			row[name] = v
			require.ErrorIs(t, sealer.Verify(t.Context(), integrity.SealedRow{Ref: contactRef(), Values: row, Seal: seal}), integrity.ErrTampered, name)
		}
	}
	for i := range seal {
		forged := append([]byte(nil), seal...)
		forged[i] ^= 0x80
		require.Error(t, sealer.Verify(t.Context(), integrity.SealedRow{Ref: contactRef(), Values: contactRow(), Seal: forged}))
	}
}

type phase string

// What database/sql and its drivers make of a value is without effect on the
// seal.
func TestASealSurvivesTheDriver(t *testing.T) {
	sealer, _ := newSealer(t)
	seal, err := sealer.Seal(t.Context(), contactRef(), contactRow())
	require.NoError(t, err)
	country := "CH"
	for name, forms := range map[string][]any{
		"country":   {sql.NullString{String: "CH", Valid: true}, &country, phase("CH")},
		"active":    {int64(1), 1, sql.NullBool{Bool: true, Valid: true}},
		"employees": {12, int32(12), uint8(12), sql.NullInt64{Int64: 12, Valid: true}},
		"revenue":   {10.5, "10.50", phase("10.50")},
		"born":      {time.Date(1980, 2, 29, 0, 0, 0, 0, time.UTC), time.Date(1980, 2, 29, 0, 0, 0, 0, time.FixedZone("", 7200))},
		"seen":      {int64(1234567), time.UnixMicro(1234567).UTC(), time.UnixMicro(1234567).In(time.FixedZone("", 7200))},
		"extra":     {`{ "a" : [ ], "b" : 1.0 }`, `{"a":[],"b":10e-1}`, `{"\u0062":1,"a":[]}`},
		"score":     {float32(0.5)},
	} {
		for _, form := range forms {
			row := contactRow()
			row[name] = form
			require.NoError(t, sealer.Verify(t.Context(), integrity.SealedRow{Ref: contactRef(), Values: row, Seal: seal}), "%s %T", name, form)
		}
	}
}

// NULL is what database/sql stores as NULL, and never an empty value.
func TestNullIsOneAndEmptyIsNot(t *testing.T) {
	sealer, _ := newSealer(t)
	verify := func(sealed, found map[string]any) error {
		seal, err := sealer.Seal(t.Context(), contactRef(), sealed)
		require.NoError(t, err)
		return sealer.Verify(t.Context(), integrity.SealedRow{Ref: contactRef(), Values: found, Seal: seal})
	}
	with := func(name string, value any) map[string]any {
		row := contactRow()
		row[name] = value
		return row
	}
	for _, null := range []any{[]byte(nil), sql.NullString{}, (*string)(nil), (*sql.NullString)(nil), (*int64)(nil), sql.RawBytes(nil), sql.Null[string]{V: "left"}, (*panics)(nil)} {
		require.NoError(t, verify(with("country", null), with("country", nil)), "%T", null)
		require.NoError(t, verify(with("country", nil), with("country", null)), "%T", null)
	}
	for name, empty := range map[string]any{"country": "", "photo": []byte{}, "employees": 0, "active": false, "score": 0.0, "revenue": "0.00", "extra": "null"} {
		require.ErrorIs(t, verify(with(name, empty), with(name, nil)), integrity.ErrTampered, name)
		require.ErrorIs(t, verify(with(name, nil), with(name, empty)), integrity.ErrTampered, name)
	}
}

// Two spellings of one value are two values to SQL, and so are a text, a number
// and a blob of the same characters: a seal takes one of them.
func TestWhatIsOfAnotherClassIsRefused(t *testing.T) {
	sealer, _ := newSealer(t)
	seal, err := sealer.Seal(t.Context(), contactRef(), contactRow())
	require.NoError(t, err)
	short := "cg1.aabbccdd." + base64.RawURLEncoding.EncodeToString(sealedField()[:20])
	lies := "cg1.aabbccde." + base64.RawURLEncoding.EncodeToString(sealedField())
	text := "cg1.aabbccdd." + base64.RawURLEncoding.EncodeToString(sealedField())
	for name, values := range map[string][]any{
		"email":     {"Canary@plain.example", []byte("Canary@plain.example, which is long enough"), []byte{1}, short, lies, "cg1.", "cg1.aabbccdd.!", "x" + text, []byte(text), strings.ToUpper(text), 7, true},
		"country":   {"\xff", 7, []byte("CH"), true, time.UnixMicro(0), [4]int{}, []string{"Canary"}, panics{}, json.Number("7")},
		"active":    {"Canary", 2, -1, 1.0, "1", []byte("1"), "true"},
		"employees": {"012", "Canary", 12.0, true, "12", []byte("12"), uint64(math.MaxUint64), time.UnixMicro(12)},
		"revenue":   {"10.505", "Canary", true, "10.5", "10.500", "010.50", "+10.50", " 10.50", "1.05E1", "NaN", 10.505, math.NaN(), math.Inf(1), []byte("10.50")},
		"born":      {"Canary", 7, []byte("1980-02-29"), "1980-02-29 00:00:00", "1980-2-29", "0000-00-00", time.Date(1980, 2, 29, 0, 0, 0, 1, time.UTC), time.Date(1980, 2, 29, 23, 59, 0, 0, time.UTC)},
		"seen":      {"Canary", true, "1970-01-01T00:00:01.234567Z", "1234567", 1234567.0, []byte("1234567"), time.UnixMicro(1234567).Add(999 * time.Nanosecond), time.Unix(1<<60, 0)},
		"extra":     {"{Canary", `{"a":1,"a":2}`, 7, []byte(`{"a":[],"b":1}`), `{"a":[],"b":-0}`, `{"a":[],"b":1e9999999999}`, ""},
		"photo":     {"Canary", 7, "\x01\x02"},
		"score":     {"1", "0.5", true, math.NaN(), math.Inf(-1), math.MaxInt64, []byte("0.5")},
	} {
		for _, value := range values {
			row := contactRow()
			row[name] = value
			_, err := sealer.Seal(t.Context(), contactRef(), row)
			require.ErrorIs(t, err, integrity.ErrRow, "%s %v", name, value)
			require.NotContains(t, err.Error(), "Canary")
			require.Contains(t, err.Error(), name)

			err = sealer.Verify(t.Context(), integrity.SealedRow{Ref: contactRef(), Values: row, Seal: seal})
			require.ErrorIs(t, err, integrity.ErrTampered, "%s %v", name, value)
			require.NotErrorIs(t, err, integrity.ErrRow)
			require.NotContains(t, err.Error(), "Canary")
			require.ErrorContains(t, err, `column "`+name+`"`)
		}
	}
}

// Databases cut or round what is finer than microseconds, so that the row would
// look tampered later: the caller is told at once, and what to do.
func TestATimeFinerThanMicrosecondsIsToBeTruncated(t *testing.T) {
	sealer, _ := newSealer(t)
	row := contactRow()
	row["seen"] = time.Unix(0, 1234567891)
	_, err := sealer.Seal(t.Context(), contactRef(), row)
	require.ErrorContains(t, err, "Truncate(time.Microsecond)")
	row["seen"] = time.Unix(0, 1234567891).Truncate(time.Microsecond)
	_, err = sealer.Seal(t.Context(), contactRef(), row)
	require.NoError(t, err)
}

// The binary form and the text form of a sealed field are two things to SQL,
// to the count of the key versions among others.
func TestTheFormOfASealedFieldIsSealed(t *testing.T) {
	sealer, _ := newSealer(t)
	text := "cg1.aabbccdd." + base64.RawURLEncoding.EncodeToString(sealedField())
	for _, forms := range [][2]any{{sealedField(), text}, {text, sealedField()}} {
		row := contactRow()
		row["email"] = forms[0]
		seal, err := sealer.Seal(t.Context(), contactRef(), row)
		require.NoError(t, err)
		require.NoError(t, sealer.Verify(t.Context(), integrity.SealedRow{Ref: contactRef(), Values: row, Seal: seal}))
		row["email"] = forms[1]
		require.ErrorIs(t, sealer.Verify(t.Context(), integrity.SealedRow{Ref: contactRef(), Values: row, Seal: seal}), integrity.ErrTampered)
	}
}

// Pairs of numbers that a float64 holds as one are two behind a seal, or have
// none.
func TestNumbersOfJSONCannotBeSwapped(t *testing.T) {
	sealer, _ := newSealer(t)
	for _, pair := range [][2]string{
		{`{"account_id":9007199254740992}`, `{"account_id":9007199254740993}`},
		{`{"n":123456789012345678901}`, `{"n":123456789012345678902}`},
		{`{"n":12345678901234567.89}`, `{"n":12345678901234567.99}`},
		{`{"n":0.1}`, `{"n":0.1000000000000000055511151231257827}`},
		{`{"n":1e-400}`, `{"n":0}`},
		{`{"n":1e400}`, `{"n":1e401}`},
		{`{"n":-0}`, `{"n":0}`},
		{`{"n":1}`, `{"n":"1"}`},
	} {
		for _, p := range [][2]string{pair, {pair[1], pair[0]}} {
			row := contactRow()
			row["extra"] = p[0]
			seal, err := sealer.Seal(t.Context(), contactRef(), row)
			if strings.Contains(p[0], "-0}") {
				require.ErrorIs(t, err, integrity.ErrRow)
				continue
			}
			require.NoError(t, err)
			row["extra"] = p[1]
			require.ErrorIs(t, sealer.Verify(t.Context(), integrity.SealedRow{Ref: contactRef(), Values: row, Seal: seal}), integrity.ErrTampered, "%v", p)
		}
	}
	for _, same := range [][2]string{{`1`, `1.0`}, {`1E2`, `100`}, {`1.50`, `1.5`}, {`1e400`, `1` + strings.Repeat("0", 400)}} { // what PostgreSQL makes of them
		row := contactRow()
		row["extra"] = same[0]
		seal, err := sealer.Seal(t.Context(), contactRef(), row)
		require.NoError(t, err)
		row["extra"] = same[1]
		require.NoError(t, sealer.Verify(t.Context(), integrity.SealedRow{Ref: contactRef(), Values: row, Seal: seal}), "%v", same)
	}
}

func TestExactlyTheColumnsOfTheLayout(t *testing.T) {
	sealer, _ := newSealer(t)
	missing, more, renamed := contactRow(), contactRow(), contactRow()
	delete(missing, "city")
	delete(missing, "country")
	more["email_idx"] = 7
	delete(renamed, "country")
	renamed["land"] = "CH"
	for _, row := range []map[string]any{missing, more, renamed, nil} {
		_, err := sealer.Seal(t.Context(), contactRef(), row)
		require.ErrorIs(t, err, integrity.ErrRow)
		require.ErrorIs(t, sealer.Verify(t.Context(), integrity.SealedRow{Ref: contactRef(), Values: row, Seal: []byte("x")}), integrity.ErrRow)
	}
	names := []string{}
	for _, c := range sealer.Columns("contact/1") {
		names = append(names, c.Name)
	}
	require.IsIncreasing(t, names)
	require.Nil(t, sealer.Columns("contact/9"))
	for _, ref := range []integrity.Ref{{}, {Tenant: "t1"}, {Tenant: "t1", Table: "x"}, {Tenant: "t\xff", Table: "x", Key: "k"}} {
		ref.SchemaID = "contact/1"
		_, err := sealer.Seal(t.Context(), ref, contactRow())
		require.ErrorIs(t, err, integrity.ErrRow)
	}
}

func TestVerdictsAreTold(t *testing.T) {
	sealer, tagger := newSealer(t)
	seal, err := sealer.Seal(t.Context(), contactRef(), contactRow())
	require.NoError(t, err)
	row := integrity.SealedRow{Ref: contactRef(), Values: contactRow(), Seal: seal}

	none := row
	none.Seal = nil
	require.ErrorIs(t, sealer.Verify(t.Context(), none), integrity.ErrNoSeal)
	unknown := row
	unknown.Ref.SchemaID = "contact/9"
	require.ErrorIs(t, sealer.Verify(t.Context(), unknown), integrity.ErrUnknownSchema)
	_, err = sealer.Seal(t.Context(), unknown.Ref, contactRow())
	require.ErrorIs(t, err, integrity.ErrUnknownSchema)

	tagger.Rotate()
	require.NoError(t, sealer.Verify(t.Context(), row), "an older key verifies")
	again, err := sealer.Seal(t.Context(), contactRef(), contactRow())
	require.NoError(t, err)
	require.NotEqual(t, seal, again)
	tagger.Forget()
	require.ErrorIs(t, sealer.Verify(t.Context(), row), integrity.ErrUnknownKey)

	// A key store that is down is no tampering.
	down := errors.New("key store is down")
	tagger.Fail(down)
	err = sealer.Verify(t.Context(), integrity.SealedRow{Ref: contactRef(), Values: contactRow(), Seal: again})
	require.ErrorIs(t, err, down)
	require.NotErrorIs(t, err, integrity.ErrTampered)
	_, err = sealer.Seal(t.Context(), contactRef(), contactRow())
	require.ErrorIs(t, err, down)
	tagger.Fail(nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, sealer.Verify(ctx, row), context.Canceled)
}

func TestResealVerifiesFirst(t *testing.T) {
	sealer, _ := newSealer(t)
	seal, err := sealer.Seal(t.Context(), contactRef(), contactRow())
	require.NoError(t, err)
	before := integrity.SealedRow{Ref: contactRef(), Values: contactRow(), Seal: seal}
	next, changed := contactRef(), contactRow()
	next.Version, changed["country"] = 8, "DE"
	after, err := sealer.Reseal(t.Context(), before, next, changed)
	require.NoError(t, err)
	require.NoError(t, sealer.Verify(t.Context(), integrity.SealedRow{Ref: next, Values: changed, Seal: after}))

	tampered := before
	tampered.Values = maps.Clone(before.Values)
	tampered.Values["country"] = "XX"
	_, err = sealer.Reseal(t.Context(), tampered, next, changed)
	require.ErrorIs(t, err, integrity.ErrTampered, "a tampered row must not be blessed")
	for _, change := range []func(*integrity.Ref){
		func(r *integrity.Ref) { r.Key = "r2" }, func(r *integrity.Ref) { r.Tenant = "t2" }, func(r *integrity.Ref) { r.Version = 6 },
	} {
		ref := next
		change(&ref)
		_, err = sealer.Reseal(t.Context(), before, ref, changed)
		require.ErrorIs(t, err, integrity.ErrRow)
	}
}

func TestABadLayoutIsAnErrorWhenTheSealerIsMade(t *testing.T) {
	column := []integrity.Column{{Name: "a"}}
	for name, layouts := range map[string][]integrity.Layout{
		"none":         nil,
		"no id":        {{Columns: column}},
		"no columns":   {{ID: "a"}},
		"id twice":     {{ID: "a", Columns: column}, {ID: "a", Columns: column}},
		"column twice": {{ID: "a", Columns: []integrity.Column{{Name: "a"}, {Name: "a"}}}},
		"no name":      {{ID: "a", Columns: []integrity.Column{{}}}},
		"type":         {{ID: "a", Columns: []integrity.Column{{Name: "a", Type: 99}}}},
		"scale":        {{ID: "a", Columns: []integrity.Column{{Name: "a", Scale: 1}}}},
	} {
		_, err := integrity.NewSealer(&integritytest.Tagger{}, layouts...)
		require.ErrorIs(t, err, integrity.ErrConfig, name)
	}
	for _, tagger := range []integrity.Tagger{nil, (*integritytest.Tagger)(nil)} {
		_, err := integrity.NewSealer(tagger, contactLayout())
		require.ErrorIs(t, err, integrity.ErrConfig)
	}
	for _, sealer := range []*integrity.Sealer{nil, {}} {
		_, err := sealer.Seal(t.Context(), contactRef(), contactRow())
		require.ErrorIs(t, err, integrity.ErrConfig)
		require.ErrorIs(t, sealer.Verify(t.Context(), integrity.SealedRow{}), integrity.ErrConfig)
		_, err = sealer.Reseal(t.Context(), integrity.SealedRow{Ref: contactRef()}, contactRef(), contactRow())
		require.ErrorIs(t, err, integrity.ErrConfig)
		report, err := sealer.Sweep(t.Context(), all(nil), cities())
		require.ErrorIs(t, err, integrity.ErrConfig)
		require.False(t, report.OK())
		require.Nil(t, sealer.Columns("contact/1"))
	}
}

// Two different rows, references or types never give one seal.
func TestSealsAreInjective(t *testing.T) {
	type input struct {
		ref    integrity.Ref
		schema int
		values map[string]any
	}
	layouts := []integrity.Layout{
		{ID: "a", Columns: []integrity.Column{{Name: "x"}, {Name: "y"}}},
		{ID: "ab", Columns: []integrity.Column{{Name: "x", Type: integrity.Bytes}, {Name: "y"}}},
		{ID: "b", Columns: []integrity.Column{{Name: "xy"}, {Name: "y", Type: integrity.Date}}},
	}
	sealer, err := integrity.NewSealer(bare(root()), layouts...)
	require.NoError(t, err)
	short := rapid.SampledFrom([]string{"a", "b", "ab", "aa", "\x01", "\u0000a"[1:]})
	text := rapid.SampledFrom([]any{"", "a", "ab", "aa", "\x00\x00\x00\x01a", nil})
	one := rapid.Custom(func(t *rapid.T) input {
		in := input{schema: rapid.IntRange(0, 2).Draw(t, "schema"), values: map[string]any{}}
		in.ref = integrity.Ref{Tenant: short.Draw(t, "tenant"), Table: short.Draw(t, "table"), Key: short.Draw(t, "key"), Version: rapid.Int64Range(0, 2).Draw(t, "version")}
		if rapid.Bool().Draw(t, "event") {
			in.ref.Event = contactRef().Event
		}
		for _, c := range layouts[in.schema].Columns {
			v := text.Draw(t, c.Name)
			if s, ok := v.(string); ok && c.Type == integrity.Bytes {
				v = []byte(s)
			}
			if c.Type == integrity.Date && v != nil {
				v = "2026-01-01"
			}
			in.values[c.Name] = v
		}
		in.ref.SchemaID = layouts[in.schema].ID
		return in
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := one.Draw(t, "a"), one.Draw(t, "b")
		x, err := sealer.Seal(context.Background(), a.ref, a.values)
		require.NoError(t, err)
		y, err := sealer.Seal(context.Background(), b.ref, b.values)
		require.NoError(t, err)
		same := a.ref == b.ref && len(a.values) == len(b.values)
		for name, v := range a.values {
			w, there := b.values[name]
			same = same && there && equalValue(v, w)
		}
		require.Equal(t, same, string(x) == string(y))
	})
}

func equalValue(a, b any) bool {
	x, isX := a.([]byte)
	y, isY := b.([]byte)
	if isX && isY {
		return string(x) == string(y)
	}
	return isX == isY && (isX || a == b)
}
