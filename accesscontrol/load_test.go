package accesscontrol_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

// problems loads a config that must be refused.
func problems(t *testing.T, config accesscontrol.Config) []string {
	t.Helper()
	policy, err := accesscontrol.Load(t.Context(), config)
	require.Nil(t, policy)
	require.ErrorIs(t, err, accesscontrol.ErrPolicy)
	var refused *accesscontrol.PolicyError
	require.ErrorAs(t, err, &refused)
	var out []string
	for _, p := range refused.Problems {
		out = append(out, p.String())
		require.Contains(t, err.Error(), p.String())
	}
	return out
}

func TestConditionsThatCannotBecomeSQLAreRefusedAtLoad(t *testing.T) {
	for condition, want := range map[string]string{
		`resource.stage like "won*"`:                                          `cannot become SQL: resource.stage like …: a pattern may read every row: set Column.Like if it shall`,
		`resource.amount + 1 > 5`:                                             `cannot become SQL: +(resource.amount, …): + is not translated`,
		`resource.amount * 2 > 5`:                                             `* is not translated`,
		`-(resource.amount) > 5`:                                              `- is not translated`,
		`resource has secret && resource.secret == "x"`:                       `cannot become SQL: resource has secret: attribute secret is sealed, so it cannot be compared`,
		`resource has secret`:                                                 `attribute secret is sealed`,
		`resource has email`:                                                  `attribute email is sealed`,
		`resource has unmapped && resource.unmapped == "x"`:                   `attribute unmapped has no column in the binding`,
		`resource has labels && resource.labels.contains("x")`:                `a column cannot be searched as a set`,
		`resource has labels && resource.labels == ["x"]`:                     `its type is not one that a column can hold`,
		`resource has due && resource.due < principal.clock`:                  `its type is not one that a column can hold`,
		`resource.owner.level > 3`:                                            `only attributes of the record itself are columns`,
		`resource.owner has nick`:                                             `only attributes of the record itself are columns`,
		`resource.owner.active`:                                               `only attributes of the record itself are columns`,
		`resource.owner in resource.owner.teams`:                              `only one side of in can be a column`,
		`[resource.stage, "x"].contains(principal.region)`:                    `a column cannot be searched as a set`,
		`principal.tags.containsAll([resource.stage])`:                        `containsAll is not translated`,
		`(if resource.flag then resource.stage else "x") == "y"`:              `only attributes of the record itself are columns`,
		`resource.stage == "a\0b"`:                                            `a text holds NUL`,
		`["a\0b"].contains(resource.stage)`:                                   `a text holds NUL`,
		`resource.stage == (if principal.active then "a\0b" else "c")`:        `a text holds NUL`,
		`if principal.active then resource.flag else "a\0b" == "c"`:           `a text holds NUL`,
		`principal.active && !(resource.stage like "*")`:                      `set Column.Like`,
		`principal.active || (if true then resource.owner.active else false)`: `only attributes of the record itself are columns`,
	} {
		t.Run(condition, func(t *testing.T) {
			found := problems(t, itemConfig("@id(\"ok\") permit (principal, action, resource);\n\n  @id(\"bad\") forbid (principal, action, resource)\nwhen { "+condition+" };"))
			require.Len(t, found, 1)
			require.True(t, strings.HasPrefix(found[0], "item.cedar:3:3: policy bad: "), found[0])
			require.Contains(t, found[0], want)
			require.Contains(t, found[0], "on records of type item")
			require.NotContains(t, found[0], "won*", "literals stay out")
		})
	}
	found := problems(t, itemConfig(`@id("bad") permit (principal, action, resource in Team::"t1");`))
	require.Contains(t, strings.Join(found, "\n"), "policy bad")
}

func TestWhatDoesNotLookAtARowMayUseAllOfCedar(t *testing.T) {
	_, err := accesscontrol.Load(t.Context(), itemConfig(`
@id("a") permit (principal, action, resource) when { principal.region like "Z*" && principal.level * 2 < 100 && principal.tags.containsAny(["x"]) };
@id("b") permit (principal, action, resource) when { resource.amount < principal.level - 5 && resource is Item && !(resource is Team) };
@id("c") permit (principal, action, resource) when { resource is Team && resource.nothing like "x" };`))
	require.NoError(t, err)
}

