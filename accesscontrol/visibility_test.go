package accesscontrol_test

import (
	"errors"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// staffConfig has fields of each visibility.
func staffConfig() accesscontrol.Config {
	return accesscontrol.Config{
		Texts: map[string]string{
			"staff.cedarschema": `
entity Role;
entity User in [Role];
entity Service;
entity Employee = { owner: User, name?: String, email?: String, salary?: Long };
action "employee.read" appliesTo { principal: [User, Service], resource: Employee };
action "employee.create", "employee.update", "contact.read", "contact.mask", "pay.read" appliesTo { principal: [User], resource: Employee };
action "contact.edit" appliesTo { principal: [User], resource: Employee, context: { ticket: String } };`,
			"staff.cedar": `
@id("all") permit (principal, action == Action::"employee.read", resource);
@id("own") permit (principal is User, action in [Action::"employee.update", Action::"contact.read", Action::"pay.read"], resource) when { resource.owner == principal };
@id("desk") permit (principal in Role::"desk", action in [Action::"contact.mask", Action::"employee.update"], resource);
@id("clerk") permit (principal in Role::"clerk", action in [Action::"employee.create", Action::"contact.read"], resource);
@id("hr") permit (principal in Role::"hr", action, resource);
@id("ticket") forbid (principal, action == Action::"contact.edit", resource) when { context.ticket == "" };`,
		},
		Tables: []accesscontrol.Table{{
			Resource: "employee", Entity: "Employee", Name: "staff", Key: "id", Tenant: "tenant",
			Read: "employee.read", Create: "employee.create", Update: "employee.update",
			Columns: []accesscontrol.Column{
				{Attr: "owner", Required: true},
				{Attr: "name"},
				{Attr: "email", Mask: accesscontrol.MaskEmail},
				{Attr: "phone", Mask: accesscontrol.MaskLast4},
				{Attr: "salary"},
			},
			Groups: []accesscontrol.Group{
				{Name: "contact", Action: "contact.read", Masked: "contact.mask", Update: "contact.edit", Fields: []string{"email", "phone"}},
				{Name: "pay", Action: "pay.read", Fields: []string{"salary"}},
			},
		}},
	}
}

func employee(role, id string) accesscontrol.Principal {
	p := accesscontrol.Principal{Tenant: "main", ID: id, Context: map[string]any{"ticket": "t1"}}
	if role != "" {
		p.Parents = []accesscontrol.Ref{{Type: "Role", ID: role}}
	}
	return p
}

func loadStaff(t *testing.T) *accesscontrol.Policy {
	t.Helper()
	policy, err := accesscontrol.Load(t.Context(), staffConfig())
	require.NoError(t, err)
	return policy
}

func staff(owner string, attrs map[string]any) accesscontrol.Resource {
	r := accesscontrol.Resource{Type: "employee", ID: "e1", Tenant: "main", Attrs: map[string]any{"owner": owner}}
	maps.Copy(r.Attrs, attrs)
	return r
}

func TestVisibilities(t *testing.T) {
	policy := loadStaff(t)
	own := staff("ann", nil)
	none := []string{}
	for _, c := range []struct {
		who                                accesscontrol.Principal
		writable, readable, masked, hidden []string
	}{
		{employee("", "ann"), []string{"name", "owner", "salary"}, []string{"email", "name", "owner", "phone", "salary"}, none, none},
		{employee("", "bob"), none, []string{"name", "owner"}, none, []string{"email", "phone", "salary"}},
		{employee("desk", "bob"), []string{"name", "owner"}, []string{"name", "owner"}, []string{"email", "phone"}, []string{"salary"}},
		{employee("hr", "bob"), []string{"email", "name", "owner", "phone", "salary"}, []string{"email", "name", "owner", "phone", "salary"}, none, none},
		// An action that cannot be asked of somebody lets nothing be changed.
		{accesscontrol.Principal{Type: "Service", Tenant: "main", ID: "s"}, none, nil, nil, nil},
		{accesscontrol.Principal{Tenant: "other", ID: "ann"}, none, none, none, []string{"email", "name", "owner", "phone", "salary"}},
	} {
		fields, err := policy.Fields(t.Context(), c.who, own)
		if c.who.Type == "Service" {
			require.ErrorIs(t, err, accesscontrol.ErrRequest, "the action of a group is one that reads")
			continue
		}
		require.NoError(t, err)
		require.Equal(t, [][]string{c.writable, c.readable, c.masked, c.hidden}, [][]string{fields.Writable(), fields.Readable(), fields.Masked(), fields.Hidden()}, c.who.ID)
	}
	config := staffConfig()
	config.Tables[0].Groups, config.Tables[0].Columns = nil, config.Tables[0].Columns[:2]
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	fields, err := policy.Fields(t.Context(), accesscontrol.Principal{Type: "Service", Tenant: "main", ID: "s"}, own)
	require.NoError(t, err)
	require.Equal(t, accesscontrol.Fields{"owner": accesscontrol.Readable, "name": accesscontrol.Readable}, fields)
	hr := employee("hr", "bob")
	hr.Context = nil // contact.edit cannot be asked
	fields, err = loadStaff(t).Fields(t.Context(), hr, own)
	require.NoError(t, err)
	require.Equal(t, []string{"email", "phone"}, slicesWithout(fields.Readable(), fields.Writable()))
}

func slicesWithout(all, some []string) (out []string) {
	without := map[string]bool{}
	for _, s := range some {
		without[s] = true
	}
	for _, s := range all {
		if !without[s] {
			out = append(out, s)
		}
	}
	return out
}

// A field that may be read and not changed is told apart from one that is
// hidden; a masked one is hidden from a change, also where its mask comes back
// from a form.
func TestChangesOfFields(t *testing.T) {
	policy := loadStaff(t)
	before := map[string]any{"email": "ann@example.com", "name": "Ann", "salary": 5}
	change := func(who accesscontrol.Principal, name string, to any) (accesscontrol.Reason, []string) {
		t.Helper()
		after := staff("ann", before)
		after.Attrs[name] = to
		err := policy.CheckChange(t.Context(), who, staff("ann", before), after)
		if err == nil {
			return "", nil
		}
		denied, is := errors.AsType[*accesscontrol.Denied](err)
		require.True(t, is, "%v", err)
		return denied.Reason, denied.Fields
	}
	says := func(reason accesscontrol.Reason, fields ...string) []any { return []any{reason, fields} }
	for _, c := range []struct {
		who  accesscontrol.Principal
		name string
		to   any
		want []any
	}{
		{employee("", "ann"), "salary", 6, says("")},
		{employee("", "ann"), "email", "ann@example.com", says("")},
		{employee("", "ann"), "email", "ann@example.org", says(accesscontrol.ReadOnlyField, "email")},
		{employee("", "ann"), "phone", "1", says(accesscontrol.ReadOnlyField, "phone")},
		{employee("", "bob"), "name", "Bob", says(accesscontrol.NotPermitted)},
		{employee("desk", "bob"), "name", "Bob", says("")},
		{employee("desk", "bob"), "email", "a***@example.com", says(accesscontrol.HiddenField, "email")},
		{employee("desk", "bob"), "salary", 6, says(accesscontrol.HiddenField, "salary")},
		{employee("hr", "bob"), "email", "ann@example.org", says("")},
	} {
		reason, fields := change(c.who, c.name, c.to)
		require.Equal(t, c.want, []any{reason, fields}, "%s of %s", c.name, c.who.ID)
	}
	// Hidden comes first: what may not be read, nobody is told more about.
	after := staff("ann", map[string]any{"email": "x", "salary": 5, "name": "Ann"})
	desk := employee("desk", "ann")
	after.Attrs["owner"] = "bob"
	denied, is := errors.AsType[*accesscontrol.Denied](policy.CheckChange(t.Context(), desk, staff("ann", before), after))
	require.True(t, is)
	require.Equal(t, accesscontrol.HiddenField, denied.Reason, "on the side after it is another's")

	create := func(who accesscontrol.Principal, attrs map[string]any) error {
		return policy.CheckChange(t.Context(), who, accesscontrol.Resource{}, staff("cal", attrs))
	}
	clerk := employee("clerk", "bob")
	require.NoError(t, create(clerk, map[string]any{"name": "Cal"}), "creating takes no right to change")
	denied, is = errors.AsType[*accesscontrol.Denied](create(clerk, map[string]any{"name": "Cal", "phone": "123", "email": "c@x"}))
	require.True(t, is)
	require.Equal(t, "accesscontrol: denied: employee.create on employee: read_only_field: email, phone", denied.Error())
	require.NoError(t, create(employee("hr", "bob"), map[string]any{"email": "c@x", "salary": 1}))
	hr := employee("hr", "bob")
	hr.Context = nil
	require.ErrorIs(t, create(hr, map[string]any{"email": "c@x"}), accesscontrol.ErrRequest, "a change that cannot be judged is an error")
}

func TestRedact(t *testing.T) {
	policy := loadStaff(t)
	record := staff("ann", map[string]any{"email": []byte("ann@example.com"), "phone": nil, "name": "Ann", "salary": 5})
	shown, fields, err := policy.Redact(t.Context(), employee("desk", "bob"), record)
	require.NoError(t, err)
	require.Equal(t, staff("ann", map[string]any{"email": "a***@example.com", "phone": nil, "name": "Ann"}), shown)
	require.Equal(t, accesscontrol.Masked, fields["phone"])
	require.Equal(t, []byte("ann@example.com"), record.Attrs["email"], "the record stays as it was")
	shown.Attrs["name"] = "Bob"
	require.Equal(t, "Ann", record.Attrs["name"])

	actor, err := policy.For(employee("hr", "bob"))
	require.NoError(t, err)
	shown, _, err = actor.Redact(t.Context(), record)
	require.NoError(t, err)
	require.Equal(t, record, shown)

	for _, r := range []accesscontrol.Resource{{Type: "employee", ID: "e", Tenant: "other", Attrs: record.Attrs}, {Type: "lead"}, staff("ann", map[string]any{"undeclared": 1})} {
		shown, fields, err := actor.Redact(t.Context(), r)
		require.Error(t, err)
		require.Empty(t, shown)
		require.Empty(t, fields)
	}
}

func TestMasksAreRefusedWhereTheyWouldNotMask(t *testing.T) {
	for want, change := range map[string]func(*accesscontrol.Table){
		"table employee: attribute name has a mask and stands in no group: whoever reads the record would read it": func(b *accesscontrol.Table) { b.Columns[1].Mask = accesscontrol.MaskAll },
		`table employee: the mask of email is no "e-mail": it is MaskEmail, MaskYear, MaskLast4 or MaskAll`:        func(b *accesscontrol.Table) { b.Columns[2].Mask = "e-mail" },
		"table employee: attribute salary has a type of which the mask year shows nothing: use MaskAll":            func(b *accesscontrol.Table) { b.Columns[4].Mask = accesscontrol.MaskYear },
		"table employee: group pay names the action contact.mask for masks, and none of its columns has one":       func(b *accesscontrol.Table) { b.Groups[1].Masked = "contact.mask" },
		"table employee: action contact.maks: the schema has no such action":                                       func(b *accesscontrol.Table) { b.Groups[0].Masked = "contact.maks" },
		"table employee: action contact.edti: the schema has no such action":                                       func(b *accesscontrol.Table) { b.Groups[0].Update = "contact.edti" },
	} {
		config := staffConfig()
		change(&config.Tables[0])
		require.Equal(t, []string{want}, problems(t, config))
	}
}

// What the database would not mask as Apply does is a finding.
func TestColumnsThatCannotBeMaskedAreFound(t *testing.T) {
	const ddl = "CREATE TABLE staff (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, owner TEXT NOT NULL, name TEXT, email TEXT, "
	for end, want := range map[string]string{
		"phone TEXT, salary INTEGER) STRICT":    "",
		"phone INTEGER, salary INTEGER) STRICT": "",
		"phone REAL, salary INTEGER) STRICT":    "table staff: column phone is REAL, and its mask last4 is one of TEXT, INTEGER, INT: use MaskAll, or another column",
		"phone BLOB, salary INTEGER) STRICT":    "table staff: column phone is BLOB, and its mask last4 is one of TEXT, INTEGER, INT: use MaskAll, or another column",
	} {
		err := loadStaff(t).CheckSchema(t.Context(), openDB(t, ddl+end))
		if want == "" {
			require.NoError(t, err)
			continue
		}
		different, is := errors.AsType[*accesscontrol.SchemaError](err)
		require.True(t, is)
		require.Equal(t, []string{want}, different.Problems)
	}
	config := staffConfig()
	config.Tables[0].Columns[3].Mask = accesscontrol.MaskAll
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	require.NoError(t, policy.CheckSchema(t.Context(), openDB(t, ddl+"phone REAL, salary INTEGER) STRICT")))
	require.ErrorContains(t, policy.CheckSchema(t.Context(), openDB(t, ddl+"phone BLOB, salary INTEGER) STRICT")), "column phone is BLOB, which a mask has no type for: declare it Opaque")
}

func TestColumnsThatCannotBeMaskedAreFoundOnServers(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		types := map[testdb.Name]map[string]string{
			testdb.PostgresC: {"varchar(20)": "", "char(20)": "", "date": "is date, and its mask last4", "numeric": "is numeric, and", "bytea": "is bytea, and", "integer": ""},
			testdb.MariaDB:   {"VARCHAR(20)": "", "CHAR(20) CHARACTER SET latin1": "has the character set latin1", "VARBINARY(20)": "is varbinary, and", "UUID": "is uuid, and", "DECIMAL(9,2)": "is decimal, and", "INT": ""},
		}
		policy, db := loadStaff(t), d.Open(t)
		for typ, want := range types[d.Name] {
			for _, statement := range []string{"DROP TABLE IF EXISTS staff", "CREATE TABLE staff (id VARCHAR(20) PRIMARY KEY, tenant VARCHAR(20) NOT NULL, owner VARCHAR(20) NOT NULL, name VARCHAR(20), email VARCHAR(20), salary BIGINT, phone " + typ + ")"} {
				_, err := db.ExecContext(t.Context(), statement)
				require.NoError(t, err)
			}
			if err := policy.CheckSchema(t.Context(), db); want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "table staff: column phone "+want)
			}
		}
	})
}
