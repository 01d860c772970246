package datamap_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/datamap"
)

func TestAMapWithEveryKindOfEdgeAndActionIsValid(t *testing.T) {
	require.NoError(t, crm().Validate())
	require.Empty(t, crm().Gaps())
}

func TestNoMap(t *testing.T) {
	require.ErrorIs(t, (*datamap.Map)(nil).Validate(), datamap.ErrMap)
	err := (&datamap.Map{}).Validate()
	require.ErrorIs(t, err, datamap.ErrMap)
	require.ErrorContains(t, err, "no table")
}

// wrong maps: what is changed of one table of crm, and what is said of it.
type wrong struct {
	table  string
	change func(t *datamap.Table)
	says   string
}

func column(t *datamap.Table, name string) *datamap.Column {
	i := slices.IndexFunc(t.Columns, func(c datamap.Column) bool { return c.Name+c.Path == name })
	return &t.Columns[i]
}

func wrongNames() []wrong {
	return []wrong{
		{"rates", func(t *datamap.Table) { t.Columns[0].Name = `p"; DROP TABLE x` }, `is no column name`},
		{"rates", func(t *datamap.Table) { t.Columns[0].Name = "" }, `"" is no column name`},
		{"rates", func(t *datamap.Table) { t.Columns[0].Name = "a." }, `is no column name`},
		{"rates", func(t *datamap.Table) { t.Columns[0].Name = "two  blanks" }, `is no column name`},
		{"rates", func(t *datamap.Table) { t.Columns[0].Name = "back`tick" }, `is no column name`},
		{"rates", func(t *datamap.Table) { t.Columns[0].Name = strings.Repeat("a", 129) }, `is no column name`},
		{"rates", func(t *datamap.Table) { t.Name = "a.b.c" }, `"a.b.c" is no table name`},
		{"rates", func(t *datamap.Table) { t.Name = "../etc" }, `is no table name`},
		{"rates", func(t *datamap.Table) { t.Name = strings.Repeat("a", 129) }, `is no table name`},
		{"rates", func(t *datamap.Table) { t.Columns = append(t.Columns, t.Columns[0]) }, "column percent is listed twice"},
		{"emails", func(t *datamap.Table) { t.Edges[0].Columns[0] = "a'" }, "is no column name"},
		{"emails", func(t *datamap.Table) { t.Edges[0].Table = "a'" }, "is no table name"},
		{"comments", func(t *datamap.Table) { t.Edges[0].When[0].Column = "" }, "is no column name"},
		{"comments", func(t *datamap.Table) { t.Edges[1].To[0] = "" }, "is no column name"},
		{"meetings", func(t *datamap.Table) { t.Link.Table = "" }, "is no table name"},
		{"meetings", func(t *datamap.Table) { t.Link.Record = "" }, "is no column name"},
		{"meetings", func(t *datamap.Table) { t.Link.Tenant = "'" }, "is no column name"},
		{"invoice_lines", func(t *datamap.Table) { t.Keep.From = "'" }, "is no column name"},
		{"contacts", func(t *datamap.Table) { t.Merged = "'" }, "is no column name"},
	}
}

