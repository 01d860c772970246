package roles_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol/roles"
)

// people gives roles to people of both tenants, and takes some away again.
func (w *roleWorld) people(t *testing.T, store *roles.Store) {
	t.Helper()
	ctx := t.Context()
	for _, tenant := range w.tenants {
		w.defined[tenant] = map[string][]string{}
		give := func(by, who, role string, scope roles.Scope) roles.Assignment {
			return roles.Assignment{Tenant: tenant, Principal: who, Role: role, Scope: scope, By: by}
		}
		for _, role := range w.names { // the boss may give everything
			a := give("", "boss", role, roles.Scope{})
			if a.MayGive = true; len(w.scopesOf(tenant, role)) > 0 {
				a.Scope = roles.Everywhere()
			}
			require.NoError(t, store.Bootstrap(ctx, a))
			w.held[person{tenant, "boss"}] = append(w.held[person{tenant, "boss"}], roles.Grant{Role: role, Scope: a.Scope})
		}
		names := slices.Clone(w.names)
		if w.IntN(2) == 0 {
			d := roles.Definition{Tenant: tenant, Role: "own role", Inherits: []string{pickOf(w.Rand, w.names)}, By: "boss"}
			if more := pickOf(w.Rand, w.names); more != d.Inherits[0] {
				d.Inherits = append(d.Inherits, more)
			}
			require.NoError(t, store.Define(ctx, d))
			w.defined[tenant][d.Role], names = d.Inherits, append(names, d.Role)
		}
		taken := map[roles.Assignment]bool{}
		for range 22 {
			role := pickOf(w.Rand, names)
			scope := roles.Scope{}
			if kinds := w.scopesOf(tenant, role); len(kinds) > 0 {
				scope = roles.Everywhere()
				if w.IntN(5) > 0 {
					var err error
					scope, err = roles.ParseScope(pickOf(w.Rand, kinds) + pickOf(w.Rand, w.ids))
					require.NoError(t, err)
				}
			}
			a := give("boss", pickOf(w.Rand, w.ids), role, scope)
			if taken[a] {
				continue
			}
			taken[a] = true
			w.assign(t, store, a)
		}
	}
}

// assign gives a role, for a time that is over or has not come now and then, or
// revokes it again.
func (w *roleWorld) assign(t *testing.T, store *roles.Store, a roles.Assignment) {
	t.Helper()
	fate := w.IntN(16)
	switch fate {
	case 0:
		a.NotAfter = time.Now().Add(-time.Hour)
	case 1:
		a.NotBefore = time.Now().Add(time.Hour)
	case 2:
		a.NotBefore, a.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	err := store.Assign(t.Context(), a)
	if w.defined[a.Tenant][a.Role] != nil { // which the boss does not hold
		var e *roles.RefusedError
		require.True(t, errors.As(err, &e) && e.Rule == roles.NotTheirs, "%v", err)
		a.By = ""
		err = store.Bootstrap(t.Context(), a)
	}
	require.NoError(t, err)
	who := person{a.Tenant, a.Principal}
	switch fate {
	case 0, 1:
	case 3, 4:
		a.By = a.Principal
		removed, err := store.Revoke(t.Context(), a)
		require.NoError(t, err)
		require.Len(t, removed, 1)
	case 5:
		_, err := store.Dismiss(t.Context(), a.Tenant, a.Principal)
		require.NoError(t, err)
		delete(w.held, who)
	default:
		w.held[who] = append(w.held[who], roles.Grant{Role: a.Role, Scope: a.Scope})
	}
}
