// Package privacytest judges implementations of datastore.Store.
//
// It promises that a store which passes [Run] finds, exports, erases and reads
// back what was planted, again and again, for one person and one tenant at a
// time, by the rows found before and by a fresh search; that where its rows have a
// creation time it leaves what is newer than a scope alone; and of a datastore.Transactional, that several persons go at once, or
// nobody, and that a rehearsal leaves nothing behind. It does not judge speed,
// nor places that the store does not report.
//
// Call [Run] from a test of the store; each subtest opens a fresh one. The
// stores of one run are used by one goroutine. There are no errors: each
// failure names the broken rule. Stability: settling.
package privacytest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/crmguard/crmguard/privacy/datastore"
)

// Fixture is a fresh, empty store and the way to put data into it.
type Fixture struct {
	Store datastore.Store
	// Tenants are two tenants that the store knows; a store of one tenant
	// leaves the second empty.
	Tenants [2]string
	// Plant puts at least one record about the person into the store.
	Plant func(t *testing.T, tenant, person string)
	// Silent says that the store gives nothing out: keys, indexes, a cache.
	Silent bool
}

// Run judges a store.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	t.Helper()
	for name, rule := range map[string]func(*testing.T, Fixture){
		"name": name, "empty": empty, "find": find, "export": export, "erase": erase, "again": again, "comes back": comesBack, "newer": newer, "tenants": tenants, "people": people, "keeper": keeper,
		"last step": lastStep, "several": several, "rehearsal": rehearsal,
	} {
		t.Run(name, func(t *testing.T) { rule(t, open(t)) })
	}
}

const one, other = "01900000-0000-7000-8000-000000000001", "01900000-0000-7000-8000-000000000002"

func (f Fixture) scope() datastore.Scope {
	return datastore.Scope{Tenant: f.Tenants[0], Person: one}
}

func (f Fixture) found(t *testing.T, tenant, person string) []datastore.Row {
	t.Helper()
	rows, err := f.Store.Find(t.Context(), datastore.Scope{Tenant: tenant, Person: person})
	if err != nil {
		t.Fatalf("Find: %v", err)
	}
	return rows
}

func (f Fixture) left(t *testing.T, rows []datastore.Row) int {
	t.Helper()
	n, err := f.Store.Remaining(t.Context(), f.scope(), rows)
	if err != nil {
		t.Fatalf("Remaining: %v", err)
	}
	return n
}

func name(t *testing.T, f Fixture) {
	t.Helper()
	first := f.Store.Name()
	if second := f.Store.Name(); first == "" || second != first {
		t.Error("Name must be a constant that is not empty: outcomes and plans refer to it")
	}
}

func empty(t *testing.T, f Fixture) {
	t.Helper()
	if rows := f.found(t, f.Tenants[0], one); len(rows) != 0 {
		t.Errorf("Find in an empty store gave %d rows", len(rows))
	}
	if err := f.Store.Erase(t.Context(), f.scope(), nil); err != nil {
		t.Errorf("Erase of nothing gave %v; erasing what is gone is no error", err)
	}
	if n := f.left(t, nil); n != 0 {
		t.Errorf("Remaining in an empty store gave %d", n)
	}
}

func find(t *testing.T, f Fixture) {
	t.Helper()
	f.Plant(t, f.Tenants[0], one)
	rows := f.found(t, f.Tenants[0], one)
	if len(rows) == 0 {
		t.Fatal("Find did not find what was planted")
	}
	for _, r := range rows {
		switch r.Class {
		case datastore.Deleted, datastore.Shredded, datastore.Pseudonymised, datastore.Redacted:
		case datastore.Kept:
			if r.Because == "" || r.Until.IsZero() {
				t.Errorf("a row of table %q is kept for no obligation, or for ever: a certificate says why and until when", r.Table)
			}
		default:
			t.Errorf("a row of table %q has the class %q, which no certificate knows", r.Table, r.Class)
		}
		if r.Table == "" {
			t.Error("a row without table: plans and certificates name it")
		}
	}
	if n := f.left(t, rows); n == 0 {
		t.Error("Remaining found nothing before the erasure: a read-back that cannot find proves nothing")
	}
	if n := f.left(t, nil); n == 0 {
		t.Error("Remaining without rows found nothing before the erasure: it must search anew, too")
	}
	if rows := f.found(t, f.Tenants[0], other); len(rows) != 0 {
		t.Error("Find gave rows of another person")
	}
}