func wrongColumns() []wrong {
	return []wrong{
		{"emails", func(t *datamap.Table) { t.Key = []string{"address"} }, "key column address is personal data"},
		{"emails", func(t *datamap.Table) { t.Columns[0].Purpose = "sales" }, `column address: purpose "sales" is none of datamap.Purposes`},
		{"emails", func(t *datamap.Table) { t.Columns[0].Basis = "contract" }, `column address: basis "contract" is none of datamap.Bases`},
		{"emails", func(t *datamap.Table) { t.Columns[0].Identity = "E-Mail" }, `identity "E-Mail"`},
		{"emails", func(t *datamap.Table) { t.Columns[0].Shared = true }, "an identity is personal data"},
		{"emails", func(t *datamap.Table) { t.Columns[0].Everyone = true }, "Everyone is for records with a Link"},
		{"rates", func(t *datamap.Table) { t.Columns[0].Category, t.Columns[0].Identity = "x", "phone" }, "whose identity it is nobody can tell"},
		{"billing.invoices", func(t *datamap.Table) { column(t, "extra/birthday").Path = "birthday" }, "write a slash before each step"},
		{"billing.invoices", func(t *datamap.Table) { column(t, "extra/birthday").Path = "/a~2" }, "write ~0 for ~"},
		{"billing.invoices", func(t *datamap.Table) { column(t, "extra/birthday").Path = "/a~" }, "write ~0 for ~"},
		{"billing.invoices", func(t *datamap.Table) { column(t, "extra/birthday").Path = "/a~0~" }, "write ~0 for ~"},
		{"billing.invoices", func(t *datamap.Table) { column(t, "extra/birthday").Path = "/-" }, "where nothing is"},
		{"billing.invoices", func(t *datamap.Table) { column(t, "extra/birthday").Path = "/\xff" }, "it is no text"},
		{"billing.invoices", func(t *datamap.Table) { column(t, "extra/birthday").Path = "/a~1b~0" }, "column extra/a~1b~0 is listed twice"},
		{"billing.invoices", func(t *datamap.Table) { column(t, "extra/birthday").Path = "/names" }, "columns extra/names and extra/names/0 lie in each other"},
		{"billing.invoices", func(t *datamap.Table) { column(t, "extra/birthday").Path = "" }, "columns extra and extra/names/0 lie in each other"},
		{"billing.invoices", func(t *datamap.Table) { column(t, "phone").Path = "/x"; column(t, "phone/x").Sealed = true }, "nobody looks into a sealed column"},
		{"billing.invoices", func(t *datamap.Table) { column(t, "customer").Path = "/x" }, "an edge cannot be a column of JSON"},
		{"billing.invoices", func(t *datamap.Table) { column(t, "phone").Path = "/x"; t.Created = "phone" }, "are columns, not members of one"},
		{"billing.invoices", func(t *datamap.Table) { column(t, "phone").Path = "/x"; t.Keep.From = "phone" }, "are columns, not members of one"},
	}
}

