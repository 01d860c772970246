package privacy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/datamap"
)

func TestMapIsValid(t *testing.T) {
	require.NoError(t, dataMap().Validate())
	table, ok := dataMap().Table("invoices")
	require.True(t, ok)
	require.Equal(t, map[string]datamap.Action{"person": datamap.Retain, "name": datamap.Retain, "phone": datamap.Null}, table.Stays())
	require.Equal(t, "invoices/1", table.SchemaID())
}

// bills completes a table whose rows an obligation keeps.
func bills(t datamap.Table) datamap.Table {
	t.Name, t.Key, t.Erase = "bills", []string{"id"}, datamap.Delete
	t.Keep = &datamap.Keep{Because: "law", From: "issued", Years: 10}
	t.Columns = append(t.Columns, datamap.Column{Name: "street", Category: "street", Erase: datamap.Retain})
	return t
}

// What is kept may lead to the person over rows that are kept, too, and over
// rows that stay and keep the person's id.
func TestKeptRowsMayLeadToThePersonOverRowsThatStay(t *testing.T) {
	lines := bills(datamap.Table{Edges: []datamap.Edge{{Columns: []string{"bill"}, Table: "bills"}}})
	lines.Name = "lines"
	retained := bills(datamap.Table{Person: "person", Columns: []datamap.Column{{Name: "person", Erase: datamap.Retain}}})
	require.NoError(t, (&datamap.Map{Tenant: "main", Tables: []datamap.Table{lines, retained}}).Validate())
}

func TestMapThatCannotBeTrue(t *testing.T) {
	person := func(change func(*datamap.Table)) datamap.Map {
		table := datamap.Table{
			Name: "people", Key: []string{"id"}, Person: "person", Erase: datamap.Delete,
			Columns: []datamap.Column{{Name: "email", Category: "email"}},
		}
		change(&table)
		return datamap.Map{Tenant: "main", Tables: []datamap.Table{table}}
	}
	for text, m := range map[string]datamap.Map{
		"no table": {},
		"column email holds personal data, but no person reaches the table": person(func(t *datamap.Table) { t.Person = "" }),
		"no tenant column, and the map names no tenant": func() datamap.Map {
			m := person(func(*datamap.Table) {})
			m.Tenant = ""
			return m
		}(),
		"listed twice": func() datamap.Map {
			m := person(func(*datamap.Table) {})
			m.Tables = append(m.Tables, m.Tables[0])
			return m
		}(),
		"column email is listed twice": person(func(t *datamap.Table) {
			t.Columns = append(t.Columns, t.Columns[0])
		}),
		"key column email is personal data": person(func(t *datamap.Table) { t.Key = []string{"email"} }),
		"is no column name":                 person(func(t *datamap.Table) { t.Person = `p"; DROP TABLE x` }),
		"no key columns":                    person(func(t *datamap.Table) { t.Key = nil }),
		"exclude each other":                person(func(t *datamap.Table) { t.Link = &datamap.Link{Table: "l", Record: "r", Person: "p"} }),
		"its Edges lead to no person": person(func(t *datamap.Table) {
			t.Person, t.Edges = "", []datamap.Edge{{Columns: []string{"x"}, Table: "people"}}
		}),
		"which is not in the map":                     person(func(t *datamap.Table) { t.Person, t.Edges = "", []datamap.Edge{{Columns: []string{"x"}, Table: "y"}} }),
		"say delete, null, redact or shred":           person(func(t *datamap.Table) { t.Erase = "" }),
		"Keep needs a named obligation and its years": person(func(t *datamap.Table) { t.Keep = &datamap.Keep{From: "x"} }),
		"its years, 1000 at most":                     person(func(t *datamap.Table) { t.Keep = &datamap.Keep{Because: "law", From: "x", Years: 1001} }),
		"list person column person":                   person(func(t *datamap.Table) { t.Erase = datamap.Null }),
		"person column person of rows that stay": person(func(t *datamap.Table) {
			t.Erase = datamap.Null
			t.Columns = append(t.Columns, datamap.Column{Name: "person", Erase: datamap.Redact})
		}),
		"table bills: its rows are kept, but nothing that leads to the person is": func() datamap.Map {
			m := person(func(*datamap.Table) {})
			m.Tables = append(m.Tables, bills(datamap.Table{Edges: []datamap.Edge{{Columns: []string{"owner"}, Table: "people"}}}))
			return m
		}(),
		"keep the rows between": func() datamap.Map {
			m := person(func(t *datamap.Table) {
				t.Erase = datamap.Null
				t.Columns = append(t.Columns, datamap.Column{Name: "person", Erase: datamap.Null})
			})
			m.Tables = append(m.Tables, bills(datamap.Table{Edges: []datamap.Edge{{Columns: []string{"owner"}, Table: "people"}}}))
			return m
		}(),
		"or retain the person's id in a column": {Tenant: "main", Tables: []datamap.Table{
			bills(datamap.Table{Person: "person", Columns: []datamap.Column{{Name: "person", Erase: datamap.Null}}}),
		}},
		"under Keep every personal column says": person(func(t *datamap.Table) {
			t.Keep = &datamap.Keep{Because: "law", From: "x", Years: 1}
		}),
		"retain needs the table's Keep": person(func(t *datamap.Table) { t.Erase, t.Columns[0].Erase = datamap.Null, datamap.Retain }),
		"shred needs a sealed column":   person(func(t *datamap.Table) { t.Erase = datamap.Shred }),
		"say null, redact, generalise": person(func(t *datamap.Table) {
			t.Erase, t.Columns[0].Erase = datamap.Null, datamap.Delete
		}),
		"Keep on a joint record": person(func(t *datamap.Table) {
			t.Person, t.Link = "", &datamap.Link{Table: "l", Record: "r", Person: "p"}
			t.Keep = &datamap.Keep{Because: "law", From: "x", Years: 1}
		}),
		"Erase of a joint record is delete": person(func(t *datamap.Table) {
			t.Person, t.Link, t.Erase = "", &datamap.Link{Table: "l", Record: "r", Person: "p"}, datamap.Null
		}),
		"a joint record needs a single key column": person(func(t *datamap.Table) {
			t.Person, t.Link, t.Key = "", &datamap.Link{Table: "l", Record: "r", Person: "p"}, []string{"a", "b"}
		}),
	} {
		err := m.Validate()
		require.ErrorIs(t, err, datamap.ErrMap, text)
		require.ErrorContains(t, err, text)
	}
	require.ErrorIs(t, (*datamap.Map)(nil).Validate(), datamap.ErrMap)
	two := dataMap()
	two.Tables[2].Key = []string{"a", "b"}
	require.ErrorContains(t, two.Validate(), "names 1 columns for its 2")
	dead := dataMap()
	dead.Tables[3].Edges[0].Table = "accounts"
	require.ErrorContains(t, dead.Validate(), "lead to no person")
}
