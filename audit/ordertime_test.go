package audit_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/internal/testdb"
)

const tenYears = 10 * 365 * 24 * time.Hour

func (a *asker) verified() {
	a.t.Helper()
	report, err := a.trail.VerifyStore(a.t.Context(), nil)
	require.NoError(a.t, err)
	require.Equal(a.t, auditlog.Unanchored, report.Verdict, "%v", report.Faults)
}

// One clock that is off hides nothing, whoever's it is: that of who recorded, of the
// sequencer, or of who asks.
func TestNoClockAloneHidesAnEvent(t *testing.T) {
	eachAsker(t, func(t *testing.T, a *asker) {
		e := audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export"}
		ask := audit.Filter{Tenant: "main", From: may.Add(-24 * time.Hour), To: may.Add(24 * time.Hour)}
		a.tell(e)
		a.run()
		n := 1
		for _, off := range []time.Duration{-tenYears, tenYears, time.Hour, -time.Hour, -40 * 24 * time.Hour, 40 * 24 * time.Hour} {
			a.tell(e)
			n++
			require.Len(t, a.find(ask, audit.Page{}).Entries, n, "recorded")
			a.advance(off)
			require.Len(t, a.find(ask, audit.Page{}).Entries, n, "who asks is off by %v", off)
			a.run()
			a.advance(-off)
			require.Len(t, a.find(ask, audit.Page{}).Entries, n, "the sequencer was off by %v", off)
			a.run() // a beat of the right time
			a.advance(off)
			a.tell(e)
			a.advance(-off)
			n++
			if off.Abs() < 24*time.Hour || off > 0 { // one of forty days ago may be one of forty days ago
				require.Len(t, a.find(ask, audit.Page{}).Entries, n, "who recorded was off by %v", off)
			} else {
				n = len(a.find(ask, audit.Page{}).Entries)
			}
			a.run()
			require.Len(t, a.find(ask, audit.Page{}).Entries, n, "filed")
		}
		a.verified()
		for _, e := range a.find(audit.Filter{Tenant: "main"}, audit.Page{Size: 1000}).Entries {
			again, err := a.trail.Event(t.Context(), e.Leaf.ID)
			require.NoError(t, err)
			require.Equal(t, e.At, again.At)
		}
	})
}

// What waited for longer than a month, because nothing was filed, is found when it
// happened.
func TestAnOutageOfTwoMonthsIsToldAsItWas(t *testing.T) {
	eachAsker(t, func(t *testing.T, a *asker) {
		e := audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export"}
		a.tell(e)
		a.run()
		for range 3 {
			a.advance(10 * 24 * time.Hour)
			a.tell(e)
		}
		a.advance(60 * 24 * time.Hour)
		ask := audit.Filter{Tenant: "main", From: may, To: may.AddDate(0, 1, 0)}
		waits := a.find(ask, audit.Page{}).Entries
		require.Len(t, waits, 4)
		a.run()
		filed := a.find(ask, audit.Page{}).Entries
		require.Len(t, filed, 4)
		for i := range filed {
			require.Equal(t, waits[i].At, filed[i].At)
			require.Equal(t, filed[i].Leaf.At, filed[i].At)
		}
		a.verified()
	})
}

// An answer about May is the same before a restore and after it, however long that
// takes: what was filed when it happened stands where it did, and what was filed
// late there, too, to the minute. From and To bound Entry.At.
func TestARestoreMovesNothingToAnotherMonth(t *testing.T) {
	for _, name := range testdb.Names() {
		t.Run(string(name), func(t *testing.T) {
			a := newAsker(t, testdb.New(t, name).Open(t))
			e := audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export"}
			a.tell(e)
			a.run()
			old := a.db
			fresh := func() *sql.DB { return testdb.New(t, name).Open(t) }
			a.advance(24 * time.Hour)
			a.tell(e) // on the second of May
			a.run()
			for range 40 {
				a.advance(24 * time.Hour)
				a.tell(audit.Event{Tenant: "main", Actor: "u-2", Action: "contact.read"})
				a.run()
			}
			a.advance(-80 * 24 * time.Hour)
			a.tell(e) // by a clock that is months behind
			a.advance(80 * 24 * time.Hour)
			a.run()
			a.tell(audit.Event{Tenant: "main", Actor: "u-2", Action: "contact.read"})
			a.advance(2 * time.Minute)
			a.run()
			months := []audit.Filter{
				{Tenant: "main", Action: "contact.export", From: may.AddDate(0, -3, 0), To: may},
				{Tenant: "main", Action: "contact.export", From: may, To: may.AddDate(0, 1, 0)},
				{Tenant: "main", Action: "contact.export", From: may.AddDate(0, 1, 0), To: may.AddDate(0, 2, 0)},
			}
			var want [][]audit.Entry
			for _, f := range months {
				want = append(want, a.find(f, audit.Page{}).Entries)
			}
			require.Equal(t, []int{0, 2, 1}, []int{len(want[0]), len(want[1]), len(want[2])})

			a.db = fresh()
			require.NotEqual(t, old, a.db)
			require.NoError(t, sqltrail.Install(t.Context(), a.db))
			a.open()
			a.advance(40 * 24 * time.Hour)
			require.NoError(t, a.trail.CatchUp(t.Context()))
			a.run()
			for i, f := range months {
				found := a.find(f, audit.Page{}).Entries
				require.Len(t, found, len(want[i]))
				for n, e := range found {
					require.Equal(t, want[i][n].Leaf.ID, e.Leaf.ID)
					require.WithinDuration(t, want[i][n].At, e.At, 5*time.Minute)
					require.False(t, e.At.Before(f.From) || !e.At.Before(f.To))
					again, err := a.trail.Event(t.Context(), e.Leaf.ID)
					require.NoError(t, err)
					require.Equal(t, e.At, again.At)
				}
			}
			a.verified()
		})
	}
}