func wrongEdges() []wrong {
	edge := func(change func(e *datamap.Edge)) func(*datamap.Table) {
		return func(t *datamap.Table) { change(&t.Edges[0]) }
	}
	return []wrong{
		{"emails", edge(func(e *datamap.Edge) { e.Columns = nil }), "an edge without Columns"},
		{"emails", edge(func(e *datamap.Edge) { e.Columns = []string{"a", "a"} }), "names a column twice"},
		{"emails", edge(func(e *datamap.Edge) { e.Columns, e.To = []string{"a", "b"}, []string{"c", "c"} }), "names a column twice"},
		{"emails", edge(func(e *datamap.Edge) { e.Columns = []string{"a", "b"} }), "names 2 columns for 1: name the columns of its Key (id), or To"},
		{"emails", edge(func(e *datamap.Edge) { e.Table = "billing.invoices" }), "names 1 columns for 2: name the columns of its Key (year, number), or To"},
		{"emails", edge(func(e *datamap.Edge) { e.Table = "nowhere" }), "to table nowhere, which is not in the map"},
		{"emails", edge(func(e *datamap.Edge) { e.Table = "rates" }), "its edges lead to no person: (contact_id) ends at rates"},
		{"emails", edge(func(e *datamap.Edge) { e.Table = "tasks" }), "its edges lead to no person: (contact_id) ends at tasks"},
		{"emails", edge(func(e *datamap.Edge) { e.Table = "emails" }), "its edges lead to no person: (contact_id) leads to the table itself"},
		{"emails", edge(func(e *datamap.Edge) { e.Identity = "email" }), "leave Table out"},
		{"emails", func(t *datamap.Table) { t.Edges = append(t.Edges, t.Edges[0]) }, "edge (contact_id) is listed twice"},
		{"emails", func(t *datamap.Table) { t.Person, t.Edges[0].Table = "contact_id", "" }, "edge (contact_id) is listed twice"},
		{"newsletter", edge(func(e *datamap.Edge) { e.Identity = "phone" }), `declares Identity "phone"`},
		{"newsletter", func(t *datamap.Table) { t.Edges[0].Identity, t.Columns[0].Identity = "phone", "phone" }, "(address) is an identity that no other table declares"},
		{"newsletter", edge(func(e *datamap.Edge) { e.Columns = []string{"a", "b"} }), "is one column"},
		{"newsletter", edge(func(e *datamap.Edge) { e.To = []string{"a"} }), "To is of another table"},
		{"comments", edge(func(e *datamap.Edge) { e.When[0].Is = "" }), "When subject_type says no value"},
		{"comments", edge(func(e *datamap.Edge) { e.When = append(e.When, datamap.When{Column: "subject_type", Is: "x"}) }), "which cannot hold two values"},
		{"contacts", edge(func(e *datamap.Edge) { e.Unlink = datamap.Redact }), "say null or delete"},
		{"contacts", edge(func(e *datamap.Edge) { e.Columns, e.Table = []string{"id"}, "" }), "has no column to empty"},
		{"contacts", func(t *datamap.Table) { t.Tenant, t.Edges[0].Columns[0] = "reports_to", "reports_to" }, "has no column to empty"},
		{"contacts", func(t *datamap.Table) { t.Person = "person"; t.Edges[0].Columns[0] = "person" }, "leads to the row's own person, too"},
		{"invoice_lines", func(t *datamap.Table) {
			t.Edges = append(t.Edges, datamap.Edge{Columns: []string{"seller"}, Unlink: datamap.Delete})
		}, "would delete what DE-HGB-257 keeps: say null"},
		{"invoice_lines", func(t *datamap.Table) {
			t.Edges = append(t.Edges, datamap.Edge{Columns: []string{"issued"}, Unlink: datamap.Null})
		}, "would empty issued, from which the obligation counts"},
		{"contacts", func(t *datamap.Table) { t.Merged = "id" }, "Merged and Person are one column"},
		{"emails", func(t *datamap.Table) { t.Merged = "x" }, "Merged without Person"},
		{"emails", func(t *datamap.Table) { t.Key = nil }, "no key columns"},
		{"emails", func(t *datamap.Table) { t.Key = []string{"id", "id"} }, "Key names a column twice"},
		{"meetings", func(t *datamap.Table) { t.Person = "p" }, "exclude each other"},
		{"meetings", func(t *datamap.Table) { t.Key = []string{"a", "b"} }, "a joint record needs a single key column"},
		{"meetings", func(t *datamap.Table) { t.Link.Record = t.Link.Person }, "Link.Record and Link.Person are one column"},
		{"tasks", func(t *datamap.Table) { t.Columns[0].Category = "text" }, "column title holds personal data, but no person reaches the table"},
		{"tasks", edge(func(e *datamap.Edge) { e.Table = "rates" }), "edge (about): table rates leads to no person"},
		{"rates", func(t *datamap.Table) { t.Columns[0].Category = "text" }, "column percent holds personal data, but no person reaches the table"},
	}
}