func TestOnlyStrictlyValidPoliciesLoad(t *testing.T) {
	for condition, want := range map[string]string{
		`resource.region == "x"`:           "unable to guarantee safety of access to optional attribute `region` on entity type `Item`",
		`resource.reigon == "x"`:           "attribute `reigon` on entity type `Item` not found",
		`resource.stage in ["x"]`:          "unexpected type",
		`resource.amount == "5"`:           "types Long and String are not compatible",
		`principal.nick == "x"`:            "optional attribute `nick`",
		`context.purpose == "x"`:           "optional attribute `purpose`",
		`resource.stage`:                   "unexpected type: expected Bool",
		`resource.owner == User::"x" || 1`: "unexpected type",
	} {
		found := problems(t, itemConfig(`@id("bad") permit (principal, action, resource) when { `+condition+` };`))
		require.Contains(t, strings.Join(found, "\n"), "item.cedar:1:1: policy bad: ")
		require.Contains(t, strings.Join(found, "\n"), want, condition)
	}
	found := problems(t, itemConfig(`@id("bad") permit (principal, action == Action::"fly", resource);`))
	require.Contains(t, strings.Join(found, "\n"), "unrecognized action")
}

func TestFaultsAreListedOnceAndTogether(t *testing.T) {
	found := problems(t, itemConfig(`
@id("one") permit (principal, action, resource) when { resource.region == "x" || resource.region == "y" };
@id("two") forbid (principal, action, resource) when { resource.stage like "x" };
permit (principal, action, resource);
@id("one") permit (principal, action, resource);
@id("not an id") permit (principal, action, resource);
`))
	require.Equal(t, []string{
		"item.cedar:2:1: policy one: unable to guarantee safety of access to optional attribute `region` on entity type `Item`",
		"item.cedar:3:1: policy two: cannot become SQL: resource.stage like …: a pattern may read every row: set Column.Like if it shall, on records of type item",
		"item.cedar:4:1: policy has no @id",
		"item.cedar:5:1: policy one: @id stands already at item.cedar:2:1",
		"item.cedar:6:1: @id may hold letters, digits and . _ : / - only, at most 128",
	}, found, "the validator repeats the fault of `one` for each action")
}

func TestFilesOfAPolicySet(t *testing.T) {
	tables := []accesscontrol.Table{itemTable()}
	good := fstest.MapFS{
		"schema.cedarschema": {Data: []byte(itemSchema)}, "a.cedar": {Data: []byte(`@id("a") permit (principal, action, resource);`)},
		"sub/b.cedar": {Data: []byte(`@id("b") forbid (principal, action, resource);`)}, "README.md": {Data: []byte("not policy")},
	}
	policy, err := accesscontrol.Load(t.Context(), accesscontrol.Config{Files: good, Tables: tables})
	require.NoError(t, err)
	where, err := policy.Filter(t.Context(), itemPrincipals()[0], "read", "item")
	require.NoError(t, err)
	require.True(t, where.Nothing(), "sub/b.cedar forbids")

	require.Equal(t, []string{"there is more than one .cedarschema file"},
		problems(t, accesscontrol.Config{Files: good, Tables: tables, Texts: map[string]string{"x.cedarschema": ""}}))
	require.Equal(t, []string{"policy.txt: a text is neither .cedar nor .cedarschema"},
		problems(t, accesscontrol.Config{Files: good, Texts: map[string]string{"policy.txt": ""}}))
	require.Equal(t, []string{`s.cedarschema:1:8: expected identifier, got "="`},
		problems(t, accesscontrol.Config{Texts: map[string]string{"s.cedarschema": "entity = ;"}}))
	require.Contains(t, problems(t, accesscontrol.Config{Texts: map[string]string{"s.cedarschema": "entity A in [B];"}})[0], `undefined entity type "B"`)
	found := problems(t, accesscontrol.Config{Files: good, Tables: tables, Texts: map[string]string{"broken.cedar": "permit (principal"}})
	require.Len(t, found, 1)
	require.Contains(t, found[0], "broken.cedar:1:18: parse error ")

	_, err = accesscontrol.Load(t.Context(), accesscontrol.Config{Files: failingFS{}})
	require.ErrorIs(t, err, errBroken)
	require.ErrorContains(t, err, "accesscontrol: read policy files: ")
}

