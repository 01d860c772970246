package audit_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
)

// The cursor of an entry that Event returned is one like any other: pages go on
// behind it, wherever the event is.
func TestPagesGoOnBehindAnEvent(t *testing.T) {
	eachAsker(t, func(t *testing.T, a *asker) {
		for range 5 {
			a.tell(audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export"})
			a.advance(time.Second)
		}
		before := []string{a.told[2].ID, a.told[1].ID, a.told[0].ID}
		for _, then := range []func(){func() {}, a.lag, a.run} {
			then()
			e, err := a.trail.Event(t.Context(), a.told[3].ID)
			require.NoError(t, err)
			for range 2 {
				var ids []string
				for page := (audit.Page{Size: 2, Before: e.Cursor}); ; {
					found := a.find(audit.Filter{Tenant: "main"}, page)
					for _, e := range found.Entries {
						ids = append(ids, e.Leaf.ID)
					}
					if page.Before = found.Next; found.Next == "" {
						break
					}
				}
				require.Equal(t, before, ids)
				found := a.find(audit.Filter{Tenant: "main"}, audit.Page{})
				require.Equal(t, e.Leaf.ID, found.Entries[1].Leaf.ID)
				e = found.Entries[1] // and the same of one of a page
			}
		}
	})
}

// However many events come while pages are shown, of those that waited on the first
// page none is missing.
func TestNewEventsPushNothingOffThePages(t *testing.T) {
	eachAsker(t, func(t *testing.T, a *asker) {
		for range 60 {
			a.tell(audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export"})
			a.advance(time.Second)
		}
		found := a.find(audit.Filter{Tenant: "main"}, audit.Page{})
		require.Len(t, found.Entries, 50)
		tx, err := a.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		for range 1100 {
			_, err := a.trail.Record(t.Context(), tx, audit.Event{Tenant: "main", Actor: "u-2", Action: "contact.export"})
			require.NoError(t, err)
		}
		require.NoError(t, tx.Commit())
		rest := a.find(audit.Filter{Tenant: "main"}, audit.Page{Before: found.Next})
		require.Len(t, rest.Entries, 10)
		require.Equal(t, a.told[0].ID, rest.Entries[9].Leaf.ID)
		a.run()
		rest = a.find(audit.Filter{Tenant: "main", Actor: "u-1"}, audit.Page{Before: found.Next})
		require.Len(t, rest.Entries, 10, "filed by now")
	})
}

// To takes whatever is before it, to the nanosecond, and no time is too far away to
// be asked for.
func TestFromAndToLoseNothing(t *testing.T) {
	eachAsker(t, func(t *testing.T, a *asker) {
		a.tell(audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export"})
		for range 2 {
			for name, f := range map[string]audit.Filter{
				"a nanosecond later":   {To: may.Add(time.Nanosecond)},
				"a microsecond later":  {To: may.Add(time.Microsecond)},
				"the end of all time":  {To: time.Unix(1<<62, 0)},
				"from long ago":        {From: time.Unix(-1<<55, 0)},
				"from all time to all": {From: time.Unix(-1<<62, 0), To: time.Unix(1<<62, 999)},
				"from its microsecond": {From: may.Add(time.Nanosecond)},
			} {
				f.Tenant = "main"
				require.Len(t, a.find(f, audit.Page{}).Entries, 1, name)
			}
			for name, f := range map[string]audit.Filter{
				"to it":              {To: may},
				"from behind it":     {From: may.Add(time.Microsecond)},
				"the end of time on": {From: time.Unix(1<<62, 0)},
				"before all time":    {To: time.Unix(-1<<62, 0)},
			} {
				f.Tenant = "main"
				require.Empty(t, a.find(f, audit.Page{}).Entries, name)
			}
			a.run()
		}
	})
}

// An export counts what it could not look at once, however many pages it has.
func TestAnExportCountsWhatItLacksOnce(t *testing.T) {
	a := withConfig(t, func(*audit.Config) {})
	for range 3 {
		a.tell(audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export"})
	}
	a.run()
	for range 1500 {
		a.tell(audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export"})
	}
	a.exec(`UPDATE crmguard_audit_events SET body = ? WHERE seq = (SELECT MAX(seq) FROM crmguard_audit_events)`, []byte("\x01 nothing"))
	var out strings.Builder
	x, err := a.trail.Export(t.Context(), &out, audit.Filter{Tenant: "main"})
	require.NoError(t, err)
	require.Equal(t, audit.Exported{Entries: 3 + 999, Rows: 3 + 999, Pending: 500, Damaged: 1}, x)
}

// An export says, as Find does, that surrogates may be the person's
// whose person nobody knows since a restore.
func TestAnExportSaysWhatIsUnmapped(t *testing.T) {
	a := withConfig(t, func(*audit.Config) {})
	a.tell(audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export", Object: audit.PersonRef("contact", "p1")})
	a.run()
	a.exec(`UPDATE crmguard_audit_surrogates SET person = NULL, head = NULL, state = 2 WHERE person = 'p1'`)
	found, err := a.trail.Find(t.Context(), audit.Filter{Tenant: "main", Person: "p1"}, audit.Page{})
	require.NoError(t, err)
	require.EqualValues(t, 1, found.Unmapped)
	var out strings.Builder
	x, err := a.trail.Export(t.Context(), &out, audit.Filter{Tenant: "main", Person: "p1"})
	require.NoError(t, err)
	require.Equal(t, audit.Exported{Unmapped: 1}, x)
	for range a.trail.History(t.Context(), "main", audit.About("p1"), audit.Page{}) {
		t.Fatal("what may never be anybody's again is no error of each history")
	}
}

// A question about nobody is none about everybody.
func TestAboutNobodyIsRefused(t *testing.T) {
	a := withConfig(t, func(*audit.Config) {})
	a.tell(audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export", Object: audit.PersonRef("contact", "p1")})
	for _, of := range []audit.Object{audit.About(""), audit.Ref("deal", ""), audit.PersonRef("contact", "")} {
		_, err := a.trail.Find(t.Context(), audit.Filter{Tenant: "main", Object: of}, audit.Page{})
		require.ErrorIs(t, err, audit.ErrInvalid)
		var out strings.Builder
		_, err = a.trail.Export(t.Context(), &out, audit.Filter{Tenant: "main", Object: of})
		require.ErrorIs(t, err, audit.ErrInvalid)
		require.Empty(t, out.String())
		for _, err := range a.trail.History(t.Context(), "main", of, audit.Page{}) {
			require.ErrorIs(t, err, audit.ErrInvalid)
		}
	}
}

// writes calls a func when it is written to.
type writes func()

func (w writes) Write(p []byte) (int, error) { w(); return len(p), nil }

// An export whose context has ended does not wait for a database for ever.
func TestAnExportEndsSoonAfterItsContext(t *testing.T) {
	a := withConfig(t, func(c *audit.Config) {
		c.From = func(context.Context) audit.Caller { return audit.Caller{Tenant: "main", Actor: "u-7"} }
	})
	a.tell(audit.Event{Action: "contact.export"})
	a.db.SetMaxOpenConns(1)
	ctx, cancel := context.WithCancel(t.Context())
	var held *sql.Conn
	_, err := a.trail.Export(ctx, writes(func() {
		if held == nil { // as another part of the application may take it
			var err error
			held, err = a.db.Conn(t.Context())
			require.NoError(t, err)
			cancel()
		}
	}), audit.Filter{})
	require.Error(t, err)
	require.NoError(t, held.Close())
	var ids []string
	for e, err := range a.trail.History(t.Context(), "", audit.Ref("deal", "7"), audit.Page{}) {
		require.NoError(t, err)
		ids = append(ids, e.Leaf.ID)
	}
	require.Empty(t, ids, "the connection is free again")
}

// Where the context says whose tenant it is, no question is answered about another
// one; where it names none, as an operator's does, each is.
func TestNoQuestionLeavesItsTenant(t *testing.T) {
	mine, asked := "main", 0
	a := withConfig(t, func(c *audit.Config) {
		c.From = func(context.Context) audit.Caller { return audit.Caller{Tenant: mine, Actor: "u-7"} }
		c.Allow = func(context.Context, string, string) error { asked++; return nil }
	})
	id := a.tell(audit.Event{Tenant: "other", Action: "contact.export", Object: audit.PersonRef("contact", "p1")})
	_, err := a.trail.Event(t.Context(), id)
	require.ErrorIs(t, err, audit.ErrNotFound)
	of := audit.Filter{Tenant: "other", Person: "p1"}
	_, err = a.trail.Find(t.Context(), of, audit.Page{})
	require.ErrorIs(t, err, audit.ErrInvalid)
	var out strings.Builder
	_, err = a.trail.Export(t.Context(), &out, of)
	require.ErrorIs(t, err, audit.ErrInvalid)
	require.Empty(t, out.String())
	for _, err := range a.trail.History(t.Context(), "other", audit.About("p1"), audit.Page{}) {
		require.ErrorIs(t, err, audit.ErrInvalid)
	}
	require.Zero(t, asked, "Allow cannot tell tenants apart, and is not asked to")
	mine = ""
	require.Len(t, a.find(of, audit.Page{}).Entries, 1)
	require.Equal(t, 1, asked)
}
