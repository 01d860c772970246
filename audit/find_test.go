package audit_test

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/internal/testdb"
)

// asker is a trail on one of the four databases, and all that was recorded in it.
type asker struct {
	t      testing.TB
	db     *sql.DB
	trail  *audit.Trail
	config audit.Config
	clock  atomic.Int64
	told   []told
}

// told is an event as a test knows it.
type told struct {
	audit.Event
	at time.Time
}

var may = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)

func newAsker(t testing.TB, db *sql.DB) *asker {
	t.Helper()
	a := &asker{t: t, db: db}
	a.clock.Store(may.UnixMicro())
	key, _, err := audit.GenerateKey("crm.example/audit", 0)
	require.NoError(t, err)
	a.config = audit.Config{
		Name: "crm.example/audit", Tenant: "main", Key: key, Sink: &audittest.Sink{}, Keys: audittest.NewKeys(),
		Fields: map[string][]string{"contact": {"email", "stage"}}, PersonKinds: []string{"contact"},
		Now: func() time.Time { return time.UnixMicro(a.clock.Load()) },
	}
	require.NoError(t, sqltrail.Install(t.Context(), db))
	a.open()
	return a
}

func (a *asker) open() {
	a.t.Helper()
	store, err := sqltrail.Open(a.t.Context(), a.db)
	require.NoError(a.t, err)
	a.trail, err = audit.Open(a.t.Context(), store, a.config)
	require.NoError(a.t, err)
}

func eachAsker(t *testing.T, f func(t *testing.T, a *asker)) {
	t.Helper()
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) { f(t, newAsker(t, d.OpenWith(t, driver))) })
}

func (a *asker) exec(query string, args ...any) {
	a.t.Helper()
	_, err := a.db.ExecContext(a.t.Context(), a.trail.Dialect().Bind(query), args...)
	require.NoError(a.t, err)
}

func (a *asker) advance(d time.Duration) { a.clock.Add(d.Microseconds()) }

func (a *asker) tell(e audit.Event) string {
	a.t.Helper()
	id, err := a.trail.Note(a.t.Context(), e)
	require.NoError(a.t, err)
	e.ID, e.Outcome = id, cmp.Or(e.Outcome, audit.OutcomeOK)
	a.told = append(a.told, told{e, time.UnixMicro(a.clock.Load()).UTC()})
	return id
}

// any tells of something, and not always lets time pass.
func (a *asker) any(r *rand.Rand) {
	a.t.Helper()
	person := fmt.Sprintf("p%d", r.IntN(3))
	e := audit.Event{
		Tenant: []string{"main", "main", "other"}[r.IntN(3)], Actor: fmt.Sprintf("u-%d", r.IntN(3)),
		Action: []string{"contact.update", "contact.export"}[r.IntN(2)], Outcome: []string{"", audit.OutcomeAllowed, audit.OutcomeDenied, audit.OutcomeFailed}[r.IntN(4)],
	}
	switch r.IntN(4) {
	case 0:
		e.Object = audit.PersonRef("contact", person)
		e.Changes = audit.Diff(person, nil, map[string]any{"email": person + "@canary.example"})
	case 1:
		e.Object, e.Persons = audit.Ref("deal", fmt.Sprint(r.IntN(2))), []string{person, "p9"}
	case 2:
		e.Object = audit.Ref("deal", person) // which is no person
	}
	a.tell(e)
	if r.IntN(2) == 0 {
		a.advance(time.Duration(r.IntN(3)) * time.Hour)
	}
}

// anyFilter is a question about anything.
func anyFilter(r *rand.Rand) audit.Filter {
	f := audit.Filter{Tenant: []string{"main", "other"}[r.IntN(2)]}
	some := func(set func()) {
		if r.IntN(3) == 0 {
			set()
		}
	}
	some(func() { f.Actor = fmt.Sprintf("u-%d", r.IntN(4)) })
	some(func() { f.Action = []string{"contact.update", "contact.export", "contact"}[r.IntN(3)] })
	some(func() {
		f.Outcome = []string{audit.OutcomeOK, audit.OutcomeAllowed, audit.OutcomeDenied, audit.OutcomeFailed, audit.OutcomePartial}[r.IntN(5)]
	})
	some(func() { f.Person = []string{"p0", "p1", "p9", "stranger"}[r.IntN(4)] })
	some(func() {
		f.Object = []audit.Object{audit.PersonRef("contact", "p1"), audit.Ref("deal", "1"), audit.Ref("deal", "p1")}[r.IntN(3)]
	})
	some(func() { f.From = may.Add(time.Duration(r.IntN(72)) * time.Hour) })
	some(func() { f.To = may.Add(time.Duration(73+r.IntN(72)) * time.Hour) })
	return f
}

