package capture_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/audit/capture"
)

var at = time.UnixMicro(1767225600000000).UTC()

func filing() capture.Filing {
	return capture.Filing{
		Log: "crm.example/audit", Tenant: "own",
		Opaque: func(id string) bool { return !strings.ContainsAny(id, "@ ") },
		Surrogate: func(tenant, kind, key string) (string, bool) {
			if kind != "contact" && kind != capture.KindPerson {
				return "", false
			}
			return map[string]string{"main 7": "s:AAECAwQFBgcICQoLDA0ODw", "main 6": "s:AAAAAAAAAAAAAAAAAAAAAA"}[tenant+" "+key], true
		},
	}
}

func update() capture.Row {
	return capture.Row{N: 1, ID: "0d9488d4-1c6c-4b6e-9f6a-6a5d3c9a1f01", Tx: "731/1767225599000000", At: at, Table: "public.deals", Kind: "deal", Tenant: "main", Key: "17", Op: "u", Cols: []string{"stage", "amount", "stage"}, Who: "crm_app", Claimed: "user/7"}
}

func TestTheLeafOfACapturedRow(t *testing.T) {
	l, err := filing().Leaf(update())
	require.NoError(t, err)
	require.Equal(t, capture.Leaf{
		ID: "3b171282-47f6-8bf9-8d48-2d3247776327", At: at, Action: "capture.update", Actor: "db/crm_app", Tenant: "main",
		Object: capture.Object{Kind: "deal", ID: "17"}, Table: "public.deals", Op: "u", Cols: []string{"amount", "stage"}, Claimed: "user/7",
	}, l)
	for op, action := range map[string]string{"i": "capture.insert", "d": "capture.delete"} {
		r := update()
		r.Op, r.Cols = op, nil
		l, err := filing().Leaf(r)
		require.NoError(t, err)
		require.Equal(t, action, l.Action)
		require.Empty(t, l.Cols)
	}
	l, err = filing().Leaf(capture.Row{N: 2, ID: "0d9488d4-1c6c-4b6e-9f6a-6a5d3c9a1f02", Tx: "731/1767225599000000", At: at, Table: "deals", Kind: "deal", Op: "t", Who: "postgres"})
	require.NoError(t, err)
	require.Equal(t, capture.Leaf{ID: "95476d04-326a-8fa7-85b9-008be4de8292", At: at, Action: "capture.truncate", Actor: "db/postgres", Tenant: "own", Table: "deals", Op: "t"}, l)
}

// The ids were computed by another program (Python's hashlib).
func TestTheIDOfACapturedRowIsTheSameForEver(t *testing.T) {
	formats, err := os.ReadFile("../../formats.md")
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, v := range []struct {
		log, drawn, id string
	}{
		{"crm.example/audit", "0d9488d4-1c6c-4b6e-9f6a-6a5d3c9a1f01", "3b171282-47f6-8bf9-8d48-2d3247776327"},
		{"crm.example/audit", "0d9488d4-1c6c-4b6e-9f6a-6a5d3c9a1f02", "95476d04-326a-8fa7-85b9-008be4de8292"},
		{"crm.example/audit/b", "0d9488d4-1c6c-4b6e-9f6a-6a5d3c9a1f01", "806d6d50-9fa7-8a63-878e-32c87ebeeec3"},
		{"crm.example/audit", "ffffffff-ffff-4fff-bfff-ffffffffffff", "11647818-06b3-80c8-879e-9fc4844b5a2a"},
	} {
		f, r := filing(), update()
		f.Log, r.ID = v.log, v.drawn
		l, err := f.Leaf(r)
		require.NoError(t, err)
		require.Equal(t, v.id, l.ID)
		if v.log == "crm.example/audit" && v.drawn[0] == '0' {
			require.Contains(t, string(formats), "`"+v.drawn+"`: `"+v.id+"`", "formats.md says so")
		}
		id, err := uuid.Parse(l.ID)
		require.NoError(t, err)
		require.Equal(t, uuid.Version(8), id.Version())
		require.Equal(t, uuid.RFC4122, id.Variant())
		require.False(t, seen[l.ID])
		seen[l.ID] = true
		r.N, r.Tx, r.At = 9, "1/1", at.Add(time.Hour) // numbers and times are given again
		again, err := f.Leaf(r)
		require.NoError(t, err)
		require.Equal(t, v.id, again.ID)
	}
}

