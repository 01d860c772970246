package accesscontrol_test

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

func TestFields(t *testing.T) {
	db := openDB(t, crmDDL)
	policy := loadCRM(t)
	people := crmPeople()
	all := []string{"account", "blocked", "country", "email", "first_name", "language", "owner", "phone"}
	open := []string{"account", "blocked", "country", "language", "owner"}
	for _, c := range []struct {
		who, id  string
		readable []string
	}{
		{"sales", "c1", all},
		{"sales", "c3", []string{}},
		{"manager", "c1", all},
		{"support", "c1", open},
		{"support", "c4", []string{}},
		{"auditor", "c4", open},
		{"auditor", "c6", []string{}},
		{"outsider", "c1", []string{}},
	} {
		fields, err := policy.Fields(t.Context(), people[c.who], contact(t, db, c.id))
		require.NoError(t, err)
		require.Equal(t, c.readable, fields.Readable(), "%s on %s", c.who, c.id)
		require.Len(t, fields.Hidden(), len(all)-len(c.readable))
		require.Equal(t, accesscontrol.Hidden, fields["unheard_of"])
	}
	require.Equal(t, "hidden masked readable writable", fmt.Sprint(accesscontrol.Hidden, accesscontrol.Masked, accesscontrol.Readable, accesscontrol.Writable))

	_, err := policy.Fields(t.Context(), people["sales"], accesscontrol.Resource{Type: "lead"})
	require.ErrorIs(t, err, accesscontrol.ErrRequest)
	_, err = policy.Fields(t.Context(), accesscontrol.Principal{}, contact(t, db, "c1"))
	require.ErrorIs(t, err, accesscontrol.ErrTenant)
	fields, err := policy.Fields(t.Context(), people["sales"], accesscontrol.Resource{Type: "contact", ID: "x", Tenant: "main"})
	require.ErrorIs(t, err, accesscontrol.ErrRequest, "an incomplete record")
	require.Equal(t, accesscontrol.Hidden, fields["email"], "an error hides")
}

func TestCheckChange(t *testing.T) {
	policy := loadCRM(t)
	people := crmPeople()
	record := func(attrs map[string]any) accesscontrol.Resource {
		return accesscontrol.Resource{Type: "contact", ID: "c1", Tenant: "main", Attrs: attrs}
	}
	mine := record(map[string]any{"owner": "ann", "country": "DE"})
	french := record(map[string]any{"owner": "ann", "country": "FR"})
	given := record(map[string]any{"owner": "bob", "country": "DE"})
	none := accesscontrol.Resource{}
	reason := func(who string, before, after accesscontrol.Resource) accesscontrol.Reason {
		err := policy.CheckChange(t.Context(), people[who], before, after)
		if err == nil {
			return ""
		}
		var denied *accesscontrol.Denied
		require.ErrorAs(t, err, &denied, "%v", err)
		return denied.Reason
	}
	require.Empty(t, reason("sales", mine, french))
	require.Equal(t, accesscontrol.NotPermitted, reason("sales", mine, given), "a record cannot be given away out of one's own reach")
	require.Equal(t, accesscontrol.NotPermitted, reason("sales", given, mine), "nor taken")
	require.Empty(t, reason("manager", mine, given))
	require.Equal(t, accesscontrol.NotPermitted, reason("manager", mine, french), "out of the region")
	require.Empty(t, reason("sales", none, mine))
	require.Equal(t, accesscontrol.NotPermitted, reason("sales", none, given))
	require.Equal(t, accesscontrol.NotPermitted, reason("sales", mine, none))
	require.Empty(t, reason("manager", mine, none))

	for _, moved := range []accesscontrol.Resource{
		{Type: "deal", ID: "c1", Tenant: "main"}, {Type: "contact", ID: "c2", Tenant: "main"}, {Type: "contact", ID: "c1", Tenant: "other"},
	} {
		require.Equal(t, accesscontrol.Moved, reason("sales", mine, moved))
	}
	err := policy.CheckChange(t.Context(), people["sales"], none, none)
	require.ErrorIs(t, err, accesscontrol.ErrRequest)
	err = policy.CheckChange(t.Context(), people["sales"], none, accesscontrol.Resource{Type: "deal", ID: "1", Tenant: "main"})
	require.ErrorIs(t, err, accesscontrol.ErrRequest, "the binding of deals names no Create action")
	err = policy.CheckChange(t.Context(), accesscontrol.Principal{}, mine, french)
	require.ErrorIs(t, err, accesscontrol.ErrTenant)
	err = policy.CheckChange(t.Context(), people["sales"], record(nil), mine)
	require.ErrorIs(t, err, accesscontrol.ErrRequest)
}

