package crmguard_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/accesscontrol/roles"
)

// rolesOfContacts are roles over the table contacts.
func rolesOfContacts() *roles.Set {
	return try(roles.New(roles.Model{
		Tables: []accesscontrol.Table{{
			Resource: "contact", Entity: "Contact", Name: "contacts", Key: "id", Tenant: "tenant",
			Columns: []accesscontrol.Column{{Attr: "person", Required: true}, {Attr: "city", Required: true}},
		}},
		Roles: map[string]roles.Role{"own": roles.Can("contact.read").Own("person"), "branch": roles.Can("contact.read").Unit("city").Inherits("own")},
	}))
}

func opensRoles(ctx context.Context, db *sql.DB) error {
	_, err := roles.Open(ctx, db, rolesOfContacts(), roles.Options{})
	return err
}

// everyVerbOfRoles calls each verb of the store of roles.
func everyVerbOfRoles(*testing.T) func(ctx context.Context, db *sql.DB) error {
	return func(ctx context.Context, db *sql.DB) error {
		store, err := roles.Open(ctx, db, rolesOfContacts(), roles.Options{MaxAge: -1})
		if err != nil {
			return err
		}
		bern := roles.Assignment{Tenant: "main", Principal: "ann", Role: "branch", Scope: roles.Everywhere(), MayGive: true}
		steps := []func() error{
			func() error { return store.Bootstrap(ctx, bern) },
			func() error {
				return store.Define(ctx, roles.Definition{Tenant: "main", Role: "team", Inherits: []string{"branch"}, By: "ann"})
			},
			func() error { bern.Principal, bern.By = "bob", "ann"; return store.Assign(ctx, bern) },
			func() error { _, err := store.Principal(ctx, "main", "bob"); return err },
			func() error { _, err := store.RolesOf(ctx, "main", "bob"); return err },
			func() error { _, err := store.WhoHas(ctx, "main", "own"); return err },
			func() error { _, err := store.Revoke(ctx, bern); return err },
			func() error { return store.Undefine(ctx, "main", "team") },
			func() error { _, err := store.Dismiss(ctx, "main", "ann"); return err },
		}
		for _, step := range steps {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	}
}

// rolesOnSQL gives a role and lists by it.
func rolesOnSQL(t *testing.T, db *sql.DB, count func(accesscontrol.Where) int) {
	t.Helper()
	ctx, set := t.Context(), rolesOfContacts()
	policy := try(accesscontrol.Load(ctx, set.Config()))
	require.NoError(t, policy.CheckSchema(ctx, db))
	require.NoError(t, roles.Install(ctx, db))
	require.NoError(t, everyVerbOfRoles(t)(ctx, db))
	store := try(roles.Open(ctx, db, set, roles.Options{}))
	for who, role := range map[string]roles.Scope{"ann": roles.InUnit("Bern"), "bob": roles.InUnit("Basel")} {
		require.NoError(t, store.Bootstrap(ctx, roles.Assignment{Tenant: "main", Principal: who, Role: "branch", Scope: role}))
	}
	for who, want := range map[string]int{"ann": 1, "bob": 0, "eve": 0} {
		require.Equal(t, want, count(try(policy.Filter(ctx, try(store.Principal(ctx, "main", who)), "contact.read", "contact"))), who)
	}
}
