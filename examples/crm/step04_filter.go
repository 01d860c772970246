package main

import (
	"context"
	"embed"
	"errors"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol"
)

//go:embed policy.cedar policy.cedarschema
var policyFiles embed.FS

// policyConfig binds the policy to the tables. Fields that identify a person
// take an action of their own.
func policyConfig() accesscontrol.Config {
	var columns []accesscontrol.Column
	for _, name := range sealedFields() {
		columns = append(columns, accesscontrol.Column{Attr: name, Opaque: true})
	}
	columns = append(
		columns,
		accesscontrol.Column{Attr: "owner", Required: true}, accesscontrol.Column{Attr: "region", Required: true},
		accesscontrol.Column{Attr: "country"}, accesscontrol.Column{Attr: "hold"},
		accesscontrol.Column{Attr: "account"}, accesscontrol.Column{Attr: "language"},
	)
	return accesscontrol.Config{
		Files: policyFiles,
		Tables: []accesscontrol.Table{{
			Resource: "contact", Entity: "Contact", Name: "contacts", Key: "id", Tenant: "tenant", Columns: columns,
			Read: "contact.read", Create: "contact.create", Update: "contact.update", Delete: "contact.delete",
			Groups: []accesscontrol.Group{{Name: "personal details", Action: "contact.read.pii", Fields: sealedFields()}},
		}},
	}
}

// principal is a user as the policy sees them.
func principal(u user) accesscontrol.Principal {
	return accesscontrol.Principal{
		Tenant: tenant, ID: u.id, Attrs: map[string]any{"region": u.region},
		Parents: []accesscontrol.Ref{{Type: "Role", ID: u.role}},
	}
}

// accessResource is a contact as the policy sees it.
func (row *contact) accessResource() accesscontrol.Resource {
	attrs := map[string]any{"owner": row.owner, "region": row.region}
	if row.country.Valid {
		attrs["country"] = row.country.String
	}
	if row.hold.Valid {
		attrs["hold"] = row.hold.Int64
	}
	if row.account.Valid {
		attrs["account"] = row.account.String
	}
	if row.language.Valid {
		attrs["language"] = row.language.String
	}
	return accesscontrol.Resource{Type: "contact", ID: row.id, Tenant: tenant, Attrs: attrs}
}

// whoSeesWhat asks one policy in two ways, row by row and as SQL, for one user
// of each role: the answers must be the same rows.
func whoSeesWhat(ctx context.Context, c *crm) error {
	if err := c.policy.CheckSchema(ctx, c.live.db); err != nil {
		return err
	}
	var asked []*question
	for _, u := range onePerRole() {
		bySQL, where, err := c.visibleBySQL(ctx, u)
		if err != nil {
			return err
		}
		if strings.Contains(where, c.people[0].id) {
			return expectThat(false, "a filter without row ids", "one in the SQL for %s", u.role)
		}
		asked = append(asked, &question{user: u, bySQL: bySQL})
	}
	// For most contacts nobody has looked whether they are under a legal hold,
	// and some have no country: NULL is where filters and checks usually part.
	rows := 0
	var example *contact
	for page, err := range contactPages(ctx, c.live.db) {
		if err != nil {
			return err
		}
		for _, row := range page {
			for _, q := range asked {
				if err := q.check(ctx, c.policy, row); err != nil {
					return err
				}
			}
			if example == nil || example.region != "west" {
				example = row
			}
		}
		rows += len(page)
		c.out.progress("contacts checked,", rows, len(c.people))
	}
	differences := 0
	for _, q := range asked {
		differences += q.differences
		c.out.say("  %-9s sees %5s of %s contacts, by checks and by SQL", q.user.role, thousands(q.seen), thousands(rows))
	}
	c.figures["comparisons"], c.figures["differences"] = rows*len(asked), differences
	if c.source.survey.countries == 0 {
		c.partNotShown("filter", "country", "no country in the file: of the auditor's rule on countries only the case without one was compared")
	}
	if err := expect("differences between checks and filter", 0, differences); err != nil {
		return err
	}
	return c.showOneRecord(ctx, example)
}

// question is who asks, and what came of it.
type question struct {
	user              user
	bySQL             map[string]bool
	seen, differences int
}

// check asks for one row, and compares with what SQL said.
func (q *question) check(ctx context.Context, policy *accesscontrol.Policy, row *contact) error {
	err := policy.Check(ctx, principal(q.user), "contact.read", row.accessResource())
	if err != nil && !errors.Is(err, accesscontrol.ErrDenied) {
		return err
	}
	if err == nil {
		q.seen++
	}
	if (err == nil) != q.bySQL[row.id] {
		q.differences++
	}
	return nil
}

// onePerRole is the first user of each role.
func onePerRole() []user {
	var out []user
	seen := map[string]bool{}
	for _, u := range users() {
		if !seen[u.role] {
			seen[u.role] = true
			out = append(out, u)
		}
	}
	return out
}

// visibleBySQL lets the database answer: one query, values only as arguments.
func (c *crm) visibleBySQL(ctx context.Context, u user) (visible map[string]bool, text string, err error) {
	filter, err := c.policy.Filter(ctx, principal(u), "contact.read", "contact")
	if err != nil {
		return nil, "", err
	}
	text, args := filter.SQLite("c")
	rows, err := c.live.db.QueryContext(ctx, `SELECT c.id FROM contacts AS c WHERE `+text, args...)
	if err != nil {
		return nil, "", err
	}
	defer rows.Close()
	visible = map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, "", err
		}
		visible[id] = true
	}
	return visible, text, rows.Err()
}

func visibility(v accesscontrol.Visibility) string {
	if v >= accesscontrol.Readable {
		return "readable"
	}
	return "hidden"
}

// showOneRecord shows one record as two roles see it, and one refusal with
// its reason.
func (c *crm) showOneRecord(ctx context.Context, row *contact) error {
	fields := map[string]accesscontrol.Fields{}
	for _, u := range onePerRole() {
		visible, err := c.policy.Fields(ctx, principal(u), row.accessResource())
		if err != nil {
			return err
		}
		fields[u.role] = visible
	}
	c.out.say("one record, side by side:")
	c.out.say("  %-12s %-10s %-10s %-10s", "field", "manager", "support", "outsider")
	for _, name := range []string{"country", "region", "first_name", "email", "phone", "street"} {
		c.out.say("  %-12s %-10s %-10s %-10s", name, visibility(fields["manager"][name]), visibility(fields["support"][name]), visibility(fields["outsider"][name]))
	}
	outsider := onePerRole()[len(onePerRole())-1]
	err := c.policy.Check(ctx, principal(outsider), "contact.read", row.accessResource())
	denied, ok := errors.AsType[*accesscontrol.Denied](err)
	if err := expectThat(ok, "a refusal with its reason for an outsider", "%v", err); err != nil {
		return err
	}
	c.out.say("an outsider asks for it: %s", denied.Reason)
	return nil
}