// Someone who may update, but not read the fields that identify the person,
// cannot overwrite them unseen.
func TestHiddenFieldsCannotBeChanged(t *testing.T) {
	config := crmConfig()
	config.Texts["clerk.cedar"] = `@id("clerk") permit (principal in Role::"clerk", action in [Action::"contact.read", Action::"contact.update"], resource is Contact);`
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	clerk := crmUser("clerk", "cal")
	change := func(field string, before, after any) error {
		return policy.CheckChange(t.Context(), clerk,
			accesscontrol.Resource{Type: "contact", ID: "c1", Tenant: "main", Attrs: map[string]any{"owner": "ann", field: before}},
			accesscontrol.Resource{Type: "contact", ID: "c1", Tenant: "main", Attrs: map[string]any{"owner": "ann", field: after}})
	}
	require.NoError(t, change("language", "de", "fr"))
	require.NoError(t, change("email", []byte("same"), []byte("same")))
	at, empty := time.UnixMilli(1_700_000_000_000), ""
	for _, sides := range [][2]any{ // two spellings of one value are no change
		{nil, []byte(nil)},
		{sql.NullString{}, (*string)(nil)},
		{"x", []byte("x")},
		{[]byte("x"), sql.NullString{String: "x", Valid: true}},
		{at, at.UTC()},
		{1, int64(1)},
		{&empty, ""},
		{[]string{"a"}, []string{"a"}},
	} {
		require.NoError(t, change("email", sides[0], sides[1]), "%v", sides)
	}
	require.NoError(t, change("language", nil, sql.RawBytes(nil)))
	for _, sides := range [][2]any{
		{[]byte("x"), []byte("y")},
		{nil, []byte("y")},
		{[]byte("x"), nil},
		{"", nil},
		{[]byte(nil), []byte{}},
		{1, "1"},
		{1, true},
		{at, "x"},
		{at, at.Add(1)},
		{struct{}{}, struct{}{}}, // nobody can tell
	} {
		err = change("email", sides[0], sides[1])
		var denied *accesscontrol.Denied
		require.ErrorAs(t, err, &denied)
		require.Equal(t, accesscontrol.HiddenField, denied.Reason)
		require.Equal(t, []string{"email"}, denied.Fields)
		require.Equal(t, "accesscontrol: denied: contact.update on contact: hidden_field: email", err.Error())
	}
}

// What is created is a change from nothing: a field that is hidden in the
// record that comes to be cannot be set.
func TestHiddenFieldsCannotBeCreated(t *testing.T) {
	config := crmConfig()
	config.Texts["clerk.cedar"] = `@id("clerk") permit (principal in Role::"clerk", action in [Action::"contact.read", Action::"contact.create"], resource is Contact);`
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	create := func(attrs map[string]any) error {
		return policy.CheckChange(t.Context(), crmUser("clerk", "cal"), accesscontrol.Resource{}, accesscontrol.Resource{Type: "contact", ID: "new", Tenant: "main", Attrs: attrs})
	}
	require.NoError(t, create(map[string]any{"owner": "cal", "language": "de"}))
	require.NoError(t, create(map[string]any{"owner": "cal", "email": nil, "phone": []byte(nil)}))
	denied, is := errors.AsType[*accesscontrol.Denied](create(map[string]any{"owner": "cal", "phone": []byte("x"), "email": []byte("evil@b.example")}))
	require.True(t, is)
	require.Equal(t, []string{"email", "phone"}, denied.Fields)
	require.Equal(t, "accesscontrol: denied: contact.create on contact: hidden_field: email, phone", denied.Error())
}

// A field is readable where it is declared, and nowhere else: neither a
// misspelt group nor a new attribute shows what nobody decided about.
func TestFieldsAreAnAllowList(t *testing.T) {
	config := crmConfig()
	config.Tables[0].Groups[0].Fields = []string{"first_name", "e_mail", "phone"}
	require.Equal(t, []string{"table contact: group pii names the field e_mail, which no column declares: the field that is meant would be readable"}, problems(t, config))

	config = crmConfig()
	schema := config.Texts["crm.cedarschema"]
	config.Texts["crm.cedarschema"] = strings.Replace(schema, "language?: String,", "language?: String, salary?: Long,", 1)
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	fields, err := policy.Fields(t.Context(), crmPeople()["manager"], accesscontrol.Resource{Type: "contact", ID: "c", Tenant: "main", Attrs: map[string]any{"owner": "ann", "country": "DE"}})
	require.NoError(t, err)
	require.Equal(t, accesscontrol.Writable, fields["email"])
	require.Equal(t, accesscontrol.Hidden, fields["salary"])

	config.Texts["crm.cedarschema"] = strings.Replace(schema, "language?: String,", "language?: String, salary: Long,", 1)
	require.Equal(t, []string{"table contact: attribute salary is required and has no column: no row could be asked about"}, problems(t, config))
}
