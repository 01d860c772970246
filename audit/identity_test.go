package audit_test

import (
	"database/sql"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/sqltrail"
)

// Deal 17 and person 17 have one id by chance: neither has the other's history,
// and erasing the person leaves the deal's as it is.
func TestADealAndAPersonOfOneIdAreTwo(t *testing.T) {
	b := newBench(t)
	deal := audit.Event{
		Tenant: "main", Actor: "u-1", Action: "deal.update", Object: audit.Ref("deal", "17"), Persons: []string{"17"},
		Changes: []audit.Change{{Path: "stage", Old: "lead", New: "won"}},
	}
	alone := deal
	alone.Persons = nil
	for _, e := range []audit.Event{deal, alone, update("17", 1)} {
		b.record(e)
	}
	b.run()
	histories := func() (of [4]int) {
		for i, o := range []audit.Object{audit.Ref("deal", "17"), audit.PersonRef("deal", "17"), audit.PersonRef("contact", "17"), audit.About("17")} {
			of[i] = len(b.history(o))
		}
		return of
	}
	require.Equal(t, [4]int{2, 0, 1, 2}, histories())
	require.Empty(t, b.history(audit.Ref("contact", "17")), "an object of that id is none")
	require.Equal(t, "17", b.leaves()[0].Object.ID)
	require.False(t, b.leaves()[0].Object.Person)

	require.NoError(t, b.trail.Erase(t.Context(), "main", "17"))
	b.run()
	require.Equal(t, [4]int{2, 0, 0, 0}, histories())
	past := b.history(audit.Ref("deal", "17"))[0]
	require.Equal(t, "won", past.Changes[0].New, "what is about nobody was not erased")
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)

	// The surrogate in the log is no id that anybody may ask for.
	surrogate := b.leaves()[2].Object.ID
	for _, of := range []audit.Object{audit.Ref("contact", surrogate), audit.PersonRef("contact", surrogate), audit.About(surrogate)} {
		for _, err := range b.trail.History(t.Context(), "main", of, audit.Page{}) {
			require.ErrorIs(t, err, audit.ErrInvalid)
		}
	}
}

// A retry that names the person where the first attempt named the object is
// another event.
func TestARetryTellsObjectsFromPersons(t *testing.T) {
	b := newBench(t)
	id, err := audit.NewID()
	require.NoError(t, err)
	first := audit.Event{ID: id, Tenant: "main", Actor: "u-1", Action: "deal.update", Object: audit.Ref("deal", "17"), Persons: []string{"17"}}
	b.record(first)
	b.record(first)
	first.Object = audit.PersonRef("deal", "17")
	err = b.sale(first)
	require.ErrorIs(t, err, audit.ErrConflict)
}

// Where the kinds of persons are declared, no id of one comes into the log by
// mistake, whatever the ids are.
func TestPersonKindsAreNamedByPersonRefOnly(t *testing.T) {
	b := newBench(t)
	b.config.PersonKinds = []string{"contact"}
	b.open()
	note := func(o audit.Object) error {
		return only(b.trail.Note(t.Context(), audit.Event{Tenant: "main", Actor: "u", Action: "a.b", Object: o, Persons: []string{"ann.smith"}}))
	}
	require.NoError(t, note(audit.PersonRef("contact", "ann.smith")))
	require.NoError(t, note(audit.Ref("deal", "17")))
	require.NoError(t, note(audit.Object{}))
	for want, o := range map[string]audit.Object{"Ref would show the id": audit.Ref("contact", "ann.smith"), "none of Config.PersonKinds": audit.PersonRef("deal", "17")} {
		err := note(o)
		require.ErrorIs(t, err, audit.ErrInvalid)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "ann")
		for _, err := range b.trail.History(t.Context(), "main", o, audit.Page{}) {
			require.ErrorIs(t, err, audit.ErrInvalid, "nor is there a history of it to ask for")
		}
	}
	require.NoError(t, b.trail.Noter("u")(t.Context(), "main", "contact.read", slog.String("object", "contact/ann.smith")))
	require.NoError(t, b.in(func(tx *sql.Tx) error {
		return b.trail.Recorder("u")(t.Context(), tx, "main", "contact.read", slog.String("object", "contact/ann.smith"))
	}))
	b.run()
	require.Len(t, b.history(audit.PersonRef("contact", "ann.smith")), 3)
	for name, file := range b.sink.FS() {
		require.NotContains(t, string(file.Data), "ann.smith", name)
	}
	b.config.PersonKinds = []string{"a contact"}
	store, err := sqltrail.Open(t.Context(), b.db)
	require.NoError(t, err)
	_, err = audit.Open(t.Context(), store, b.config)
	require.ErrorIs(t, err, audit.ErrInvalid)
}
