package accesscontrol_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

// Whoever may not read a field in every row may not use it: masked is not read.
func TestUseOfFieldsThatSomeRowHides(t *testing.T) {
	policy := loadStaff(t)
	for _, c := range []struct {
		who    accesscontrol.Principal
		hidden []string
	}{
		{employee("", "ann"), []string{"email", "phone", "salary"}},
		{employee("desk", "ann"), []string{"email", "phone", "salary"}},
		{employee("clerk", "ann"), []string{"salary"}},
		{employee("hr", "ann"), nil},
	} {
		actor, err := policy.For(c.who)
		require.NoError(t, err)
		require.NoError(t, actor.CheckUse(t.Context(), "employee"))
		require.NoError(t, actor.CheckUse(t.Context(), "employee", "name", "owner"))
		err = actor.CheckUse(t.Context(), "employee", "salary", "name", "phone", "email", "email")
		if c.hidden == nil {
			require.NoError(t, err)
			continue
		}
		denied, is := errors.AsType[*accesscontrol.Denied](err)
		require.True(t, is, "%v", err)
		require.Equal(t, []any{accesscontrol.HiddenField, c.hidden, "employee.read"}, []any{denied.Reason, denied.Fields, denied.Action})
		for _, name := range c.hidden {
			require.ErrorIs(t, policy.CheckUse(t.Context(), c.who, "employee", name), accesscontrol.ErrDenied)
		}
	}
}

// The same rows in the same words are no narrower, whoever writes them: the
// condition of a policy for both actions, or of two.
func TestUseUnderTheSameCondition(t *testing.T) {
	for policies, want := range map[string]bool{
		`@id("a") permit (principal, action in [Action::"employee.read", Action::"pay.read"], resource) when { resource.owner == principal };`: true,
		`@id("a") permit (principal, action == Action::"employee.read", resource) when { resource.owner == principal };
		 @id("b") permit (principal, action == Action::"pay.read", resource) when { resource.owner == principal };
		 @id("c") permit (principal, action == Action::"pay.read", resource) when { resource has name };`: true,
		`@id("a") permit (principal, action == Action::"employee.read", resource) when { resource.owner == principal };
		 @id("b") permit (principal, action == Action::"pay.read", resource);`: true,
		`@id("a") permit (principal, action, resource); @id("f") forbid (principal, action == Action::"employee.read", resource) when { resource.owner == principal };`:                                                                                        true,
		`@id("a") permit (principal, action, resource); @id("f") forbid (principal, action, resource) when { resource.owner == principal };`:                                                                                                                   true,
		`@id("a") permit (principal, action, resource); @id("f") forbid (principal, action == Action::"pay.read", resource) when { resource.owner == principal };`:                                                                                             false,
		`@id("a") permit (principal, action == Action::"employee.read", resource); @id("b") permit (principal, action == Action::"pay.read", resource) when { resource.owner == principal };`:                                                                  false,
		`@id("a") permit (principal, action == Action::"employee.read", resource) when { resource.owner == User::"bob" }; @id("b") permit (principal, action == Action::"pay.read", resource) when { resource.owner == principal };`:                           false,
		`@id("a") permit (principal, action == Action::"employee.read", resource) when { resource.owner == principal || resource has name }; @id("b") permit (principal, action == Action::"pay.read", resource) when { resource.owner == principal };`:        false,
		`@id("a") permit (principal, action, resource) when { resource.owner == principal }; @id("b") permit (principal, action == Action::"employee.read", resource) when { resource has name };`:                                                             false,
		`@id("a") permit (principal, action == Action::"employee.read", resource);`:                                                                                                                                                                            false,
		`@id("a") permit (principal, action, resource); @id("f") forbid (principal, action == Action::"pay.read", resource);`:                                                                                                                                  false,
		`@id("a") permit (principal, action == Action::"employee.read", resource) when { resource has name && resource.name == "7" }; @id("b") permit (principal, action == Action::"pay.read", resource) when { resource has name && resource.name == "8" };`: false,
	} {
		policies = strings.ReplaceAll(policies, "(principal,", "(principal is User,")
		policy, err := accesscontrol.Load(t.Context(), staffConfig().Replaced(policies))
		require.NoError(t, err)
		err = policy.CheckUse(t.Context(), employee("", "ann"), "employee", "salary")
		require.Equal(t, want, err == nil, "%v: %s", err, policies)
		// The list agrees: what may be used stands in it without a condition.
		list, err := policy.Columns(t.Context(), employee("", "ann"), "employee")
		require.NoError(t, err)
		text, _ := list.SQLite("")
		require.Equal(t, want, strings.Contains(text, ", `salary` AS `salary`"), text)
	}
}