func TestWhatMayNotStandInTheLogIsLeftOutAndCounted(t *testing.T) {
	deal, person := capture.Object{Kind: "deal", ID: "17"}, capture.Object{Kind: "contact", ID: "s:AAECAwQFBgcICQoLDA0ODw"}
	for what, c := range map[string]struct {
		change  func(r *capture.Row)
		object  capture.Object
		left    []capture.Left
		persons []string
	}{
		"nothing":              {func(*capture.Row) {}, deal, nil, nil},
		"a person":             {func(r *capture.Row) { r.Kind, r.Key = "contact", "7" }, person, nil, []string{person.ID}},
		"of a person":          {func(r *capture.Row) { r.Person = "7" }, deal, nil, []string{person.ID}},
		"of an unknown person": {func(r *capture.Row) { r.Person = "8" }, capture.Object{}, []capture.Left{capture.LeftPerson}, nil},
		"no key, of a person":  {func(r *capture.Row) { r.Person, r.Key = "7", "" }, capture.Object{}, []capture.Left{capture.LeftKey}, []string{person.ID}},
		"an address, of one":   {func(r *capture.Row) { r.Person, r.Key = "7", "ann@b.example" }, capture.Object{}, []capture.Left{capture.LeftOpaque}, []string{person.ID}},
		"a person, of itself":  {func(r *capture.Row) { r.Kind, r.Key, r.Person = "contact", "7", "7" }, person, nil, []string{person.ID}},
		"a person, of another": {func(r *capture.Row) { r.Kind, r.Key, r.Person = "contact", "6", "7" }, capture.Object{Kind: "contact", ID: "s:AAAAAAAAAAAAAAAAAAAAAA"}, nil, []string{"s:AAAAAAAAAAAAAAAAAAAAAA", person.ID}},
		"unknown, of one":      {func(r *capture.Row) { r.Kind, r.Key, r.Person = "contact", "8", "7" }, capture.Object{}, []capture.Left{capture.LeftPerson}, []string{person.ID}},
		"an unknown person":    {func(r *capture.Row) { r.Kind, r.Key = "contact", "8" }, capture.Object{}, []capture.Left{capture.LeftPerson}, nil},
		"of another tenant":    {func(r *capture.Row) { r.Kind, r.Key, r.Tenant = "contact", "7", "b" }, capture.Object{}, []capture.Left{capture.LeftPerson}, nil},
		"no key":               {func(r *capture.Row) { r.Key = "" }, capture.Object{}, []capture.Left{capture.LeftKey}, nil},
		"an address":           {func(r *capture.Row) { r.Key = "ann@b.example" }, capture.Object{}, []capture.Left{capture.LeftOpaque}, nil},
		"a reserved id":        {func(r *capture.Row) { r.Key = "s:AAECAwQFBgcICQoLDA0ODw" }, capture.Object{}, []capture.Left{capture.LeftOpaque}, nil},
		"a long key":           {func(r *capture.Row) { r.Key = strings.Repeat("x", 256) }, capture.Object{}, []capture.Left{capture.LeftOpaque}, nil},
		"no tenant":            {func(r *capture.Row) { r.Tenant = "" }, capture.Object{}, []capture.Left{capture.LeftTenant}, nil},
		"a tenant with a name": {func(r *capture.Row) { r.Tenant = "Ann Smith" }, capture.Object{}, []capture.Left{capture.LeftTenant}, nil},
		"a long tenant":        {func(r *capture.Row) { r.Tenant = strings.Repeat("x", 256) }, capture.Object{}, []capture.Left{capture.LeftTenant}, nil},
		"a claimed address":    {func(r *capture.Row) { r.Claimed = "ann@b.example" }, deal, []capture.Left{capture.LeftClaimed}, nil},
		"a long claim":         {func(r *capture.Row) { r.Claimed = strings.Repeat("x", 256) }, deal, []capture.Left{capture.LeftClaimed}, nil},
		"a role with a name":   {func(r *capture.Row) { r.Who = "Ann Smith" }, deal, []capture.Left{capture.LeftSessionUser}, nil},
		"a role with nothing":  {func(r *capture.Row) { r.Who = "" }, deal, []capture.Left{capture.LeftSessionUser}, nil},
		"too many columns": {func(r *capture.Row) {
			r.Cols = nil
			for i := range 1600 {
				r.Cols = append(r.Cols, fmt.Sprintf("%s%06d", strings.Repeat("x", 50), i))
			}
		}, deal, []capture.Left{capture.LeftCols}, nil},
		"many columns that grow when they are written": {func(r *capture.Row) {
			r.Cols = nil
			for i := range 200 {
				r.Cols = append(r.Cols, fmt.Sprintf("%s%03d", strings.Repeat("\x01", 50), i))
			}
		}, deal, []capture.Left{capture.LeftCols}, nil},
		"all at once": {func(r *capture.Row) { r.Who, r.Claimed, r.Key = "a b", "a b", "a b" }, capture.Object{}, []capture.Left{capture.LeftSessionUser, capture.LeftClaimed, capture.LeftOpaque}, nil},
	} {
		r := update()
		c.change(&r)
		l, err := filing().Leaf(r)
		require.NoError(t, err, what)
		require.Equal(t, c.object, l.Object, what)
		require.Equal(t, c.left, l.Left, what)
		require.Equal(t, c.persons, l.Persons, what)
		said := fmt.Sprintf("%#v", l)
		for _, name := range []string{"ann@b.example", "Ann Smith", "a b", strings.Repeat("x", 256)} {
			require.NotContains(t, said, name, what)
		}
		require.NotEmpty(t, l.Tenant, what)
	}
}