func wrongActions() []wrong {
	set := func(name string, action datamap.Action, to string) func(*datamap.Table) {
		return func(t *datamap.Table) { c := column(t, name); c.Erase, c.To = action, to }
	}
	return []wrong{
		{"emails", func(t *datamap.Table) { t.Erase = "" }, `Erase "": say delete`},
		{"emails", func(t *datamap.Table) { t.Erase = datamap.Retain }, `Erase "retain" is for single columns`},
		{"emails", func(t *datamap.Table) { t.Erase = datamap.Generalise }, `Erase "generalise" is for single columns`},
		{"emails", set("address", "melt", ""), `there is no action "melt"`},
		{"emails", func(t *datamap.Table) {
			t.Columns[0].Category, t.Columns[0].Identity, t.Columns[0].Erase = "", "", datamap.Null
		}, "column address: Erase null of what is not personal, or shared, is never done"},
		{"emails", func(t *datamap.Table) { t.Erase, t.Columns[0].Erase = datamap.Null, datamap.Retain }, "column address: retain needs the table's Keep"},
		{"emails", func(t *datamap.Table) { t.Erase, t.Columns[0].Erase = datamap.Null, datamap.Delete }, "column address: say null, redact"},
		{"emails", func(t *datamap.Table) { t.Erase = datamap.Shred }, "column address: shred needs a sealed column"},
		{"emails", func(t *datamap.Table) { t.Erase, t.Columns[0].Sealed = datamap.Scrub, true }, "column address: scrub cannot read a sealed column"},
		{"emails", func(t *datamap.Table) { t.Erase, t.Tenant = datamap.Null, "address" }, "tenant column address is personal data"},
		{"contacts", func(t *datamap.Table) { t.Erase = datamap.Null }, "rows can stay: list person column id"},
		{"invoices", set("person", datamap.Redact, ""), "person column person of rows that stay: Erase null or retain"},
		{"invoices", func(t *datamap.Table) { t.Key = []string{"person"} }, "which cannot become null"},
		{"invoices", func(t *datamap.Table) {
			t.Edges = append(t.Edges, datamap.Edge{Columns: []string{"contact"}, Table: "contacts"})
			t.Columns = append(t.Columns, datamap.Column{Name: "contact", Category: "id", Erase: datamap.Redact})
		}, "column contact leads to a person: Erase null or retain"},
		{"billing.invoices", set("address", "", ""), "column address: under Keep every personal column says"},
		{"billing.invoices", func(t *datamap.Table) { t.Keep.Because = "" }, "Keep needs a named obligation"},
		{"billing.invoices", func(t *datamap.Table) { t.Keep.From = "" }, "Keep needs a named obligation"},
		{"billing.invoices", func(t *datamap.Table) { t.Keep.Years = 1001 }, "its years, 1000 at most"},
		{"billing.invoices", func(t *datamap.Table) { t.Keep.From = "phone" }, "column phone: the obligation counts from it: say retain"},
		{"meetings", func(t *datamap.Table) { t.Keep = &datamap.Keep{Because: "law", From: "x", Years: 1} }, "Keep on a joint record"},
		{"tasks", func(t *datamap.Table) { t.Keep = &datamap.Keep{Because: "law", From: "x", Years: 1} }, "no person reaches the table"},
		{"meetings", func(t *datamap.Table) { t.Erase = datamap.Null }, "Erase of a joint record is delete"},
		{"invoices", set("postcode", datamap.Generalise, "week"), `generalise to "week"`},
		{"invoices", set("postcode", datamap.Generalise, "first:0"), `generalise to "first:0"`},
		{"invoices", set("postcode", datamap.Generalise, ""), `generalise to ""`},
		{"invoices", set("postcode", datamap.Redact, "a{code}"), "{code} is of pseudonymise"},
		{"invoices", set("postcode", datamap.Redact, "{row}{row}"), "To names {row} twice"},
		{"invoices", set("postcode", datamap.Redact, "a\x00"), "To is no text"},
		{"invoices", set("postcode", datamap.Pseudonymise, "a"), "names {code} once"},
		{"invoices", set("postcode", datamap.Pseudonymise, "{code}{row}"), "names {code} once"},
		{"invoices", set("postcode", datamap.Null, "a"), "To is of redact, generalise and pseudonymise"},
	}
}