var errBroken = errors.New("broken disk")

type failingFS struct{}

func (failingFS) Open(string) (fs.File, error) { return nil, errBroken }

func TestFaultsOfTheBinding(t *testing.T) {
	for want, change := range map[string]func(b *accesscontrol.Table){
		"a table has no record name":                                                                func(b *accesscontrol.Table) { b.Resource = "" },
		"table item: the schema has no entity type Thing":                                           func(b *accesscontrol.Table) { b.Entity = "Thing" },
		"table item: name is not a plain SQL identifier, nor one behind its schema":                 func(b *accesscontrol.Table) { b.Name = "items; DROP TABLE x" },
		"table item: the key is no \"enum\": it is text, Integer or UUID":                           func(b *accesscontrol.Table) { b.KeyAs = accesscontrol.Enum },
		"table item: attribute owner has a type that no column of the type \"serial\" holds":        func(b *accesscontrol.Table) { b.Columns[0].As = "serial" },
		"table item: Key is empty: it names the column of the record's id":                          func(b *accesscontrol.Table) { b.Key = "" },
		"table item: tenant is not a plain SQL identifier":                                          func(b *accesscontrol.Table) { b.Tenant = `t"` },
		"table item: exactly one of Tenant and OnlyTenant must stand":                               func(b *accesscontrol.Table) { b.Tenant = "" },
		"table item: action fly: the schema has no such action":                                     func(b *accesscontrol.Table) { b.Delete = "fly" },
		"table item: action any does not apply to Item":                                             func(b *accesscontrol.Table) { b.Read = "any" },
		"table item: group pii has no fields":                                                       func(b *accesscontrol.Table) { b.Groups = []accesscontrol.Group{{Name: "pii", Action: "read"}} },
		"table item: a column has no attribute":                                                     func(b *accesscontrol.Table) { b.Columns = append(b.Columns, accesscontrol.Column{}) },
		"table item: attribute stage is bound twice":                                                func(b *accesscontrol.Table) { b.Columns = append(b.Columns, accesscontrol.Column{Attr: "stage"}) },
		"table item: the column of attribute x y is not a plain SQL identifier":                     func(b *accesscontrol.Table) { b.Columns = append(b.Columns, accesscontrol.Column{Attr: "x y"}) },
		"table item: attribute owner is required in the schema, and its column is declared NULL":    func(b *accesscontrol.Table) { b.Columns[0].Required = false },
		"table item: attribute team is optional in the schema, and its column is declared NOT NULL": func(b *accesscontrol.Table) { b.Columns[1].Required = true },
		"table item: attribute stage has a type that no column of the type \"timestamp\" holds":     func(b *accesscontrol.Table) { b.Columns[3].As = accesscontrol.Timestamp },
	} {
		config := itemConfig(`@id("a") permit (principal, action, resource);`)
		change(&config.Tables[0])
		require.Equal(t, []string{want}, problems(t, config))
	}
	config := itemConfig("")
	config.Tables = append(config.Tables, itemTable(), accesscontrol.Table{Resource: "other", Entity: "Item"}, accesscontrol.Table{Resource: "item/part", Entity: "Item"})
	require.Equal(t, []string{
		"table item stands twice", "table item/part: a record name holds no slash, which ends it in a resource", "table other: entity type Item is bound twice",
	}, problems(t, config))
}

