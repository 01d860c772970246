package randomschema_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/randomschema"
)

// Whatever a map can say and a schema can do is drawn.
func TestEverythingComesUp(t *testing.T) {
	drawn := map[string]int{}
	cases := rapid.Custom(func(rt *rapid.T) *randomschema.Case {
		return randomschema.Draw(rt, testdb.PostgresC, randomschema.Options{Undated: true})
	})
	for seed := range 600 {
		c := cases.Example(seed)
		for _, word := range []string{
			"bigserial PRIMARY KEY", "uuid NOT NULL", "varchar(190) NOT NULL", "PRIMARY KEY (tenant, number)", "FOREIGN KEY (of_tenant, of_number)", "REFERENCES t0", "other.t",
			"NO ACTION", "SET NULL", "citext", "random_grade", "timestamp", "merged_into", "answers", "part_of", "with_whom", "role", "CASCADE", "DEFERRABLE", "CHECK (", " NOT NULL", " UNIQUE", "date", "numeric", "jsonb", "bytea", "record",
		} {
			if strings.Contains(strings.Join(c.DDL(), "\n"), word) {
				drawn[word]++
			}
		}
		for _, table := range c.Map.Tables {
			features(c.Map, table, drawn)
		}
	}
	for _, want := range []string{
		"composite reference", "reference by To", "When", "identity", "unlink null", "unlink delete", "to itself", "link", "keep", "undated", "nobody", "a person's id is no key",
		"null", "redact", "generalise", "retain", "member", "{row}", "pseudonymise", "scrub", "shred", "sealed", "merged", "kept, then null",
		"key owners of records", "goes in a chain", "at the end of a chain", "sealed address that leads", "sealed identity", "sealed record",
	} {
		require.Contains(t, drawn, want)
	}
	require.Len(t, drawn, 26+31, "%v", drawn)
}

func features(m *datamap.Map, t datamap.Table, drawn map[string]int) {
	note := func(feature string, there bool) {
		if there {
			drawn[feature]++
		}
	}
	note("link", t.Link != nil)
	note("key owners of records", t.Link != nil && t.Link.Owner != "")
	note("keep", t.Keep != nil)
	note("nobody", !t.Reaches())
	note("merged", t.Merged != "")
	note("kept, then null", t.Keep != nil && t.Erase == datamap.Null)
	note("undated", t.Reaches() && t.Created == "")
	note("a person's id is no key", t.Person == "person")
	for _, e := range t.Edges {
		note("composite reference", len(e.Columns) > 1)
		note("reference by To", len(e.To) > 0)
		note("When", len(e.When) > 0)
		note("identity", e.Identity != "")
		note("to itself", e.Table == t.Name)
		note("unlink "+string(e.Unlink), e.Unlink != "")
		to, _ := m.Table(e.Table)
		goes := slices.ContainsFunc(to.Edges, func(e datamap.Edge) bool { return e.Unlink == datamap.Delete })
		note("goes in a chain", e.Unlink == datamap.Delete && goes)
		note("at the end of a chain", e.Unlink == datamap.Null && goes)
		column, _ := t.Column(e.Columns[0])
		note("sealed address that leads", e.Identity != "" && column.Sealed)
	}
	for _, c := range t.Columns {
		note(string(c.Erase), c.Erase != "")
		note("member", c.Path != "")
		note("sealed", c.Sealed)
		note("sealed identity", c.Sealed && c.Identity != "")
		note("sealed record", c.Sealed && t.Link != nil)
		note("{row}", strings.Contains(c.To, datamap.RowMark))
	}
}
