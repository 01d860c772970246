package integrity_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"
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

// The vector of formats.md, section 7.
func TestSealVector(t *testing.T) {
	sealer, err := integrity.NewSealer(bare(root()), integrity.Layout{ID: "contact/1", Columns: []integrity.Column{{Name: "city"}}})
	require.NoError(t, err)
	seal, err := sealer.Seal(t.Context(), integrity.Ref{Tenant: "t1", Table: "contacts", Key: "r1", Version: 7, SchemaID: "contact/1"}, map[string]any{"city": "Bern"})
	require.NoError(t, err)
	require.Equal(t, "16c10f26123d9f4b8f18015971702e7494f5beee6dc2c390f5b2df5a5ecd178e", hex.EncodeToString(seal))
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

// What a driver makes of a value is without effect on the seal.
func TestASealSurvivesTheDriver(t *testing.T) {
	sealer, _ := newSealer(t)
	seal, err := sealer.Seal(t.Context(), contactRef(), contactRow())
	require.NoError(t, err)
	text := "cg1.aabbccdd." + base64.RawURLEncoding.EncodeToString(sealedField())
	for name, forms := range map[string][]any{
		"email":     {text, []byte(text)},
		"country":   {[]byte("CH"), sql.NullString{String: "CH", Valid: true}},
		"active":    {int64(1), []byte("1")},
		"employees": {12, []byte("12"), "12"},
		"revenue":   {"10.5", []byte("10.500"), "010.50"},
		"born":      {time.Date(1980, 2, 29, 0, 0, 0, 0, time.UTC), []byte("1980-02-29")},
		"seen":      {int64(1234567), "1970-01-01T00:00:01.234567Z", "1970-01-01T08:00:01.234567+08:00", time.UnixMicro(1234567).UTC().Add(999 * time.Nanosecond)},
		"extra":     {[]byte(`{ "a" : [ ], "b" : 1.0 }`)},
		"score":     {float32(0.5)},
	} {
		for _, form := range forms {
			row := contactRow()
			row[name] = form
			require.NoError(t, sealer.Verify(t.Context(), integrity.SealedRow{Ref: contactRef(), Values: row, Seal: seal}), "%s %T", name, form)
		}
	}
}

func TestWhatHasNoCanonicalFormIsRefused(t *testing.T) {
	sealer, _ := newSealer(t)
	short := "cg1.aabbccdd." + base64.RawURLEncoding.EncodeToString(sealedField()[:20])
	lies := "cg1.aabbccde." + base64.RawURLEncoding.EncodeToString(sealedField())
	for name, values := range map[string][]any{
		"email":     {"Canary@plain.example", []byte("Canary@plain.example, which is long enough"), []byte{1}, short, lies, "cg1.", "cg1.aabbccdd.!", 7},
		"country":   {"\xff", 7},
		"active":    {"Canary", 2, 1.0},
		"employees": {"012", "Canary", 1.0, true},
		"revenue":   {"10.505", "Canary", 1.5, true},
		"born":      {"Canary", 7},
		"seen":      {"Canary", true},
		"extra":     {"{Canary", `{"a":1,"a":2}`, 7},
		"photo":     {"Canary", 7},
		"score":     {"1", 1},
	} {
		for _, value := range values {
			row := contactRow()
			row[name] = value
			_, err := sealer.Seal(t.Context(), contactRef(), row)
			require.ErrorIs(t, err, integrity.ErrRow, "%s %v", name, value)
			require.NotContains(t, err.Error(), "Canary")
			require.Contains(t, err.Error(), name)
		}
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
	_, err := integrity.NewSealer(nil, contactLayout())
	require.ErrorIs(t, err, integrity.ErrConfig)
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

// A row that was sealed before it was stored verifies as SQLite gives it back.
func TestASealSurvivesSQLite(t *testing.T) {
	db, err := sql.Open("sqlite", "file:"+t.TempDir()+"/t.db?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=secure_delete(1)")
	require.NoError(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	ctx := t.Context()
	_, err = db.ExecContext(ctx, `CREATE TABLE contacts (id TEXT PRIMARY KEY, version INTEGER, email BLOB, country TEXT, active INTEGER, employees INTEGER,
		revenue TEXT, born TEXT, seen INTEGER, extra TEXT, photo BLOB, score REAL, seal BLOB) STRICT`)
	require.NoError(t, err)
	sealer, _ := newSealer(t)
	row := contactRow()
	seal, err := sealer.Seal(ctx, contactRef(), row)
	require.NoError(t, err)
	_, err = db.ExecContext(ctx, `INSERT INTO contacts VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)`, "r1", 7, row["email"], row["country"], row["active"], row["employees"],
		row["revenue"], row["born"], row["seen"].(time.Time).UnixMicro(), row["extra"], row["photo"], row["score"], seal)
	require.NoError(t, err)

	columns := sealer.Columns("contact/1")
	read := func() error {
		query, into, values := "SELECT seal", []any{new([]byte)}, make([]any, len(columns))
		for i, c := range columns {
			query += ", " + c.Name
			into = append(into, &values[i])
		}
		require.NoError(t, db.QueryRowContext(ctx, query+" FROM contacts").Scan(into...))
		back := map[string]any{}
		for i, c := range columns {
			back[c.Name] = values[i]
		}
		return sealer.Verify(ctx, integrity.SealedRow{Ref: contactRef(), Values: back, Seal: *into[0].(*[]byte)})
	}
	require.NoError(t, read())
	_, err = db.ExecContext(ctx, `UPDATE contacts SET employees = 13`)
	require.NoError(t, err)
	require.ErrorIs(t, read(), integrity.ErrTampered)
}
