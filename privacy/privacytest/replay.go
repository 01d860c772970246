package privacytest

import (
	"slices"
	"testing"
	"time"

	"github.com/crmguard/crmguard/privacy/datastore"
)

// comesBack: what is written between an erasure and its read-back, or brought
// back by a restore, is found by whoever looks.
func comesBack(t *testing.T, f Fixture) {
	t.Helper()
	f.Plant(t, f.Tenants[0], one)
	rows := f.found(t, f.Tenants[0], one)
	f.Plant(t, f.Tenants[0], other)
	before := len(f.found(t, f.Tenants[0], other))
	if err := f.Store.Erase(t.Context(), f.scope(), rows); err != nil {
		t.Fatalf("Erase: %v", err)
	}
	if n := f.left(t, nil); n != 0 {
		t.Errorf("%d rows are left after Erase of the rows found before", n)
	}
	if n := len(f.found(t, f.Tenants[0], other)); n != before {
		t.Errorf("Erase of the rows of one person left %d rows of %d of another", n, before)
	}
	f.Plant(t, f.Tenants[0], one)
	if n := f.left(t, rows); n == 0 {
		t.Error("Remaining found nothing of what came behind the erasure: an outcome would be Done")
	}
	if err := f.Store.Erase(t.Context(), f.scope(), rows); err != nil {
		t.Fatalf("Erase: %v", err)
	}
	if n := f.left(t, rows); n != 0 {
		t.Errorf("%d rows that came behind an erasure are left after the next", n)
	}
}

// newer: a replay takes what was there when the person was erased, and not what
// has come to them since.
func newer(t *testing.T, f Fixture) {
	t.Helper()
	f.Plant(t, f.Tenants[0], one)
	rows := f.found(t, f.Tenants[0], one)
	if len(rows) == 0 || slices.ContainsFunc(rows, func(r datastore.Row) bool { return r.Created.IsZero() }) {
		return // when they came nobody knows
	}
	first, last := rows[0].Created, rows[0].Created
	for _, r := range rows {
		if r.Created.Before(first) {
			first = r.Created
		}
		if r.Created.After(last) {
			last = r.Created
		}
	}
	scope := f.scope()
	scope.Before = first
	if err := f.Store.Erase(t.Context(), scope, nil); err != nil {
		t.Fatalf("Erase of what was there before: %v", err)
	}
	if n := len(f.found(t, f.Tenants[0], one)); n != len(rows) {
		t.Errorf("Erase left %d rows of %d that were all created at Scope.Before or later", n, len(rows))
	}
	if n, err := f.Store.Remaining(t.Context(), scope, nil); n != 0 || err != nil {
		t.Errorf("Remaining counts %d rows that were created later (%v)", n, err)
	}
	scope.Before = last.Add(time.Second)
	if err := f.Store.Erase(t.Context(), scope, nil); err != nil {
		t.Fatalf("Erase of what was there before: %v", err)
	}
	if n := f.left(t, rows); n != 0 {
		t.Errorf("%d rows are left that were created before Scope.Before", n)
	}
}