func TestFilterUsing(t *testing.T) {
	policy := loadStaff(t)
	ann := employee("", "ann")
	for _, c := range []struct {
		action string
		fields []string
		want   string
	}{
		{"employee.read", nil, "(`tenant` = ? COLLATE BINARY)"},
		{"employee.read", []string{"name"}, "(`tenant` = ? COLLATE BINARY)"},
		{"employee.read", []string{"salary"}, "(`tenant` = ? COLLATE BINARY AND `owner` = ? COLLATE BINARY)"},
		{"employee.read", []string{"salary", "email", "phone", "salary"}, "(`tenant` = ? COLLATE BINARY AND `owner` = ? COLLATE BINARY)"},
		{"employee.update", []string{"salary"}, "(`tenant` = ? COLLATE BINARY AND `owner` = ? COLLATE BINARY)"},
		{"employee.create", []string{"name"}, "(1 = 0)"},
	} {
		where, err := policy.FilterUsing(t.Context(), ann, c.action, "employee", c.fields...)
		require.NoError(t, err)
		text, _ := where.SQLite("")
		require.Equal(t, c.want, text)
	}
	// The table's Read is part of it, whatever the action.
	config := staffConfig().Replaced(`@id("a") permit (principal is User, action == Action::"employee.update", resource); @id("r") permit (principal, action == Action::"employee.read", resource) when { resource has name };`)
	narrow, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	where, err := narrow.FilterUsing(t.Context(), ann, "employee.update", "employee", "owner")
	require.NoError(t, err)
	text, _ := where.SQLite("")
	require.Equal(t, "(`tenant` = ? COLLATE BINARY AND `name` IS NOT NULL)", text)
	// Where no record may be read, nothing of any is in the list.
	nobody, err := accesscontrol.Load(t.Context(), staffConfig().Replaced(`@id("a") permit (principal is User, action in [Action::"pay.read", Action::"contact.mask"], resource);`))
	require.NoError(t, err)
	list, err := nobody.Columns(t.Context(), ann, "employee")
	require.NoError(t, err)
	text, args := list.WithVisibility().Gorm("s")
	require.Empty(t, args)
	require.Equal(t, `NULL AS "owner", NULL AS "name", NULL AS "email", 0 AS "email_visibility", NULL AS "phone", 0 AS "phone_visibility", NULL AS "salary", 0 AS "salary_visibility"`, text)
	require.True(t, list.Where().Nothing())
	where, err = narrow.FilterUsing(t.Context(), ann, "employee.read", "employee", "salary")
	require.NoError(t, err)
	require.True(t, where.Nothing())
}

// A list is sorted by what every row of it shows, or by the rows that show it.
func TestPagesAreSortedByWhatIsShown(t *testing.T) {
	policy := loadStaff(t)
	by := func(shown bool) []accesscontrol.Order {
		return []accesscontrol.Order{{Field: "name"}, {Field: "salary", Desc: true, Shown: shown}}
	}
	page := func(who accesscontrol.Principal, by []accesscontrol.Order) (string, error) {
		actor, err := policy.For(who)
		require.NoError(t, err)
		page, err := actor.Page(t.Context(), "employee", by, "")
		if err != nil {
			return "", err
		}
		behind, _, _ := page.SQLite("")
		return behind, nil
	}
	_, err := page(employee("", "ann"), by(false))
	denied, is := errors.AsType[*accesscontrol.Denied](err)
	require.True(t, is, "%v", err)
	require.Equal(t, []any{accesscontrol.HiddenField, []string{"salary"}}, []any{denied.Reason, denied.Fields})
	for _, c := range []struct {
		who  accesscontrol.Principal
		by   []accesscontrol.Order
		want string
	}{
		{employee("", "ann"), by(true), "(1 = 1) AND (`tenant` = ? COLLATE BINARY AND `owner` = ? COLLATE BINARY)"},
		{employee("", "ann"), by(true)[:1], "(1 = 1)"},
		{employee("hr", "ann"), by(false), "(1 = 1)"},
		{employee("hr", "ann"), by(true), "(1 = 1)"},
		{accesscontrol.Principal{Type: "Service", Tenant: "other", ID: "robot"}, by(true)[:1], "(1 = 1)"},
	} {
		behind, err := page(c.who, c.by)
		require.NoError(t, err)
		require.Equal(t, c.want, behind)
	}
}