// One fault more than the parser would tell: what a table without SQL is
// bound to may use all of Cedar.
func TestTableWithoutSQLIsOnlyChecked(t *testing.T) {
	config := itemConfig(`@id("a") permit (principal, action, resource) when { resource.stage like "w*" && resource.amount + 1 > 5 };`)
	config.Tables = []accesscontrol.Table{{Resource: "item", Entity: "Item"}}
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	record := accesscontrol.Resource{Type: "item", ID: "i1", Tenant: "main", Attrs: map[string]any{"owner": "x", "stage": "won", "amount": 9, "flag": true, "labels": []string{"a"}, "due": "2026-01-01"}}
	require.NoError(t, policy.Check(t.Context(), itemPrincipals()[0], "read", record))
	record.Attrs["stage"] = "lost"
	require.ErrorIs(t, policy.Check(t.Context(), itemPrincipals()[0], "read", record), accesscontrol.ErrDenied)
	_, err = policy.Filter(t.Context(), itemPrincipals()[0], "read", "item")
	require.ErrorIs(t, err, accesscontrol.ErrRequest)
	_, err = policy.Fields(t.Context(), itemPrincipals()[0], record)
	require.ErrorIs(t, err, accesscontrol.ErrRequest, "no Read action is named")
}

// A text nested from end to end is refused or loaded; it does not end the
// process, as it does without a bound on the size.
func TestNestedTextDoesNotOverflowTheStack(t *testing.T) {
	const size = 128 << 10
	head, tail := `@id("a") permit (principal, action, resource) when { `, ` };`
	room := size - len(head) - len(tail)
	for _, unit := range []string{"(", "!", "[", "{a:", "if true then ", "a("} {
		body := head + strings.Repeat(unit, room/len(unit)) + tail
		_, err := accesscontrol.Load(t.Context(), itemConfig(body))
		require.ErrorIs(t, err, accesscontrol.ErrPolicy, unit)
	}
	for _, text := range []string{strings.Repeat("!resource.flag||", room/16-1) + "true", "[" + strings.Repeat("resource.amount+", 300) + "1" + "].contains(1)"} {
		found := problems(t, itemConfig(head+text+tail))
		require.Equal(t, []string{"item.cedar:1:1: policy a: a condition is nested deeper than 250 levels; a set with contains is flat"}, found)
	}
	for _, open := range []string{"Set<", "{a:"} {
		_, err := accesscontrol.Load(t.Context(), accesscontrol.Config{Texts: map[string]string{"s.cedarschema": "entity A = {b:" + strings.Repeat(open, (size-20)/len(open))}})
		require.ErrorIs(t, err, accesscontrol.ErrPolicy)
	}
	found := problems(t, itemConfig(head+strings.Repeat("(", size)+tail))
	require.Equal(t, []string{"item.cedar: the file is larger than 128 KiB; split it"}, found)
}

// What loads, SQLite takes: the longest condition and many policies at once.
func TestLargeFiltersRun(t *testing.T) {
	db := openDB(t, itemDDL)
	_, err := db.ExecContext(t.Context(), "INSERT INTO items (id, tenant, owner, stage, amount, flag) VALUES ('i', 'main', 'ann', 's', 5, 1)")
	require.NoError(t, err)
	var text strings.Builder
	text.WriteString(`@id("deep") permit (principal, action, resource) when { ` + strings.Repeat("resource.amount == 4 || (resource.flag && principal.level + 9223372036854775807 < 0) || ", 100) + `resource.amount == 5 };`)
	for i := range 700 {
		fmt.Fprintf(&text, "@id(\"p%d\") permit (principal, action, resource) when { resource.amount == %d };\n@id(\"f%d\") forbid (principal, action, resource) when { resource.amount == %d };\n", i, i+100, i, i+100)
	}
	policy, err := accesscontrol.Load(t.Context(), itemConfig(text.String()))
	require.NoError(t, err)
	ann := itemPrincipals()[0]
	for level, want := range map[int][]string{
		-1: {"i"}, // -1 + the largest integer is not below 0; the last part permits
		7:  {},    // 7 + the largest integer fails, and the last part is never reached
	} {
		ann.Attrs["level"] = level
		where, err := policy.Filter(t.Context(), ann, "read", "item")
		require.NoError(t, err)
		ids, err := selected(t.Context(), db, "items", where)
		require.NoError(t, err)
		require.Equal(t, want, ids)
	}
}