func wrongKept() []wrong {
	const nobody = "nobody would find them when the obligation ends"
	edges := func(e ...datamap.Edge) func(*datamap.Table) { return func(t *datamap.Table) { t.Edges = e } }
	return []wrong{
		{"billing.invoices", func(t *datamap.Table) { column(t, "customer").Erase = datamap.Null }, "column customer of billing.invoices, which leads to the person, becomes null: " + nobody},
		{"invoice_lines", edges(datamap.Edge{Columns: []string{"contact"}, Table: "contacts"}), "those of contacts, which lead to the person, go: " + nobody},
		{"invoice_lines", func(t *datamap.Table) { // a row may have one way only
			t.Edges = append(t.Edges, datamap.Edge{Columns: []string{"contact"}, Table: "contacts"})
		}, "those of contacts, which lead to the person, go: " + nobody},
		{"invoice_lines", edges(datamap.Edge{Columns: []string{"contact"}, Table: "comments"}), "those of comments, which lead to the person, go: " + nobody},
		{"invoice_lines", edges(datamap.Edge{Columns: []string{"invoice"}, Table: "invoices"}), "column person of invoices, which leads to the person, becomes null: " + nobody},
		{"invoice_lines", edges(datamap.Edge{Columns: []string{"mail"}, Identity: "email"}), "the identities by which they are found ((mail)) are gone"},
		{"invoice_lines", func(t *datamap.Table) { t.Keep.Years = 11 }, "those of billing.invoices, which lead to the person, are kept for a shorter time: " + nobody},
		{"invoice_lines", func(t *datamap.Table) {
			t.Columns = append(t.Columns, datamap.Column{Name: "year", Category: "id", Erase: datamap.Null})
		}, "column year of invoice_lines, which leads to the person, becomes null: " + nobody},
	}
}

func TestAMapThatCannotBeTrueIsRefused(t *testing.T) {
	for _, w := range slices.Concat(wrongNames(), wrongColumns(), wrongEdges(), wrongActions(), wrongKept()) {
		m := crm()
		i := slices.IndexFunc(m.Tables, func(t datamap.Table) bool { return t.Name == w.table })
		w.change(&m.Tables[i])
		err := m.Validate()
		require.ErrorIs(t, err, datamap.ErrMap, w.says)
		require.ErrorContains(t, err, w.says)
		require.ErrorContains(t, err, "table "+m.Tables[i].Name+": ")
	}
}

func TestATenantIsNamedWhereAPersonIsFound(t *testing.T) {
	m := crm()
	m.Tenant = ""
	var said []string
	for _, err := range m.Validate().(interface{ Unwrap() []error }).Unwrap() {
		require.ErrorContains(t, err, "no tenant column, and the map names no tenant")
		said = append(said, strings.Fields(err.Error())[6])
	}
	require.Equal(t, []string{"contacts:", "tasks:", "billing.invoices:", "invoices:", "meetings:"}, said, "and no table that is reached over another one, or names its own")
	for i := range m.Tables {
		m.Tables[i].Tenant = "tenant"
	}
	require.NoError(t, m.Validate())
}

func TestAllFaultsAreSaidAtOnce(t *testing.T) {
	m := crm()
	m.Tables = append(m.Tables, m.Tables[0])
	m.Tables[1].Erase, m.Tables[2].Key = "", nil
	err := m.Validate()
	for _, says := range []string{"table rates: listed twice", `table contacts: Erase ""`, "table emails: no key columns"} {
		require.ErrorContains(t, err, says)
	}
}

// Circles of edges are allowed where somebody can be reached from them, and the
// search for it ends.
func TestCirclesOfEdges(t *testing.T) {
	m := crm()
	m.Tables[2].Edges = append(m.Tables[2].Edges, datamap.Edge{Columns: []string{"former"}, Table: "emails"}, datamap.Edge{Columns: []string{"comment"}, Table: "comments"})
	m.Tables[4].Edges = append(m.Tables[4].Edges, datamap.Edge{Columns: []string{"mail"}, Table: "emails"})
	require.NoError(t, m.Validate())

	kept := crm()
	lines := &kept.Tables[7]
	lines.Edges = append(lines.Edges, datamap.Edge{Columns: []string{"above"}, Table: "invoice_lines"})
	require.NoError(t, kept.Validate())

	closed := &datamap.Map{Tenant: "main", Tables: []datamap.Table{
		{Name: "a", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{{Columns: []string{"b"}, Table: "b"}}},
		{Name: "b", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{{Columns: []string{"a"}, Table: "a"}}},
	}}
	require.ErrorContains(t, closed.Validate(), "table a: its edges lead to no person: (b) ends at b")
}