func export(t *testing.T, f Fixture) {
	t.Helper()
	f.Plant(t, f.Tenants[0], one)
	exported := func() (records int) {
		t.Helper()
		for record, err := range f.Store.Export(t.Context(), f.scope()) {
			if err != nil {
				t.Fatalf("Export: %v", err)
			}
			if records++; record.Table == "" {
				t.Error("a record without table")
			}
		}
		return records
	}
	before := exported()
	if before == 0 && !f.Silent {
		t.Error("Export gave nothing of what was planted; where a store has nothing to give, say Silent")
	}
	for _, err := range f.Store.Export(t.Context(), datastore.Scope{Tenant: f.Tenants[0], Person: other}) {
		t.Errorf("Export gave a record of another person, or the error %v", err)
	}
	for _, err := range f.Store.Export(t.Context(), datastore.Scope{Tenant: f.Tenants[0], Person: one}) {
		if err != nil {
			t.Errorf("Export again gave %v", err)
		}
		break // a sequence may be left early
	}
	f.Plant(t, f.Tenants[0], other)
	if n := exported(); n != before {
		t.Errorf("Export gave %d records, and %d where another person has some, too", before, n)
	}
	goes := !slices.ContainsFunc(f.found(t, f.Tenants[0], one), func(r datastore.Row) bool { return r.Class != datastore.Deleted })
	if err := f.Store.Erase(t.Context(), f.scope(), nil); err != nil {
		t.Fatalf("Erase: %v", err)
	}
	if n := exported(); goes && n > 0 {
		t.Errorf("Export gave %d records of somebody whose rows are all deleted", n)
	}
}

func erase(t *testing.T, f Fixture) {
	t.Helper()
	f.Plant(t, f.Tenants[0], one)
	f.Plant(t, f.Tenants[0], other)
	rows := f.found(t, f.Tenants[0], one)
	before := len(f.found(t, f.Tenants[0], other))
	if err := f.Store.Erase(t.Context(), f.scope(), nil); err != nil {
		t.Fatalf("Erase: %v", err)
	}
	if n := f.left(t, rows); n != 0 {
		t.Errorf("%d rows are left after Erase", n)
	}
	if n := len(f.found(t, f.Tenants[0], other)); n != before {
		t.Errorf("Erase of one person left %d rows of %d of another", n, before)
	}
}