func (e told) is(f *audit.Filter) bool {
	return e.Tenant == f.Tenant && (f.Actor == "" || e.Actor == f.Actor) && (f.Action == "" || e.Action == f.Action) &&
		(f.Outcome == "" && (f.Action == "" || e.Outcome != audit.OutcomeAllowed) || e.Outcome == f.Outcome && f.Outcome != "") && (f.Object == (audit.Object{}) || e.Object == f.Object) &&
		(f.Person == "" || slices.Contains(people(e.Event), f.Person)) &&
		(f.From.IsZero() || !e.at.Before(f.From)) && (f.To.IsZero() || e.at.Before(f.To))
}

// want are the ids of what a question is about.
func (a *asker) want(f audit.Filter) (ids []string) {
	for _, e := range a.told {
		if e.is(&f) {
			ids = append(ids, e.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func (a *asker) find(f audit.Filter, p audit.Page) audit.Found {
	a.t.Helper()
	found, err := a.trail.Find(a.t.Context(), f, p)
	require.NoError(a.t, err)
	require.LessOrEqual(a.t, len(found.Entries), cmp.Or(p.Size, 50))
	require.Zero(a.t, found.Behind)
	require.Zero(a.t, found.Pending)
	require.Zero(a.t, found.Damaged)
	return found
}

// all reads the pages of an answer, and checks their order. between is called
// between them.
func (a *asker) all(f audit.Filter, size int, between func()) (ids []string) {
	a.t.Helper()
	var last *audit.Entry
	for page := (audit.Page{Size: size}); ; {
		found := a.find(f, page)
		for i := range found.Entries {
			e := &found.Entries[i]
			ids = append(ids, e.Leaf.ID)
			for _, c := range e.Changes {
				require.Equal(a.t, audit.OpeningOK, c.Verdict)
				require.Equal(a.t, e.Persons[e.Leaf.Object.ID]+"@canary.example", c.New)
			}
			if last != nil && last.Index >= 0 && e.Index >= 0 {
				require.False(a.t, e.At.After(last.At), "newest first")
			}
			last = e
		}
		if found.Next == "" {
			break
		}
		page.Before = found.Next
		between()
	}
	return ids
}

func (a *asker) run() {
	a.t.Helper()
	_, err := a.trail.RunOnce(a.t.Context())
	require.NoError(a.t, err)
}

// lag files what waits while its indexes cannot be written.
func (a *asker) lag() {
	a.t.Helper()
	a.exec(`ALTER TABLE crmguard_audit_found RENAME TO elsewhere`)
	_, err := a.trail.RunOnce(a.t.Context())
	require.Error(a.t, err)
	a.exec(`ALTER TABLE elsewhere RENAME TO crmguard_audit_found`)
}

// Every question is answered as somebody would who has read all events, wherever
// they are on their way into the log, and in pages of any size.
func TestFindAnswersAnyQuestion(t *testing.T) {
	eachAsker(t, func(t *testing.T, a *asker) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, then := range []func(){func() {}, a.run, a.lag, a.run} {
			for range 20 {
				a.any(r)
			}
			then()
			for range 8 {
				a.any(r)
			}
			for range 25 {
				f := anyFilter(r)
				ids := a.all(f, 1+r.IntN(7), func() {})
				slices.Sort(ids)
				require.Equal(t, a.want(f), ids, "%+v", f)
			}
		}
	})
}

// Pages go on while events are recorded and filed: none of those that the first
// page could show stands in the answer twice, and none is missing.
func TestPagesStayWhileTheLogGrows(t *testing.T) {
	eachAsker(t, func(t *testing.T, a *asker) {
		r := rand.New(rand.NewPCG(3, 4))
		for range 30 {
			a.any(r)
		}
		a.run()
		for round := range 6 {
			for range 15 { // that wait when the first page is made, and are filed while they are shown
				a.any(r)
			}
			f := audit.Filter{Tenant: "main"}
			if round%2 == 1 {
				f.Actor = "u-1"
			}
			want, pages := a.want(f), 0
			ids := a.all(f, 1+r.IntN(2), func() {
				a.any(r)
				if pages++; pages == 1+round/2 || r.IntN(4) == 0 {
					a.run()
				}
			})
			slices.Sort(ids)
			require.Len(t, slices.Compact(slices.Clone(ids)), len(ids), "none twice")
			for _, id := range want {
				require.Contains(t, ids, id, "none missing")
			}
		}
	})
}

// What was recorded by a clock that is years off is found when it was filed, and
// what waited for a week when it happened.
func TestAClockThatIsOffHidesNothing(t *testing.T) {
	eachAsker(t, func(t *testing.T, a *asker) {
		f := audit.Filter{Tenant: "main", Action: "contact.export", From: may, To: may.AddDate(0, 1, 0)}
		e := audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export"}
		for _, off := range []time.Duration{10 * 365 * 24 * time.Hour, -10 * 365 * 24 * time.Hour} {
			a.advance(off)
			a.tell(e)
			a.advance(-off)
			require.Len(t, a.find(f, audit.Page{}).Entries, 1+max(0, len(a.told)-1), "while it waits")
		}
		a.tell(e)
		a.advance(7 * 24 * time.Hour)
		a.run()
		found := a.find(f, audit.Page{}).Entries
		require.Len(t, found, 3)
		require.Equal(t, a.told[2].ID, found[2].Leaf.ID, "the oldest")
		require.Equal(t, may, found[2].At)
		require.Equal(t, may.AddDate(0, 0, 7), found[0].At)
		f.From, f.To = may, may.AddDate(0, 0, 7)
		require.Len(t, a.find(f, audit.Page{}).Entries, 1, "To is not within")
	})
}

// Two values whose keys are one are told apart by the leaf, and pages go on behind
// them.
func TestKeysThatCollideAreToldApart(t *testing.T) {
	eachAsker(t, func(t *testing.T, a *asker) {
		for n := range 12 {
			a.tell(audit.Event{Tenant: "main", Actor: fmt.Sprintf("u-%d", n%2), Action: "contact.read"})
			a.advance(time.Second)
		}
		a.run()
		a.exec(`UPDATE crmguard_audit_found SET actor_k = ? WHERE actor_k = ?`, audit.FindKey("actor", "main", "u-0"), audit.FindKey("actor", "main", "u-1"))
		f := audit.Filter{Tenant: "main", Actor: "u-0"}
		for _, size := range []int{1, 2, 5, 50} {
			ids := a.all(f, size, func() {})
			slices.Sort(ids)
			require.Equal(t, a.want(f), ids)
		}
		n := 0
		for e, err := range a.trail.History(t.Context(), "main", audit.Ref("deal", "1"), audit.Page{}) {
			require.NoError(t, err)
			n += len(e.Changes) + 1
		}
		require.Zero(t, n)
	})
}

// What was recorded about somebody who turned out to be another person is found
// under that person, however many they were.
func TestFindFollowsMerges(t *testing.T) {
	eachAsker(t, func(t *testing.T, a *asker) {
		for n := range 20 {
			person := fmt.Sprintf("p%d", n)
			e := audit.Event{
				Tenant: "main", Actor: "u-1", Action: "contact.update", Object: audit.PersonRef("contact", person), Persons: []string{"p0"},
				Changes: audit.Diff(person, nil, map[string]any{"email": person + "@canary.example"}),
			}
			a.tell(e)
			a.advance(time.Minute)
		}
		a.run()
		require.Len(t, a.all(audit.Filter{Tenant: "main", Object: audit.PersonRef("contact", "p0")}, 3, func() {}), 1)
		for n := 1; n < 20; n++ { // from a range each to more than sixteen
			require.NoError(t, a.trail.Merge(t.Context(), "main", fmt.Sprintf("p%d", n), "p0"))
			if n%6 != 1 {
				continue
			}
			a.run()
			f := audit.Filter{Tenant: "main", Object: audit.PersonRef("contact", "p0")}
			require.Len(t, a.all(f, 3, func() {}), n+1)
			require.Len(t, a.all(audit.Filter{Tenant: "main", Person: "p0", Action: "contact.update"}, 7, func() {}), 20, "each once, although it names two of them")
			require.Len(t, a.all(audit.Filter{Tenant: "main", Person: "p0", Object: f.Object}, 7, func() {}), n+1)
			require.Len(t, a.all(audit.Filter{Tenant: "main", Person: "p0"}, 9, func() {}), 20+n, "and the merges")
		}
	})
}

// An entry that went with retention leaves its cursor usable.
func TestACursorOutlivesItsEntry(t *testing.T) {
	eachAsker(t, func(t *testing.T, a *asker) {
		for range 10 {
			a.tell(audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.read"})
			a.advance(time.Second)
		}
		a.run()
		f := audit.Filter{Tenant: "main"}
		next := a.find(f, audit.Page{Size: 5})
		for _, table := range []string{"entries", "found"} {
			a.exec(`DELETE FROM crmguard_audit_`+table+` WHERE idx IN (?, ?)`, 5, 4)
		}
		require.Len(t, a.find(f, audit.Page{Size: 5, Before: next.Next}).Entries, 4)
		require.Len(t, a.find(f, audit.Page{Size: 5, Before: next.Entries[4].Cursor}).Entries, 4)
	})
}

func TestFindRefusesWhatCannotBeAsked(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	b.run()
	for name, ask := range map[string]func() (audit.Filter, audit.Page){
		"no tenant": func() (audit.Filter, audit.Page) { return audit.Filter{}, audit.Page{} },
		"no kind": func() (audit.Filter, audit.Page) {
			return audit.Filter{Tenant: "main", Object: audit.Object{ID: "x"}}, audit.Page{}
		},
		"no id": func() (audit.Filter, audit.Page) {
			return audit.Filter{Tenant: "main", Object: audit.Ref("deal", "")}, audit.Page{}
		},
		"two persons": func() (audit.Filter, audit.Page) {
			return audit.Filter{Tenant: "main", Object: audit.About("a"), Person: "b"}, audit.Page{}
		},
		"surrogate": func() (audit.Filter, audit.Page) {
			return audit.Filter{Tenant: "main", Person: b.leaves()[0].Persons[0]}, audit.Page{}
		},
		"outcome": func() (audit.Filter, audit.Page) { return audit.Filter{Tenant: "main", Outcome: "fine"}, audit.Page{} },
		"empty range": func() (audit.Filter, audit.Page) {
			return audit.Filter{Tenant: "main", From: may, To: may}, audit.Page{}
		},
		"size":       func() (audit.Filter, audit.Page) { return audit.Filter{Tenant: "main"}, audit.Page{Size: 1001} },
		"size below": func() (audit.Filter, audit.Page) { return audit.Filter{Tenant: "main"}, audit.Page{Size: -1} },
		"cursor":     func() (audit.Filter, audit.Page) { return audit.Filter{Tenant: "main"}, audit.Page{Before: "x"} },
		"cursor of bytes": func() (audit.Filter, audit.Page) {
			return audit.Filter{Tenant: "main"}, audit.Page{Before: "AQAAAAAAAAAAAA"}
		},
		"cursor below": func() (audit.Filter, audit.Page) {
			return audit.Filter{Tenant: "main"}, audit.Page{Before: "AQD_________________________________"}
		},
	} {
		f, p := ask()
		found, err := b.trail.Find(t.Context(), f, p)
		require.ErrorIs(t, err, audit.ErrInvalid, name)
		require.Empty(t, found)
	}
	b.config.From = func(ctx) audit.Caller { return audit.Caller{Tenant: "main"} }
	b.open()
	found, err := b.trail.Find(t.Context(), audit.Filter{}, audit.Page{})
	require.NoError(t, err)
	require.Len(t, found.Entries, 3)
}

var errNo = errors.New("no")

func TestAllowIsAskedOnceAPage(t *testing.T) {
	b := newBench(t)
	b.fill(5)
	b.run()
	var asked []string
	b.config.Allow = func(_ ctx, action, resource string) error {
		asked = append(asked, action+" "+resource)
		if resource == "deal/7" {
			return errNo
		}
		return nil
	}
	b.open()
	for _, f := range []audit.Filter{{Actor: "u-1"}, {Person: "p1"}, {Object: audit.PersonRef("contact", "p1")}} {
		f.Tenant = "main"
		found, err := b.trail.Find(t.Context(), f, audit.Page{})
		require.NoError(t, err)
		require.NotEmpty(t, found.Entries)
	}
	found, err := b.trail.Find(t.Context(), audit.Filter{Tenant: "main", Object: audit.Ref("deal", "7")}, audit.Page{})
	require.ErrorIs(t, err, errNo)
	require.Empty(t, found)
	require.Equal(t, []string{"audit.read audit", "audit.read person/p1", "audit.read contact/p1", "audit.read deal/7"}, asked)
}

// An entry that somebody damaged keeps no other one from being shown, and is counted.
func TestADamagedEntryHidesNoOther(t *testing.T) {
	b := newBench(t)
	b.fill(5)
	b.run()
	b.rewriteEntry(2, `"v":1`, `"v":9`)
	found, err := b.trail.Find(t.Context(), audit.Filter{Tenant: "main"}, audit.Page{})
	require.NoError(t, err)
	require.Len(t, found.Entries, 4)
	require.Equal(t, int64(1), found.Damaged)
	require.NotEqual(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
}
