package accesscontrol_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

var update = flag.Bool("update", false, "write testdata/frozen/expected.json anew")

// frozen is what one policy set and three principals gave when it was frozen.
type frozen struct {
	Hash    string
	Filters []frozenFilter
}

type frozenFilter struct {
	Principal, SQLite, MySQL, Postgres string
	Args                               []any
}

// A sample of the policy set hash and of the SQL. The hash stands in audit
// entries and may never change; the SQL may, with a reason.
func TestFrozenSample(t *testing.T) {
	policy, err := accesscontrol.Load(t.Context(), accesscontrol.Config{
		Files: os.DirFS("testdata/frozen"),
		Tables: []accesscontrol.Table{{
			Resource: "item", Entity: "Item", Name: "items", Key: "id", Tenant: "tenant_id",
			Columns: []accesscontrol.Column{
				{Attr: "owner", Name: "owner_id", Required: true, As: accesscontrol.Integer},
				{Attr: "team"},
				{Attr: "stage", Required: true},
				{Attr: "amount", Required: true},
				{Attr: "flag", Required: true},
				{Attr: "blocked"},
			},
		}},
	})
	require.NoError(t, err)
	people := map[string]accesscontrol.Principal{
		"sales": {
			ID: "17", Attrs: map[string]any{"level": 5, "teams": []string{"t2", "t1"}, "nick": "won"},
			Parents: []accesscontrol.Ref{{Type: "Team", ID: "sales"}},
		},
		"overflow": {ID: "017", Attrs: map[string]any{"level": int64(math.MaxInt64), "teams": []string{}}},
		"all":      {ID: "ann", Attrs: map[string]any{"level": 0, "teams": []string{}}, Parents: []accesscontrol.Ref{{Type: "Team", ID: "all"}}},
	}
	got := frozen{Hash: policy.Hash()}
	for _, name := range []string{"sales", "overflow", "all"} {
		principal := people[name]
		principal.Tenant, principal.Context = "t1", map[string]any{"now": 100}
		where, err := policy.Filter(t.Context(), principal, "item.read", "item")
		require.NoError(t, err)
		f := frozenFilter{Principal: name}
		f.SQLite, f.Args = where.SQLite("i")
		f.MySQL, _ = where.MySQL("i")
		f.Postgres, _ = where.Postgres("i", 1)
		got.Filters = append(got.Filters, f)
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	require.NoError(t, encoder.Encode(got))
	const path = "testdata/frozen/expected.json"
	if *update {
		require.NoError(t, os.WriteFile(path, text.Bytes(), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), text.String())
}