func TestQuestionsAboutFieldsThatAreWrong(t *testing.T) {
	policy := loadStaff(t)
	ann := employee("", "ann")
	actor, err := policy.For(ann)
	require.NoError(t, err)
	for _, field := range []string{"id", "tenant", "salary; DROP TABLE staff", "Salary", ""} {
		require.ErrorIs(t, actor.CheckUse(t.Context(), "employee", "name", field), accesscontrol.ErrRequest)
		_, err := actor.FilterUsing(t.Context(), "employee.read", "employee", field)
		require.ErrorIs(t, err, accesscontrol.ErrRequest)
	}
	all := func(policy *accesscontrol.Policy, record string) (out []error) {
		_, columns := policy.Columns(t.Context(), ann, record)
		_, using := policy.FilterUsing(t.Context(), ann, "employee.read", record, "name")
		return append(out, columns, using, policy.CheckUse(t.Context(), ann, record, "name"))
	}
	for _, change := range []func(*accesscontrol.Table){
		func(b *accesscontrol.Table) { b.Read = "" },
		func(b *accesscontrol.Table) { b.Name = "" },
	} {
		config := staffConfig()
		change(&config.Tables[0])
		policy, err := accesscontrol.Load(t.Context(), config)
		require.NoError(t, err)
		for _, err := range all(policy, "employee") {
			require.ErrorIs(t, err, accesscontrol.ErrRequest)
		}
	}
	for _, err := range all(policy, "lead") {
		require.ErrorIs(t, err, accesscontrol.ErrRequest)
	}
	for _, err := range all(nil, "employee") {
		require.ErrorIs(t, err, accesscontrol.ErrNotLoaded)
	}
	for _, attr := range []string{"e mail", `a" OR 1=1`, "a?", "salary_visibility"} {
		config := staffConfig()
		config.Tables[0].Columns = append(config.Tables[0].Columns, accesscontrol.Column{Attr: attr, Name: "more"})
		policy, err := accesscontrol.Load(t.Context(), config)
		require.NoError(t, err)
		_, err = policy.Columns(t.Context(), ann, "employee")
		require.ErrorIs(t, err, accesscontrol.ErrRequest, attr)
	}
}

// What a list and a narrowed filter compare with is counted together.
func TestListsAreBounded(t *testing.T) {
	config := staffConfig()
	config.Texts["staff.cedarschema"] = strings.Replace(config.Texts["staff.cedarschema"], "entity User in [Role];", "entity User in [Role] = { a: Set<User>, b: Set<User> };", 1)
	config = config.Replaced(`@id("a") permit (principal is User, action == Action::"employee.read", resource) when { principal.a.contains(resource.owner) };
		@id("b") permit (principal is User, action in [Action::"contact.read", Action::"pay.read", Action::"contact.mask"], resource) when { principal.b.contains(resource.owner) };`)
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	who := employee("", "ann")
	ids := func(n int) (out []string) {
		for i := range n {
			out = append(out, strconv.Itoa(i))
		}
		return out
	}
	for _, c := range []struct {
		a, b         int
		using, lists bool
	}{{10_000, 1_900, true, true}, {10_000, 12_000, false, false}, {10_000, 2_100, true, false}} {
		who.Attrs = map[string]any{"a": ids(c.a), "b": ids(c.b)}
		_, err = policy.FilterUsing(t.Context(), who, "employee.read", "employee", "salary")
		require.Equal(t, c.using, !errors.Is(err, accesscontrol.ErrTooLarge), "%v", err)
		_, err = policy.Columns(t.Context(), who, "employee")
		require.Equal(t, c.lists, !errors.Is(err, accesscontrol.ErrTooLarge), "%v", err)
	}
}