func TestNamesThatAreQuoted(t *testing.T) {
	m := crm()
	m.Tables[0].Name, m.Tables[0].Columns[0].Name = "billing.Credit Notes", "Why?"
	m.Tables = append(m.Tables, datamap.Table{Name: "客户", Key: []string{"Größe"}})
	require.NoError(t, m.Validate())
	require.True(t, datamap.IsTableName("Credit Notes"))
	require.False(t, datamap.IsTableName("a/b"))
	require.False(t, datamap.IsColumnName("crm.contacts"))
}

func TestGapsAreWhatIsNotStated(t *testing.T) {
	m := crm()
	m.Tables[0].Columns = append(m.Tables[0].Columns, datamap.Column{Name: "remark", Category: datamap.Unclassified})
	m.Tables[1].Columns[0].Purpose, m.Tables[1].Columns[1].Basis = "", ""
	m.Tables[6].Columns[4].Purpose, m.Tables[6].Columns[4].Basis = "", ""
	require.NoError(t, m.Validate(), "what is not stated yet is no fault")
	require.Equal(t, []datamap.Gap{
		{Table: "rates", Column: "remark", Missing: "category"},
		{Table: "contacts", Column: "name", Missing: "purpose"},
		{Table: "contacts", Column: "email", Missing: "basis"},
		{Table: "billing.invoices", Column: "extra/birthday", Missing: "purpose"},
		{Table: "billing.invoices", Column: "extra/birthday", Missing: "basis"},
	}, m.Gaps())
}

func TestTheListsOfPurposesAndBasesAreCopies(t *testing.T) {
	for _, list := range []func() []string{datamap.Purposes, datamap.Bases} {
		sorted := slices.Sorted(slices.Values(list()))
		require.Equal(t, sorted, slices.Compact(slices.Clone(sorted)), "each once")
		list()[0] = "x"
		require.NotEqual(t, "x", list()[0])
		for _, key := range list() {
			require.Regexp(t, `^(dpv:[A-Z][A-Za-z]+|eu-gdpr:A[69]-[12]-[a-j])$`, key)
		}
	}
}

func TestWhatHappensToColumnsOfRowsThatStay(t *testing.T) {
	m := crm()
	invoices, ok := m.Table("billing.invoices")
	require.True(t, ok)
	require.Equal(t, map[string]datamap.Action{"customer": datamap.Retain, "address": datamap.Retain, "phone": datamap.Null, "mail": datamap.Redact, "extra/birthday": datamap.Generalise, "extra/names/0": datamap.Pseudonymise, "extra/a~1b~0": datamap.Retain}, invoices.Stays())
	require.Equal(t, "billing.invoices/1", invoices.SchemaID())
	require.True(t, m.Shreds())
	emails, _ := m.Table("emails")
	require.Nil(t, emails.Stays())
	require.False(t, emails.CanStay())
	comments, _ := m.Table("comments")
	require.Equal(t, []string{"subject_id"}, comments.Empties(comments.Edges[0]))
	comments.Tenant = "subject_id"
	require.Empty(t, comments.Empties(comments.Edges[0]))
	require.Equal(t, datamap.Scrub, datamap.Table{Erase: datamap.Scrub}.Action(datamap.Column{Name: "x", Category: "y"}))
	require.Equal(t, datamap.Action(""), datamap.Table{Erase: datamap.Scrub}.Action(datamap.Column{Name: "x"}))
	_, ok = m.Table("nowhere")
	require.False(t, ok)
	_, ok = emails.Column("nowhere")
	require.False(t, ok)
	require.Equal(t, "mail/3", datamap.Table{Name: "emails", Schema: "mail/3"}.SchemaID())
	rates, _ := m.Table("rates")
	require.False(t, rates.Reaches())
	require.True(t, emails.Reaches())
}

