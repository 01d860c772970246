package audit_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/sqltrail"
)

// What looks like a name or an address never becomes an actor or an object id:
// both stay in the log for ever.
func TestNamesAndAddressesAreNoIds(t *testing.T) {
	b := newBench(t)
	for _, id := range []string{"Ann Lee <ann@x.example>", "ann@x.example", "Ann Lee", "Ann\u00a0Lee", "李\u3000安", "ann\n", "a\x7fb", "<ann", "ann>"} {
		err := only(b.trail.Note(t.Context(), audit.Event{Tenant: "main", Actor: id, Action: "a.b"}))
		require.ErrorIs(t, err, audit.ErrInvalid, id)
		require.ErrorContains(t, err, "Actor is an opaque id, never a name or an address: it stays in the log for ever")
		require.NotContains(t, err.Error(), "x.example")
		err = b.trail.Noter(id)(t.Context(), "main", "a.b")
		require.ErrorIs(t, err, audit.ErrInvalid, id)
		err = only(b.trail.Note(t.Context(), audit.Event{Tenant: "main", Actor: "u", Action: "a.b", Object: audit.Ref("deal", id)}))
		require.ErrorIs(t, err, audit.ErrInvalid, id)
		require.ErrorContains(t, err, "Object.ID is an opaque id")
		// Where the id is a person's the log has the surrogate only.
		require.NoError(t, only(b.trail.Note(t.Context(), audit.Event{Tenant: "main", Actor: "u", Action: "a.b", Object: audit.PersonRef("contact", id)})))
		// An object is a person by PersonRef, not by an id that is also a person's.
		err = only(b.trail.Note(t.Context(), audit.Event{Tenant: "main", Actor: "u", Action: "a.b", Object: audit.Ref("contact", id), Persons: []string{id}}))
		require.ErrorIs(t, err, audit.ErrInvalid, id)
	}
	for _, id := range []string{"u-7", "crmguard/audit", "plan/019aaaaa-0000-7000-8000-000000000001", "0/12", "team:7", "员工-7"} {
		require.NoError(t, only(b.trail.Note(t.Context(), audit.Event{Tenant: "main", Actor: id, Action: "a.b", Object: audit.Ref("entries", id)})))
	}
	b.run()
	for _, l := range b.leaves() {
		require.NotContains(t, l.Actor+l.Object.ID, "Ann")
		require.NotContains(t, l.Actor+l.Object.ID, "ann")
	}
}

func TestSecureDeleteIsDemanded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "crm.db")
	db, err := sql.Open("sqlite", "file:"+file)
	require.NoError(t, err)
	defer db.Close()
	require.ErrorIs(t, sqltrail.Install(t.Context(), db), sqltrail.ErrSecureDelete)
	good := openDB(t, file)
	require.NoError(t, sqltrail.Install(t.Context(), good))
	_, err = sqltrail.Open(t.Context(), db)
	require.ErrorIs(t, err, sqltrail.ErrSecureDelete)
	require.ErrorContains(t, err, "secure_delete(1)")
	require.NoError(t, db.Close())
	_, err = sqltrail.Open(t.Context(), db)
	require.Error(t, err)
	require.ErrorContains(t, sqltrail.Install(t.Context(), nil), "no database")
}

// Each refusal says which member it is about.
func TestEventErrorsNameTheMember(t *testing.T) {
	b := newBench(t)
	for want, change := range map[string]func(e *audit.Event){
		"ID is no event id":         func(e *audit.Event) { e.ID = "1" },
		"For is no event id":        func(e *audit.Event) { e.For = "1" },
		"Prior is no event id":      func(e *audit.Event) { e.Prior = "1" },
		"change 2: Path is empty":   func(e *audit.Event) { e.Changes = []audit.Change{{Path: "x"}, {}} },
		"change 1: Who is reserved": func(e *audit.Event) { e.Changes = []audit.Change{{Path: "x", Who: "s:x"}} },
		"Object.Kind is":            func(e *audit.Event) { e.Object = audit.Ref("", "1") },
		"Object.ID is empty":        func(e *audit.Event) { e.Object = audit.Ref("deal", "") },
	} {
		e := audit.Event{Tenant: "main", Actor: "u", Action: "a.b"}
		change(&e)
		err := only(b.trail.Note(t.Context(), e))
		require.ErrorIs(t, err, audit.ErrInvalid)
		require.ErrorContains(t, err, want)
	}
}
