package capture_test

import (
	"fmt"
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
		Log: "crm.example/audit", Cluster: "7412345678901234567", Tenant: "own",
		Opaque: func(id string) bool { return !strings.ContainsAny(id, "@ ") },
		Surrogate: func(tenant, kind, key string) (string, bool) {
			if kind != "contact" {
				return "", false
			}
			return map[string]string{"main 7": "s:AAECAwQFBgcICQoLDA0ODw"}[tenant+" "+key], true
		},
	}
}

func update() capture.Row {
	return capture.Row{N: 1, Tx: 731, At: at, Table: "public.deals", Kind: "deal", Tenant: "main", Key: "17", Op: "u", Cols: []string{"stage", "amount", "stage"}, Who: "crm_app", Claimed: "user/7"}
}

func TestTheLeafOfACapturedRow(t *testing.T) {
	l, err := filing().Leaf(update())
	require.NoError(t, err)
	require.Equal(t, capture.Leaf{
		ID: "46808246-3817-8485-8abe-1d939157ec51", At: at, Action: "capture.update", Actor: "db/crm_app", Tenant: "main",
		Object: capture.Object{Kind: "deal", ID: "17"}, Table: "public.deals", Op: "u", Cols: []string{"amount", "stage"}, Claimed: "user/7", Tx: 731,
	}, l)
	for op, action := range map[string]string{"i": "capture.insert", "d": "capture.delete"} {
		r := update()
		r.Op, r.Cols = op, nil
		l, err := filing().Leaf(r)
		require.NoError(t, err)
		require.Equal(t, action, l.Action)
		require.Empty(t, l.Cols)
	}
	l, err = filing().Leaf(capture.Row{N: 2, Tx: 731, At: at, Table: "deals", Kind: "deal", Op: "t", Who: "postgres"})
	require.NoError(t, err)
	require.Equal(t, capture.Leaf{ID: "5df97011-c4bf-8991-befb-89338438f08e", At: at, Action: "capture.truncate", Actor: "db/postgres", Tenant: "own", Table: "deals", Op: "t", Tx: 731}, l)
}

// The ids were computed by another program (Python's hashlib).
func TestTheIDOfACapturedRowIsTheSameForEver(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range []struct {
		log, cluster string
		n            int64
		tx           uint64
		at           int64
		id           string
	}{
		{"crm.example/audit", "7412345678901234567", 1, 731, 1767225600000000, "46808246-3817-8485-8abe-1d939157ec51"},
		{"crm.example/audit", "7412345678901234567", 2, 731, 1767225600000000, "5df97011-c4bf-8991-befb-89338438f08e"},
		{"crm.example/audit", "7412345678901234567", 1, 732, 1767225600000000, "86b14388-d739-874c-8ce8-514fa0c2bf09"},
		{"crm.example/audit", "7412345678901234567", 1, 731, 1767225600000001, "93ab9fe5-88cc-88ea-a5e0-58c396f11767"},
		{"crm.example/audit", "7412345678901234568", 1, 731, 1767225600000000, "2bfdd8d4-2c59-8f22-ba2a-31cc7bb7ba6a"},
		{"crm.example/audit/b", "7412345678901234567", 1, 731, 1767225600000000, "389b2845-e9e5-84a1-ad98-f9566a4bba2b"},
		{"crm.example/audit", "7412345678901234567", 9223372036854775807, 18446744073709551615, -1, "913ac897-0f4c-8f1b-bc50-15abc8ec1ee0"},
	} {
		f, r := filing(), update()
		f.Log, f.Cluster, r.N, r.Tx, r.At = v.log, v.cluster, v.n, v.tx, time.UnixMicro(v.at)
		l, err := f.Leaf(r)
		require.NoError(t, err)
		require.Equal(t, v.id, l.ID)
		id, err := uuid.Parse(l.ID)
		require.NoError(t, err)
		require.Equal(t, uuid.Version(8), id.Version())
		require.Equal(t, uuid.RFC4122, id.Variant())
		require.False(t, seen[l.ID])
		seen[l.ID] = true
	}
}

