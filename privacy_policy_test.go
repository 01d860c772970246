package crmguard_test

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// deskPolicy says who may order what at the desk. Find fetches no row: what a
// hold, a plan or a person is about, the desk knows.
func deskPolicy(t *testing.T) *accesscontrol.Policy {
	t.Helper()
	policy, err := accesscontrol.Load(t.Context(), accesscontrol.Config{
		Texts: map[string]string{
			"desk.cedarschema": `entity Role; entity User in [Role]; entity Desk; entity Person; entity Hold; entity Plan;
				action "privacy.plan", "privacy.approve", "privacy.cancel", "privacy.execute", "privacy.hold", "privacy.export" appliesTo { principal: User, resource: Person };
				action "privacy.lift" appliesTo { principal: User, resource: Hold };
				action "privacy.void" appliesTo { principal: User, resource: Plan };
				action "privacy.unsuppress", "privacy.open_anyway" appliesTo { principal: User, resource: Desk };`,
			"desk.cedar": `@id("officer") permit (principal in Role::"officer", action, resource);
				@id("clerk") permit (principal in Role::"clerk", action == Action::"privacy.plan", resource);`,
		},
		Tables: []accesscontrol.Table{
			{Resource: "privacy", Entity: "Desk"}, {Resource: "person", Entity: "Person"}, {Resource: "hold", Entity: "Hold"}, {Resource: "plan", Entity: "Plan"},
		},
		Find: func(_ context.Context, tenant, kind, id string) (accesscontrol.Resource, error) {
			return accesscontrol.Resource{Type: kind, ID: id, Tenant: tenant}, nil
		},
	})
	require.NoError(t, err)
	return policy
}

// A policy of accesscontrol answers whatever the desk asks, by the roles that
// whoever acts has at that moment.
func TestAPolicySaysWhoMayOrderAtTheDesk(t *testing.T) {
	ctx, dir, person := t.Context(), t.TempDir(), "p/1"
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "crm.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=secure_delete(1)")
	require.NoError(t, err)
	defer db.Close()
	_, err = db.ExecContext(ctx, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT, name TEXT, created INTEGER) STRICT;
		CREATE INDEX contacts_person ON contacts (person); INSERT INTO contacts VALUES ('c1', 'p/1', 'Ann Example', 0)`)
	require.NoError(t, err)
	require.NoError(t, privacy.Install(ctx, db))
	secret := filepath.Join(dir, "secret")
	require.NoError(t, erasurelog.NewKeysFile(secret))
	keys, err := erasurelog.KeysFile(secret)
	require.NoError(t, err)
	ledger, err := erasurelog.In(filepath.Join(dir, "ledger"), keys)
	require.NoError(t, err)
	require.NoError(t, ledger.Create(ctx))
	_, certKey, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)

	role := "nobody"
	asked := map[string]string{}
	allow := deskPolicy(t).Allower(func(context.Context) (accesscontrol.Principal, error) {
		return accesscontrol.Principal{Tenant: "main", ID: "u-1", Parents: []accesscontrol.Ref{{Type: "Role", ID: role}}}, nil
	})
	desk, err := privacy.Open(ctx, privacy.Config{
		DB: db, Ledger: ledger, Sign: certKey, Delay: privacy.None, Lease: privacy.None,
		Map: &datamap.Map{Tenant: "main", Tables: []datamap.Table{{
			Name: "contacts", Key: []string{"id"}, Person: "person", Created: "created", Erase: datamap.Delete,
			Columns: []datamap.Column{{Name: "name", Category: "contact.name", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract"}},
		}}},
		Allow: func(ctx context.Context, action, resource string) error {
			err := allow(ctx, action, resource)
			asked[action] = resource
			return err
		},
	})
	require.NoError(t, err)
	require.NoError(t, desk.Ready(ctx))

	request := privacy.Request{Tenant: "main", Person: person, Reason: "gdpr-17", By: "user/1"}
	hold := privacy.LegalHold{Tenant: "main", Person: person, By: "user/1", Because: "case:1"}
	var plan *privacy.Plan
	var held string
	for _, order := range []struct {
		action, resource string
		roles            []string
		call             func() error
	}{
		{"privacy.plan", "person/p/1", []string{"nobody", "clerk"}, func() (err error) { plan, err = desk.PlanErasure(ctx, request); return err }},
		{"privacy.hold", "person/p/1", []string{"clerk", "officer"}, func() (err error) { held, err = desk.Hold(ctx, hold); return err }},
		{"privacy.lift", "", []string{"clerk", "officer"}, func() error { return desk.Lift(ctx, "main", held, "user/1") }},
		{"privacy.approve", "person/p/1", []string{"clerk", "officer"}, func() error { return desk.Approve(ctx, plan.ID, "user/2") }},
		{"privacy.open_anyway", "privacy", []string{"clerk", "officer"}, func() error {
			err := desk.OpenAnyway(ctx, privacy.Opening{By: "user/1", Approved: "user/2", Because: "incident:1", Until: time.Now().Add(time.Minute), Tenant: "main"})
			if errors.Is(err, privacy.ErrOpening) { // it may be ordered, and the gate is open
				return nil
			}
			return err
		}},
		{"privacy.execute", "person/p/1", []string{"clerk", "officer"}, func() error { _, err := desk.Execute(ctx, plan.ID); return err }},
	} {
		role = order.roles[0]
		require.ErrorIs(t, order.call(), accesscontrol.ErrDenied, "%s by %s", order.action, role)
		role = order.roles[1]
		require.NoError(t, order.call(), "%s by %s", order.action, role)
		if order.resource != "" {
			require.Equal(t, order.resource, asked[order.action])
		}
	}
	require.Equal(t, "hold/"+held, asked["privacy.lift"])
	var left int
	require.NoError(t, db.QueryRowContext(ctx, `SELECT count(*) FROM contacts`).Scan(&left))
	require.Zero(t, left)
}