func again(t *testing.T, f Fixture) {
	t.Helper()
	f.Plant(t, f.Tenants[0], one)
	for range 3 {
		if err := f.Store.Erase(t.Context(), f.scope(), nil); err != nil {
			t.Fatalf("Erase again gave %v; it must be idempotent", err)
		}
	}
	if n := f.left(t, nil); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

func tenants(t *testing.T, f Fixture) {
	t.Helper()
	if f.Tenants[1] == "" {
		f.Plant(t, f.Tenants[0], one)
		if rows := f.found(t, "another tenant", one); len(rows) != 0 {
			t.Error("Find gave rows to a tenant that the store does not know")
		}
		return
	}
	f.Plant(t, f.Tenants[0], one)
	f.Plant(t, f.Tenants[1], one) // equal ids in two tenants are two persons
	before := len(f.found(t, f.Tenants[1], one))
	if err := f.Store.Erase(t.Context(), f.scope(), nil); err != nil {
		t.Fatalf("Erase: %v", err)
	}
	if n := len(f.found(t, f.Tenants[1], one)); n != before {
		t.Errorf("Erase in one tenant left %d rows of %d in the other", n, before)
	}
}

func people(t *testing.T, f Fixture) {
	t.Helper()
	lister, ok := f.Store.(datastore.People)
	if !ok {
		return // optional
	}
	f.Plant(t, f.Tenants[0], one)
	f.Plant(t, f.Tenants[0], other)
	seen := map[datastore.Person]bool{}
	for p, err := range lister.People(t.Context()) {
		if err != nil {
			t.Fatalf("People: %v", err)
		}
		seen[p] = true
	}
	for _, id := range []string{one, other} {
		if !seen[datastore.Person{Tenant: f.Tenants[0], ID: id}] {
			t.Error("People left a person out: a replay would not find them")
		}
	}
	for _, err := range lister.People(t.Context()) {
		if err != nil {
			t.Errorf("People again gave %v", err)
		}
		break // a sequence may be left early
	}
}

func keeper(t *testing.T, f Fixture) {
	t.Helper()
	keeper, ok := f.Store.(datastore.Keeper)
	if !ok {
		return // optional
	}
	missing := func(rows []datastore.Row) int {
		t.Helper()
		list, err := keeper.Missing(t.Context(), f.scope(), rows)
		if err != nil {
			t.Fatalf("Missing: %v", err)
		}
		return len(list)
	}
	f.Plant(t, f.Tenants[0], one)
	var gone []datastore.Row
	rows := f.found(t, f.Tenants[0], one)
	for _, r := range rows {
		if r.Class == datastore.Deleted {
			gone = append(gone, r)
		}
	}
	if n := missing(rows); n != 0 {
		t.Errorf("Missing named %d rows of %d that are there", n, len(rows))
	}
	if err := f.Store.Erase(t.Context(), f.scope(), nil); err != nil {
		t.Fatalf("Erase: %v", err)
	}
	if n := missing(gone); n != len(gone) {
		t.Errorf("Missing named %d rows of %d that are deleted: a kept row that is lost would be certified", n, len(gone))
	}
}

func lastStep(t *testing.T, f Fixture) {
	t.Helper()
	store, ok := f.Store.(datastore.Transactional)
	if !ok {
		return // optional
	}
	f.Plant(t, f.Tenants[0], one)
	rows := f.found(t, f.Tenants[0], one)
	broken := errors.New("privacytest: the last step failed")
	scopes := []datastore.Scope{f.scope()}
	if err := store.EraseIn(t.Context(), scopes, func(context.Context, datastore.Tx, []datastore.Row) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("EraseIn gave %v; the error of the last step must come out", err)
	}
	if n := len(f.found(t, f.Tenants[0], one)); n != len(rows) {
		t.Errorf("%d rows of %d are there after a last step that failed; it takes everything back", n, len(rows))
	}
	told := 0
	err := store.EraseIn(t.Context(), scopes, func(_ context.Context, _ datastore.Tx, found []datastore.Row) error {
		told = len(found)
		return nil
	})
	if err != nil || told < len(rows) {
		t.Errorf("EraseIn gave %v and told its last step of %d rows of %d", err, told, len(rows))
	}
	if n := f.left(t, rows); n != 0 {
		t.Errorf("%d rows are left after EraseIn", n)
	}
}

func several(t *testing.T, f Fixture) {
	t.Helper()
	store, ok := f.Store.(datastore.Transactional)
	if !ok {
		return // optional
	}
	f.Plant(t, f.Tenants[0], one)
	f.Plant(t, f.Tenants[0], other)
	both := []datastore.Scope{f.scope(), {Tenant: f.Tenants[0], Person: other}}
	rows, err := store.FindAll(t.Context(), both)
	if err != nil {
		t.Fatalf("FindAll: %v", err)
	}
	for _, scope := range both {
		n := 0
		for _, r := range rows {
			if r.Person == scope.Person {
				n++
			}
		}
		if single := len(f.found(t, scope.Tenant, scope.Person)); n != single {
			t.Errorf("FindAll gave %d rows of a person of whom Find gives %d", n, single)
		}
	}
	if err := store.EraseIn(t.Context(), both, nil); err != nil {
		t.Fatalf("EraseIn of two: %v", err)
	}
	rows, err = store.FindAll(t.Context(), both)
	for _, r := range rows {
		if !r.Clean {
			t.Errorf("a row of table %s is left after EraseIn of two", r.Table)
		}
	}
	if err != nil {
		t.Fatalf("FindAll: %v", err)
	}
}

func rehearsal(t *testing.T, f Fixture) {
	t.Helper()
	store, ok := f.Store.(datastore.Transactional)
	if !ok {
		return // optional
	}
	f.Plant(t, f.Tenants[0], one)
	before := f.found(t, f.Tenants[0], one)
	rehearsed, err := store.Rehearse(t.Context(), []datastore.Scope{f.scope()})
	if err != nil {
		t.Fatalf("Rehearse: %v", err)
	}
	if len(rehearsed) != len(before) {
		t.Errorf("Rehearse answered %d rows of %d that Find locates", len(rehearsed), len(before))
	}
	after := f.found(t, f.Tenants[0], one)
	if len(after) != len(before) {
		t.Fatalf("%d rows of %d are there after a rehearsal", len(after), len(before))
	}
	for i := range after {
		if after[i] != before[i] {
			t.Errorf("a rehearsal changed a row of table %s", after[i].Table)
		}
	}
}