func TestWhatMayNotStandInTheLogIsLeftOutAndCounted(t *testing.T) {
	deal, person := capture.Object{Kind: "deal", ID: "17"}, capture.Object{Kind: "contact", ID: "s:AAECAwQFBgcICQoLDA0ODw"}
	for what, c := range map[string]struct {
		change func(r *capture.Row)
		object capture.Object
		left   []capture.Left
	}{
		"nothing":              {func(*capture.Row) {}, deal, nil},
		"a person":             {func(r *capture.Row) { r.Kind, r.Key = "contact", "7" }, person, nil},
		"an unknown person":    {func(r *capture.Row) { r.Kind, r.Key = "contact", "8" }, capture.Object{}, []capture.Left{capture.LeftPerson}},
		"of another tenant":    {func(r *capture.Row) { r.Kind, r.Key, r.Tenant = "contact", "7", "b" }, capture.Object{}, []capture.Left{capture.LeftPerson}},
		"no key":               {func(r *capture.Row) { r.Key = "" }, capture.Object{}, []capture.Left{capture.LeftKey}},
		"an address":           {func(r *capture.Row) { r.Key = "ann@b.example" }, capture.Object{}, []capture.Left{capture.LeftOpaque}},
		"a reserved id":        {func(r *capture.Row) { r.Key = "s:AAECAwQFBgcICQoLDA0ODw" }, capture.Object{}, []capture.Left{capture.LeftOpaque}},
		"a long key":           {func(r *capture.Row) { r.Key = strings.Repeat("x", 256) }, capture.Object{}, []capture.Left{capture.LeftOpaque}},
		"no tenant":            {func(r *capture.Row) { r.Tenant = "" }, capture.Object{}, []capture.Left{capture.LeftTenant}},
		"a tenant with a name": {func(r *capture.Row) { r.Tenant = "Ann Smith" }, capture.Object{}, []capture.Left{capture.LeftTenant}},
		"a long tenant":        {func(r *capture.Row) { r.Tenant = strings.Repeat("x", 256) }, capture.Object{}, []capture.Left{capture.LeftTenant}},
		"a claimed address":    {func(r *capture.Row) { r.Claimed = "ann@b.example" }, deal, []capture.Left{capture.LeftClaimed}},
		"a long claim":         {func(r *capture.Row) { r.Claimed = strings.Repeat("x", 256) }, deal, []capture.Left{capture.LeftClaimed}},
		"a role with a name":   {func(r *capture.Row) { r.Who = "Ann Smith" }, deal, []capture.Left{capture.LeftSessionUser}},
		"a role with nothing":  {func(r *capture.Row) { r.Who = "" }, deal, []capture.Left{capture.LeftSessionUser}},
		"too many columns": {func(r *capture.Row) {
			r.Cols = nil
			for i := range 1600 {
				r.Cols = append(r.Cols, fmt.Sprintf("%s%06d", strings.Repeat("x", 50), i))
			}
		}, deal, []capture.Left{capture.LeftCols}},
		"many columns that grow when they are written": {func(r *capture.Row) {
			r.Cols = nil
			for i := range 200 {
				r.Cols = append(r.Cols, fmt.Sprintf("%s%03d", strings.Repeat("\x01", 50), i))
			}
		}, deal, []capture.Left{capture.LeftCols}},
		"all at once": {func(r *capture.Row) { r.Who, r.Claimed, r.Key = "a b", "a b", "a b" }, capture.Object{}, []capture.Left{capture.LeftSessionUser, capture.LeftClaimed, capture.LeftOpaque}},
	} {
		r := update()
		c.change(&r)
		l, err := filing().Leaf(r)
		require.NoError(t, err, what)
		require.Equal(t, c.object, l.Object, what)
		require.Equal(t, c.left, l.Left, what)
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
			N: rapid.Int64().Draw(t, "n"), Tx: rapid.Uint64().Draw(t, "tx"), At: time.UnixMicro(rapid.Int64().Draw(t, "at")), Table: rapid.String().Draw(t, "table"),
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
		"Filing.Log is empty":     func(f *capture.Filing) { f.Log = "" },
		"Filing.Cluster is empty": func(f *capture.Filing) { f.Cluster = "" },
		"Filing.Tenant is empty":  func(f *capture.Filing) { f.Tenant = "" },
		"hand in the rules":       func(f *capture.Filing) { f.Opaque = nil },
		"hand in the rules of":    func(f *capture.Filing) { f.Surrogate = nil },
	} {
		f := filing()
		change(&f)
		_, err := f.Leaf(update())
		require.ErrorIs(t, err, capture.ErrInvalid)
		require.ErrorContains(t, err, what)
	}
}

func TestWhatAnEventTellsOf(t *testing.T) {
	object := capture.Object{Kind: "deal", ID: "17"}
	told := capture.Event{Tx: 731, Tenant: "main", Object: object, Outcome: "ok", Changes: 1}
	leaf := func(op string) capture.Leaf {
		r := update()
		if r.Op = op; op != "u" {
			r.Cols = nil
		}
		if op == "t" {
			r.Key = ""
		}
		l, err := filing().Leaf(r)
		require.NoError(t, err)
		return l
	}
	for what, c := range map[string]struct {
		op     string
		change func(e *capture.Event)
		want   bool
	}{
		"an update":                       {"u", func(*capture.Event) {}, true},
		"an insertion":                    {"i", func(e *capture.Event) { e.Changes = 0 }, true},
		"a deletion":                      {"d", func(e *capture.Event) { e.Changes = 0 }, true},
		"half done":                       {"u", func(e *capture.Event) { e.Outcome = "partial" }, true},
		"another transaction":             {"u", func(e *capture.Event) { e.Tx = 732 }, false},
		"another tenant":                  {"u", func(e *capture.Event) { e.Tenant = "b" }, false},
		"another object":                  {"u", func(e *capture.Event) { e.Object.ID = "18" }, false},
		"another kind":                    {"u", func(e *capture.Event) { e.Object.Kind = "lead" }, false},
		"no object":                       {"u", func(e *capture.Event) { e.Object = capture.Object{} }, false},
		"what was denied":                 {"u", func(e *capture.Event) { e.Outcome = "denied" }, false},
		"what failed":                     {"d", func(e *capture.Event) { e.Outcome = "failed" }, false},
		"no outcome":                      {"d", func(e *capture.Event) { e.Outcome = "" }, false},
		"a reading beside the update":     {"u", func(e *capture.Event) { e.Changes = 0 }, false},
		"nothing tells of a truncation":   {"t", func(e *capture.Event) { e.Object = capture.Object{} }, false},
		"nor of a truncation of an event": {"t", func(*capture.Event) {}, false},
	} {
		e := told
		c.change(&e)
		require.Equal(t, c.want, leaf(c.op).ToldBy(e), what)
	}
	nameless := leaf("u")
	nameless.Object = capture.Object{}
	require.False(t, nameless.ToldBy(capture.Event{Tx: 731, Tenant: "main", Outcome: "ok", Changes: 1}), "two that have no object are not about the same one")
}
