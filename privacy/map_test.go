package privacy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
)

func TestMapIsValid(t *testing.T) {
	require.NoError(t, dataMap().Validate())
	table, ok := dataMap().Table("invoices")
	require.True(t, ok)
	require.Equal(t, map[string]privacy.Action{"person": privacy.Retain, "name": privacy.Retain, "phone": privacy.Null}, table.Stays())
	require.Equal(t, "invoices/1", table.SchemaID())
}

// bills completes a table whose rows an obligation keeps.
func bills(t privacy.Table) privacy.Table {
	t.Name, t.Key, t.Erase = "bills", []string{"id"}, privacy.Delete
	t.Keep = &privacy.Keep{Because: "law", From: "issued", Years: 10}
	t.Columns = append(t.Columns, privacy.Column{Name: "street", Category: "street", Erase: privacy.Retain})
	return t
}

// What is kept may lead to the person over rows that are kept, too, and over
// rows that stay and keep the person's id.
func TestKeptRowsMayLeadToThePersonOverRowsThatStay(t *testing.T) {
	lines := bills(privacy.Table{Ref: &privacy.Ref{Column: "bill", Table: "bills"}})
	lines.Name = "lines"
	retained := bills(privacy.Table{Person: "person", Columns: []privacy.Column{{Name: "person", Erase: privacy.Retain}}})
	require.NoError(t, (&privacy.Map{Tenant: "main", Tables: []privacy.Table{lines, retained}}).Validate())
}

func TestMapThatCannotBeTrue(t *testing.T) {
	person := func(change func(*privacy.Table)) privacy.Map {
		table := privacy.Table{
			Name: "people", Key: []string{"id"}, Person: "person", Erase: privacy.Delete,
			Columns: []privacy.Column{{Name: "email", Category: "email"}},
		}
		change(&table)
		return privacy.Map{Tenant: "main", Tables: []privacy.Table{table}}
	}
	for text, m := range map[string]privacy.Map{
		"no table": {},
		"column email holds personal data, but no person reaches the table": person(func(t *privacy.Table) { t.Person = "" }),
		"no tenant column, and the map names no tenant": func() privacy.Map {
			m := person(func(*privacy.Table) {})
			m.Tenant = ""
			return m
		}(),
		"listed twice": func() privacy.Map {
			m := person(func(*privacy.Table) {})
			m.Tables = append(m.Tables, m.Tables[0])
			return m
		}(),
		"column email is listed twice": person(func(t *privacy.Table) {
			t.Columns = append(t.Columns, t.Columns[0])
		}),
		"key column email is personal data":           person(func(t *privacy.Table) { t.Key = []string{"email"} }),
		"is no column name":                           person(func(t *privacy.Table) { t.Person = `p"; DROP TABLE x` }),
		"no key columns":                              person(func(t *privacy.Table) { t.Key = nil }),
		"exclude each other":                          person(func(t *privacy.Table) { t.Ref = &privacy.Ref{Column: "x", Table: "people"} }),
		"go in a circle":                              person(func(t *privacy.Table) { t.Person, t.Ref = "", &privacy.Ref{Column: "x", Table: "people"} }),
		"which is not in the map":                     person(func(t *privacy.Table) { t.Person, t.Ref = "", &privacy.Ref{Column: "x", Table: "y"} }),
		"say delete, null, redact or shred":           person(func(t *privacy.Table) { t.Erase = "" }),
		"Keep needs a named obligation and its years": person(func(t *privacy.Table) { t.Keep = &privacy.Keep{From: "x"} }),
		"its years, 1000 at most":                     person(func(t *privacy.Table) { t.Keep = &privacy.Keep{Because: "law", From: "x", Years: 1001} }),
		"list person column person":                   person(func(t *privacy.Table) { t.Erase = privacy.Null }),
		"person column person of rows that stay": person(func(t *privacy.Table) {
			t.Erase = privacy.Null
			t.Columns = append(t.Columns, privacy.Column{Name: "person", Erase: privacy.Redact})
		}),
		"but those of people, which lead to the person, go": func() privacy.Map {
			m := person(func(*privacy.Table) {})
			m.Tables = append(m.Tables, bills(privacy.Table{Ref: &privacy.Ref{Column: "owner", Table: "people"}}))
			return m
		}(),
		"but person column person of people becomes null": func() privacy.Map {
			m := person(func(t *privacy.Table) {
				t.Erase = privacy.Null
				t.Columns = append(t.Columns, privacy.Column{Name: "person", Erase: privacy.Null})
			})
			m.Tables = append(m.Tables, bills(privacy.Table{Ref: &privacy.Ref{Column: "owner", Table: "people"}}))
			return m
		}(),
		"but person column person of bills becomes null": {Tenant: "main", Tables: []privacy.Table{
			bills(privacy.Table{Person: "person", Columns: []privacy.Column{{Name: "person", Erase: privacy.Null}}}),
		}},
		"under Keep every personal column says": person(func(t *privacy.Table) {
			t.Keep = &privacy.Keep{Because: "law", From: "x", Years: 1}
		}),
		"retain needs the table's Keep": person(func(t *privacy.Table) { t.Erase, t.Columns[0].Erase = privacy.Null, privacy.Retain }),
		"shred needs a sealed column":   person(func(t *privacy.Table) { t.Erase = privacy.Shred }),
		"say null, redact, shred or retain": person(func(t *privacy.Table) {
			t.Erase, t.Columns[0].Erase = privacy.Null, privacy.Delete
		}),
		"Keep on a joint record": person(func(t *privacy.Table) {
			t.Person, t.Joint = "", &privacy.Joint{Table: "l", Record: "r", Person: "p"}
			t.Keep = &privacy.Keep{Because: "law", From: "x", Years: 1}
		}),
		"Erase of a joint record is delete": person(func(t *privacy.Table) {
			t.Person, t.Joint, t.Erase = "", &privacy.Joint{Table: "l", Record: "r", Person: "p"}, privacy.Null
		}),
		"a joint record needs a single key column": person(func(t *privacy.Table) {
			t.Person, t.Joint, t.Key = "", &privacy.Joint{Table: "l", Record: "r", Person: "p"}, []string{"a", "b"}
		}),
	} {
		err := m.Validate()
		require.ErrorIs(t, err, privacy.ErrMap, text)
		require.ErrorContains(t, err, text)
	}
	require.ErrorIs(t, (*privacy.Map)(nil).Validate(), privacy.ErrMap)
	two := dataMap()
	two.Tables[2].Key = []string{"a", "b"}
	require.ErrorContains(t, two.Validate(), "whose key is not a single column")
	dead := dataMap()
	dead.Tables[3].Ref.Table = "accounts"
	require.ErrorContains(t, dead.Validate(), "which leads to no person")
	joint := dataMap()
	joint.Tables[3].Ref.Table = "activities"
	require.ErrorContains(t, joint.Validate(), "give it a Joint of its own")
}