func TestAllColumnsOfAWideTableAreNamed(t *testing.T) {
	r := update()
	r.Cols = nil
	for i := range 1600 {
		r.Cols = append(r.Cols, fmt.Sprintf("custom_field_%04d", i))
	}
	l, err := filing().Leaf(r)
	require.NoError(t, err)
	require.Equal(t, r.Cols, l.Cols)
	require.Empty(t, l.Left)
}

// Who can write the table of captured rows writes what he likes.
func TestARowThatNoTriggerWroteIsRefused(t *testing.T) {
	for what, change := range map[string]func(r *capture.Row){
		"id":              func(r *capture.Row) { r.ID = "canary" },
		"no id":           func(r *capture.Row) { r.ID = "" },
		"person":          func(r *capture.Row) { r.Person = "canary\xff" },
		"op":              func(r *capture.Row) { r.Op = "x" },
		"no op":           func(r *capture.Row) { r.Op = "" },
		"number":          func(r *capture.Row) { r.N = 0 },
		"kind":            func(r *capture.Row) { r.Kind = "canary kind" },
		"table":           func(r *capture.Row) { r.Table = "canary.a.b" },
		"no table":        func(r *capture.Row) { r.Table = "" },
		"long table":      func(r *capture.Row) { r.Table = strings.Repeat("canary", 20) },
		"time":            func(r *capture.Row) { r.At = time.UnixMicro(1 << 62) },
		"column":          func(r *capture.Row) { r.Cols = []string{"canary\x00"} },
		"long column":     func(r *capture.Row) { r.Cols = []string{strings.Repeat("canary", 20)} },
		"no text":         func(r *capture.Row) { r.Key = "canary\xff" },
		"columns":         func(r *capture.Row) { r.Op = "d" },
		"key of no row":   func(r *capture.Row) { r.Op, r.Cols = "t", nil },
		"role":            func(r *capture.Row) { r.Who = "canary\xff" },
		"claimed no text": func(r *capture.Row) { r.Claimed = "canary\xff" },
		"tenant":          func(r *capture.Row) { r.Tenant = "canary\xff" },
	} {
		r := update()
		change(&r)
		_, err := filing().Leaf(r)
		require.ErrorIs(t, err, capture.ErrRow, what)
		require.NotContains(t, err.Error(), "canary", what)
	}
	rapid.Check(t, func(t *rapid.T) {
		r := capture.Row{
			N: rapid.Int64().Draw(t, "n"), ID: rapid.SampledFrom([]string{update().ID, "x"}).Draw(t, "id"), Tx: rapid.String().Draw(t, "tx"), At: time.UnixMicro(rapid.Int64().Draw(t, "at")), Table: rapid.String().Draw(t, "table"),
			Kind: rapid.String().Draw(t, "kind"), Tenant: rapid.String().Draw(t, "tenant"), Key: rapid.String().Draw(t, "key"), Op: rapid.SampledFrom([]string{"i", "u", "d", "t", "x"}).Draw(t, "op"),
			Cols: rapid.SliceOf(rapid.String()).Draw(t, "cols"), Who: rapid.String().Draw(t, "who"), Claimed: rapid.String().Draw(t, "claimed"),
		}
		if l, err := filing().Leaf(r); err != nil {
			require.ErrorIs(t, err, capture.ErrRow)
		} else {
			require.Equal(t, r.At.UnixMicro(), l.At.UnixMicro())
			require.LessOrEqual(t, len(l.Actor)+len(l.Tenant)+len(l.Claimed)+len(l.Object.ID), 4*255)
		}
	})
}

func TestAFilingNeedsTheRulesOfTheTrail(t *testing.T) {
	for what, change := range map[string]func(f *capture.Filing){
		"Filing.Log is empty":    func(f *capture.Filing) { f.Log = "" },
		"Filing.Tenant is empty": func(f *capture.Filing) { f.Tenant = "" },
		"hand in the rules":      func(f *capture.Filing) { f.Opaque = nil },
		"hand in the rules of":   func(f *capture.Filing) { f.Surrogate = nil },
	} {
		f := filing()
		change(&f)
		_, err := f.Leaf(update())
		require.ErrorIs(t, err, capture.ErrInvalid)
		require.ErrorContains(t, err, what)
	}
}
