package stranger_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/stranger"
	"github.com/crmguard/crmguard/privacy/internal/wholedb"
)

// No column of the schema is missing from the map, and the map names none that is
// not there.
func TestTheMapNamesEveryColumn(t *testing.T) {
	stranger.Each(t, func(t *testing.T, w *stranger.World) {
		m, there := w.Map(), map[string][]string{}
		w.Rows(t, func(r wholedb.Row) {
			if there[r.Table] == nil {
				for _, c := range r.Cells {
					there[r.Table] = append(there[r.Table], c.Column)
				}
			}
		})
		for table, columns := range there {
			mapped, ok := m.Table(table)
			require.True(t, ok, table)
			named := named(mapped)
			require.Empty(t, slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return slices.Contains(named, c) }), "%s: not in the map", table)
			require.Empty(t, slices.DeleteFunc(named, func(c string) bool { return slices.Contains(columns, c) }), "%s: not in the schema", table)
		}
		require.Len(t, m.Tables, len(there))
	})
}

func named(t datamap.Table) []string {
	names := append(slices.Clone(t.Key), t.Tenant, t.Person, t.Merged, t.Created)
	for _, e := range t.Edges {
		names = append(names, e.Columns...)
		for _, when := range e.When {
			names = append(names, when.Column)
		}
	}
	for _, c := range t.Columns {
		names = append(names, c.Name)
	}
	if t.Keep != nil {
		names = append(names, t.Keep.From)
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

func TestTheMapIsTrue(t *testing.T) {
	stranger.Each(t, func(t *testing.T, w *stranger.World) {
		require.NoError(t, w.Map().Validate())
	})
}

func TestTheMapSaysWhatEverythingIsFor(t *testing.T) {
	w := stranger.Open(t, testdb.SQLite)
	require.Empty(t, w.Map().Gaps())
}