func ExampleMap_Validate() {
	m := &datamap.Map{Tenant: "main", Tables: []datamap.Table{{
		Name: "contacts", Key: []string{"id"}, Erase: datamap.Delete,
		Columns: []datamap.Column{{Name: "email", Category: "contact.email"}},
	}}}
	fmt.Println(m.Validate())
	m.Tables[0].Person = "id"
	fmt.Println(m.Validate())
	// Output:
	// datamap: not a true map: table contacts: column email holds personal data, but no person reaches the table: say by Person or an Edge how a row leads to one
	// <nil>
}

func ExampleMap_Gaps() {
	m := &datamap.Map{Tenant: "main", Tables: []datamap.Table{{
		Name: "contacts", Key: []string{"id"}, Person: "id", Erase: datamap.Delete,
		Columns: []datamap.Column{
			{Name: "email", Category: "contact.email", Purpose: "dpv:CustomerCare"},
			{Name: "field7", Category: datamap.Unclassified},
		},
	}}}
	for _, gap := range m.Gaps() {
		fmt.Println(gap.Table, gap.Column, gap.Missing)
	}
	// Output:
	// contacts email basis
	// contacts field7 category
}

// A row of a task is about its owner and only points to the person: when the
// person goes, the task stays and points to nobody.
func ExampleEdge_unlink() {
	tasks := datamap.Table{
		Name: "tasks", Key: []string{"id"}, Tenant: "tenant",
		Edges: []datamap.Edge{{Columns: []string{"tenant", "about"}, Table: "contacts", Unlink: datamap.Null}},
	}
	fmt.Println(tasks.Empties(tasks.Edges[0]))
	// Output: [about]
}

// FuzzValidate: whatever a map holds, Validate answers.
func FuzzValidate(f *testing.F) {
	f.Add("contacts", "id", "/a/b", "first:3", byte(3), byte(5))
	f.Add("a.b", "", "/~", "{row}", byte(250), byte(77))
	actions := []datamap.Action{"", datamap.Delete, datamap.Null, datamap.Redact, datamap.Generalise, datamap.Pseudonymise, datamap.Scrub, datamap.Shred, datamap.Retain, "x"}
	f.Fuzz(func(t *testing.T, table, col, path, to string, which, how byte) {
		m := crm()
		at := &m.Tables[int(which)%len(m.Tables)]
		other := m.Tables[int(how)%len(m.Tables)].Name
		action := actions[int(how)%len(actions)]
		switch which / 16 {
		case 0:
			at.Edges = append(at.Edges, datamap.Edge{Columns: []string{col, path}, Table: other, To: []string{to}, Unlink: action})
		case 1:
			at.Edges = append(at.Edges, datamap.Edge{Columns: []string{col}, Table: other})
		case 2:
			at.Edges = append(at.Edges, datamap.Edge{Columns: []string{col}, Identity: to, When: []datamap.When{{Column: path, Is: to}}})
		case 3:
			at.Columns = append(at.Columns, datamap.Column{Name: col, Path: path, To: to, Category: path, Erase: action})
		case 4:
			at.Link = &datamap.Link{Table: other, Record: col, Person: path}
		case 5:
			at.Name = other
		case 6:
			at.Keep = &datamap.Keep{Because: to, From: col, Years: int(how)}
		case 7:
			*at = datamap.Table{Name: table}
		default:
			at.Name, at.Person, at.Merged, at.Erase, at.Key = table, col, path, action, []string{to}
		}
		if err := m.Validate(); err != nil && !errors.Is(err, datamap.ErrMap) {
			t.Fatal("an error of another kind")
		}
		m.Gaps()
		for _, table := range m.Tables {
			table.Stays()
		}
	})
}
