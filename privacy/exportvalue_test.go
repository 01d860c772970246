package privacy

import (
	"database/sql"
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/value"
	"github.com/crmguard/crmguard/privacy/datastore"
)

type stage string

// A person reads the same in their export whatever Go type a store keeps their
// data in, and one odd cell does not keep the rest back.
func TestAnExportShowsTheValueNotItsGoType(t *testing.T) {
	at, id := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)), uuid.MustParse("0195d2c0-0000-7000-8000-00000000000a")
	for want, values := range map[string][]any{
		`null`:                          {nil, (*string)(nil), sql.NullString{String: "left"}, sql.Null[int]{}, sql.RawBytes(nil), json.RawMessage(nil), json.RawMessage("null")},
		`""`:                            {"", []byte{}, []byte(nil), new(""), sql.NullString{Valid: true}},
		`"x"`:                           {"x", []byte("x"), stage("x"), new(new("x")), sql.NullString{String: "x", Valid: true}, json.RawMessage(`"x"`)},
		`7`:                             {7, int8(7), uint64(7), json.Number("7"), json.Number("7.0"), new(int64(7)), sql.NullInt64{Int64: 7, Valid: true}, time.Duration(7), 7.0},
		`"9007199254740993"`:            {9007199254740993, uint64(9007199254740993), json.Number("9007199254740993"), time.Duration(9007199254740993)},
		`"18446744073709551615"`:        {uint64(math.MaxUint64), sql.Null[uint64]{V: math.MaxUint64, Valid: true}},
		`1.5`:                           {1.5, float32(1.5), json.Number("1.50")},
		`"0.1000000000000000055"`:       {json.Number("0.1000000000000000055")},
		`true`:                          {true, sql.NullBool{Bool: true, Valid: true}},
		`"NaN"`:                         {math.NaN()},
		`"-Inf"`:                        {math.Inf(-1)},
		`{"base64url":"_w"}`:            {"\xff", []byte("\xff"), stage("\xff")},
		`"` + id.String() + `"`:         {id, [16]byte(id), uuid.NullUUID{UUID: id, Valid: true}},
		`"2026-01-02T02:04:05.000000Z"`: {at, &at, sql.NullTime{Time: at, Valid: true}},
		`{"a":[1,null,"x"]}`:            {json.RawMessage(`{"a": [1, null, "x"]}`), map[string]any{"a": []any{1, nil, stage("x")}}},
		`["a",{"base64url":"_w"}]`:      {[]string{"a", "\xff"}, []stage{"a", "\xff"}},
		`{"City":"Bern"}`:               {struct{ City string }{"Bern"}},
		`"{"`:                           {json.RawMessage("{")},
	} {
		for _, v := range values {
			shown, err := jsonValue(v, maxDepth)
			require.NoError(t, err, "%T", v)
			got, err := json.Marshal(shown)
			require.NoError(t, err, "%T", v)
			require.JSONEq(t, want, string(got), "%T", v)
		}
	}
	around := []any{nil}
	around[0] = around
	_, err := jsonValue(around, maxDepth)
	require.Error(t, err)
	_, err = jsonValue(make(chan int), maxDepth)
	require.Error(t, err)
}

// NULL in a sealed column is NULL in every spelling, and is not opened.
func TestASealedNullIsNotOpened(t *testing.T) {
	desk := &Desk{} // without Open
	for _, null := range []any{nil, (*string)(nil), sql.NullString{String: "left"}, sql.Null[[]byte]{V: []byte("left")}, sql.RawBytes(nil)} {
		shown, err := desk.value(t.Context(), "main", "p1", datastore.Record{Table: "contacts"}, datastore.Field{Name: "email", Value: null, Sealed: true})
		require.NoError(t, err)
		require.Nil(t, shown)
	}
	for _, bad := range []any{7, "sealed", make(chan int)} {
		_, err := desk.value(t.Context(), "main", "p1", datastore.Record{Table: "contacts"}, datastore.Field{Name: "email", Value: bad, Sealed: true})
		require.Error(t, err)
	}
	_, err := desk.value(t.Context(), "main", "p1", datastore.Record{Table: "contacts"}, datastore.Field{Name: "email", Value: make(chan int), Sealed: true})
	var named *value.Error
	require.ErrorAs(t, err, &named)
	require.Equal(t, "contacts.email", named.Field)
}
