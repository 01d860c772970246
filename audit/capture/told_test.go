package capture_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/capture"
)

func TestWhatAnEventTellsOf(t *testing.T) {
	is := func(r *capture.Row, op string) {
		if r.Op = op; op != "u" {
			r.Cols = nil
		}
	}
	for what, c := range map[string]struct {
		op     string
		change func(r *capture.Row, e *capture.Event)
		want   bool
	}{
		"an update":                     {"u", func(*capture.Row, *capture.Event) {}, true},
		"and of more columns":           {"u", func(_ *capture.Row, e *capture.Event) { e.Paths["name"] = true }, true},
		"an insertion":                  {"i", func(_ *capture.Row, e *capture.Event) { e.Paths = nil }, true},
		"a deletion":                    {"d", func(_ *capture.Row, e *capture.Event) { e.Paths = nil }, true},
		"another transaction":           {"u", func(_ *capture.Row, e *capture.Event) { e.Tx = "731/1767225599000001" }, false},
		"another tenant":                {"u", func(_ *capture.Row, e *capture.Event) { e.Tenant = "b" }, false},
		"another row":                   {"u", func(_ *capture.Row, e *capture.Event) { e.Key = "18" }, false},
		"another table":                 {"u", func(_ *capture.Row, e *capture.Event) { e.Table = "public.lines" }, false},
		"deleted from another table":    {"d", func(_ *capture.Row, e *capture.Event) { e.Table = "public.lines" }, false},
		"one column of two":             {"u", func(_ *capture.Row, e *capture.Event) { delete(e.Paths, "stage") }, false},
		"another column":                {"u", func(r *capture.Row, _ *capture.Event) { r.Cols = append(r.Cols, "name") }, false},
		"a column in other letters":     {"u", func(r *capture.Row, _ *capture.Event) { r.Cols = []string{"Stage"} }, false},
		"a reading beside the update":   {"u", func(_ *capture.Row, e *capture.Event) { e.Paths = nil }, false},
		"an update of unknown columns":  {"u", func(r *capture.Row, _ *capture.Event) { r.Cols = nil }, false},
		"nothing tells of a truncation": {"t", func(r *capture.Row, e *capture.Event) { r.Key, e.Key = "", "" }, false},
		"nor of a row without a key":    {"i", func(r *capture.Row, e *capture.Event) { r.Key, e.Key = "", "" }, false},
		"nor of one no trigger wrote":   {"x", func(*capture.Row, *capture.Event) {}, false},
	} {
		r := update()
		e := capture.Event{Tx: r.Tx, Tenant: r.Tenant, Table: r.Table, Key: r.Key, Paths: map[string]bool{"stage": true, "amount": true}}
		is(&r, c.op)
		c.change(&r, &e)
		require.Equal(t, c.want, r.ToldBy(e), what)
	}
}
