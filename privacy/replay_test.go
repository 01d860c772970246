package privacy_test

import (
	"context"
	"iter"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/certificate"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// The old database file comes back: only the erased person goes again.
func TestReplayAfterARestore(t *testing.T) {
	s := newSystem(t)
	ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
	both := s.activity("call of "+ann+" with "+bob, ann, bob)
	kept := s.invoice(ann, s.now.AddDate(-1, 0, 0))
	backup := s.snapshot()
	s.erase(ann)
	require.NoError(t, s.desk.Ready(t.Context()))

	s.restore(backup)
	require.Equal(t, 2, s.count(`SELECT COUNT(*) FROM contacts`), "the backup brought the person back")
	s.now = s.now.Add(time.Hour)
	again := s.contact("ann@a.example") // a new sign-up with the same address
	later := newID()
	// a record of the old id, created after the erasure
	s.exec(`INSERT INTO contacts VALUES (?, ?, 'CH', NULL, x'00', 7, ?)`, later, ann, s.now.UnixMicro())

	var gate *privacy.GateError
	require.ErrorAs(t, s.desk.Ready(t.Context()), &gate)
	require.ErrorIs(t, gate, privacy.ErrBehind)
	require.Equal(t, int64(2), gate.Head)

	r, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, r.Erased)
	require.Equal(t, 3, r.People)
	require.Equal(t, 1, r.Entries)
	require.Len(t, r.Newer, 1)
	require.Equal(t, later, r.Newer[0].Key)
	require.NoError(t, s.desk.Ready(t.Context()), "the gate opens")

	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann), "only the later record")
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, bob))
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, again), "the same e-mail is another person")
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM activity_persons WHERE activity_id = ?`, both))
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM invoices WHERE id = ? AND phone IS NULL`, kept))
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM crmguard_privacy_plan WHERE body IS NOT NULL`))

	r, err = s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 0, r.Erased, "a second replay has nothing to do")
}

// A row without creation time goes only when the intent names it.
func TestReplayOfUndatedRows(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	var contact string
	require.NoError(t, s.db.QueryRow(`SELECT id FROM contacts`).Scan(&contact))
	backup := s.snapshot()
	s.erase(ann)
	s.restore(backup)
	s.exec(`INSERT INTO notes (id, contact_id, body) VALUES (99, ?, x'00')`, contact)
	s.exec(`UPDATE contacts SET created = NULL`)
	r, err := s.desk.Replay(t.Context())
	require.ErrorIs(t, err, privacy.ErrUndecided)
	require.Equal(t, 1, r.Erased)
	tables := map[string]int{}
	for _, row := range r.Undated {
		tables[row.Table]++
	}
	require.Equal(t, map[string]int{"contacts": 1, "notes": 1}, tables, "listed, not erased")
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM notes`), "the note that the intent names is gone")
}

// Rows that were deleted before the erasure stand in older backups.
func TestReplayFindsWhatWasDeletedBeforeTheErasure(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	s.activity("old text about "+ann, ann)
	backup := s.snapshot()
	s.exec(`DELETE FROM activity_persons`)
	s.exec(`DELETE FROM activities`)
	s.erase(ann)
	s.restore(backup)
	_, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM activities`))
}

func TestReplayStopsAboveTheLimit(t *testing.T) {
	s := newSystem(t)
	s.cfg.Delay, s.cfg.Lease = -1, -1
	s.reopen()
	var people []string
	for range 11 {
		people = append(people, s.contact("a@a.example"))
	}
	backup := s.snapshot()
	for _, person := range people {
		p, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: person, Reason: "r", By: "user/1", Empty: true})
		require.NoError(t, err)
		require.NoError(t, s.desk.Approve(t.Context(), p.ID, "user/2"))
		o, err := s.desk.Execute(t.Context(), p.ID)
		require.NoError(t, err)
		require.Equal(t, privacy.Done, o.State)
	}
	s.restore(backup)
	_, err := s.desk.Replay(t.Context())
	require.ErrorIs(t, err, privacy.ErrReplayLimit)
	require.Equal(t, 11, s.count(`SELECT COUNT(*) FROM contacts`))
	require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
	s.cfg.AllowReplay = func(_ context.Context, erase, people int) error {
		require.Equal(t, 11, erase)
		require.Equal(t, 11, people)
		return nil
	}
	s.reopen()
	r, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 11, r.Erased)
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM contacts`))
}

func TestAReplayThatLeavesSomethingKeepsTheGateShut(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	backup := s.snapshot()
	s.erase(ann)
	s.restore(backup)
	s.cfg.Database = lazyPeople{lazy{s.cfg.Database}}
	s.reopen()
	_, err := s.desk.Replay(t.Context())
	require.ErrorIs(t, err, privacy.ErrReplayLeft)
	require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
	s.cfg.Database = forgetful{s.cfg.Database}
	s.reopen()
	_, err = s.desk.Replay(t.Context())
	require.ErrorIs(t, err, privacy.ErrNoPeople)
}

type lazyPeople struct{ lazy }

func (l lazyPeople) People(ctx context.Context) iter.Seq2[datastore.Person, error] {
	return l.Transactional.(datastore.People).People(ctx)
}

// Failing at every place, a replay never opens the gate early, and the next
// one finishes.
func TestACrashAtEveryStepOfAReplay(t *testing.T) {
	for n := 1; ; n++ {
		s := newSystem(t)
		ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
		s.activity("both "+ann, ann, bob)
		backup := s.snapshot()
		s.erase(ann)
		s.restore(backup)
		s.fuse.left = n
		_, err := s.desk.Replay(t.Context())
		crashed := s.fuse.left == 0
		s.fuse.left = 0
		if err != nil {
			require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind, "after a crash at call %d", n)
		}
		s.open()
		_, err = s.desk.Replay(t.Context())
		require.NoError(t, err, "after a crash at call %d", n)
		require.NoError(t, s.desk.Ready(t.Context()))
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts`))
		require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM activity_persons WHERE person = ?`, ann))
		if !crashed {
			require.Greater(t, n, 10)
			return
		}
	}
}

// An intent that was never done counts too.
func TestReplayOfAnUnfinishedErasure(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	backup := s.snapshot()
	p := s.approved(ann)
	_, err := s.desk.Execute(t.Context(), p.ID) // waits for the lease
	require.NoError(t, err)
	s.restore(backup)
	r, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, r.Erased)
	require.Equal(t, 1, r.Open)
}

func TestTheGate(t *testing.T) {
	s := newSystem(t)
	g, err := s.desk.Gate(t.Context())
	require.NoError(t, err)
	require.True(t, g.Unanchored)
	older := s.markRow()
	s.erase(s.contact("ann@a.example"))
	s.anchor, err = s.desk.LedgerHead(t.Context())
	require.NoError(t, err)
	g, err = s.desk.Gate(t.Context())
	require.NoError(t, err)
	require.Equal(t, privacy.Gate{Entries: 2}, g)

	require.NoError(t, os.Rename(s.ledgerDir(), s.ledgerDir()+".away"))
	s.now = s.now.Add(23 * time.Hour)
	g, err = s.desk.Gate(t.Context())
	require.NoError(t, err, "unreachable without any sign of a restore: a warning")
	require.Contains(t, g.Warning, s.ledgerPath())
	s.now = g.Until
	require.ErrorIs(t, s.desk.Ready(t.Context()), erasurelog.ErrUnreachable, "for a stated time only")
	require.NoError(t, os.Rename(s.ledgerDir()+".away", s.ledgerDir()))
	require.NoError(t, s.desk.Ready(t.Context()))

	s.putMark(older)
	require.NoError(t, os.Rename(s.ledgerDir(), s.ledgerDir()+".away"))
	err = s.desk.Ready(t.Context())
	require.ErrorIs(t, err, privacy.ErrBehind, "a head kept elsewhere is ahead: a restore")
	require.ErrorIs(t, err, erasurelog.ErrUnreachable)
}

// A restored machine often starts before the volume of the ledger is there.
func TestAMissingLedgerIsNoWarningWhereNothingElseKnowsItsHead(t *testing.T) {
	s := newSystem(t)
	s.erase(s.contact("ann@a.example"))
	require.NoError(t, s.desk.Ready(t.Context()))
	require.NoError(t, os.Rename(s.ledgerDir(), s.ledgerDir()+".away"))
	s.open() // another process
	require.ErrorIs(t, s.desk.Ready(t.Context()), erasurelog.ErrUnreachable)
	require.NoError(t, os.Rename(s.ledgerDir()+".away", s.ledgerDir()))
	require.NoError(t, s.desk.Ready(t.Context()))
}

// A certificate of nothing would comfort a person who was not found.
func TestNobodyIsPlannedOnlyOnPurpose(t *testing.T) {
	s := newSystem(t)
	request := privacy.Request{Tenant: "main", Person: newID(), Reason: "r", By: "user/1"}
	_, err := s.desk.PlanErasure(t.Context(), request)
	require.ErrorIs(t, err, privacy.ErrNobody)
	request.Empty = true
	_, err = s.desk.PlanErasure(t.Context(), request)
	require.NoError(t, err)
}

// Seconds read as microseconds would end every obligation in January 1970. Such
// a row is kept, the plan and the certificate say why, and neither the rest of
// the erasure nor a replay of others is held up by it.
func TestAnObligationDatedInSecondsIsKept(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	kept := s.invoice(ann, time.UnixMicro(s.now.Unix()))
	backup := s.snapshot()
	o := s.erase(ann)
	require.Contains(t, s.certified(o), certificate.Records{
		Store: "crm", Class: certificate.Kept, Table: "invoices", Count: 1, Because: "DE-HGB-257 (issued holds no date that can be read)",
	})
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM contacts`))
	s.restore(backup)
	r, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, r.Erased)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM invoices WHERE id = ? AND name = 'Ann Example' AND phone IS NULL`, kept))
	s.exec(`UPDATE invoices SET issued = ?`, s.now.AddDate(-11, 0, 0).UnixMicro())
	_, err = s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM invoices`), "once it is corrected, the obligation ends")
}

// A new database beside an old ledger is a restore, too.
func TestADatabaseWithoutAMark(t *testing.T) {
	s := newSystem(t)
	s.erase(s.contact("ann@a.example"))
	s.exec(`DELETE FROM crmguard_privacy_mark`)
	require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
	_, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.desk.Ready(t.Context()))
}

// What a law kept is erased by a replay after the obligation's end.
func TestWhatWasKeptGoesWhenTheObligationEnds(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	kept := s.invoice(ann, s.now.AddDate(-1, 0, 0))
	o := s.erase(ann)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM invoices WHERE id = ?`, kept))
	r, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 0, r.Erased)
	for _, c := range o.Counts {
		if c.Class == datastore.Kept {
			s.now = c.Until
		}
	}
	r, err = s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, r.Erased)
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM invoices WHERE id = ?`, kept))
}

// A plan that stands in the backup ends as the ledger says.
func TestPlansInARestoredDatabase(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	twin, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: ann, Reason: "twin", By: "user/1"})
	require.NoError(t, err)
	p := s.approved(ann)
	backup := s.snapshot()
	for range 2 {
		_, err := s.desk.Execute(t.Context(), p.ID)
		require.NoError(t, err)
		s.now = s.now.Add(time.Minute)
	}
	s.restore(backup)
	r, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, r.Plans)
	for id, state := range map[string]string{p.ID: "done", twin.ID: "cancelled"} {
		shown, err := s.desk.Plan(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, state, shown.State)
		require.Empty(t, shown.Person)
	}
	o, err := s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Done, o.State)
}

// A store that counts nothing hides no mass erasure from the limit.
func TestReplayLimitCountsPeopleWhereNoRowsAreCounted(t *testing.T) {
	s := newSystem(t)
	s.cfg.Delay, s.cfg.Lease = -1, -1
	var people []datastore.Person
	erased := 0
	s.cfg.Database = forgetful{s.cfg.Database}
	s.cfg.Stores = []datastore.Store{datastore.Func{
		Name: "keys", Class: datastore.Shredded,
		Erase: func(context.Context, string, string) error { erased++; return nil },
		People: func(context.Context) iter.Seq2[datastore.Person, error] {
			return func(yield func(datastore.Person, error) bool) {
				for _, p := range people {
					if !yield(p, nil) {
						return
					}
				}
			}
		},
	}.Store()}
	s.reopen()
	for range 11 {
		person := newID()
		people = append(people, datastore.Person{Tenant: "main", ID: person})
		p, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: person, Reason: "r", By: "user/1", Empty: true})
		require.NoError(t, err)
		require.NoError(t, s.desk.Approve(t.Context(), p.ID, "user/2"))
		o, err := s.desk.Execute(t.Context(), p.ID)
		require.NoError(t, err)
		require.Equal(t, privacy.Done, o.State)
	}
	erased = 0
	_, err := s.desk.Replay(t.Context())
	require.ErrorIs(t, err, privacy.ErrReplayLimit)
	require.Zero(t, erased)
	s.cfg.AllowReplay = func(_ context.Context, erase, _ int) error {
		require.Equal(t, 11, erase)
		return nil
	}
	s.reopen()
	_, err = s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 11, erased)
}

// A plan about a person that was erased as an alias of another forgets them too.
func TestPlansOfAliasesInARestoredDatabase(t *testing.T) {
	s := newSystem(t)
	ann, merged := s.contact("ann@a.example"), s.contact("ann.old@a.example")
	s.cfg.Aliases = func(_ context.Context, _, person string) ([]string, error) {
		if person == ann {
			return []string{merged}, nil
		}
		return nil, nil
	}
	s.reopen()
	own, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: merged, Reason: "r", By: "user/1"})
	require.NoError(t, err)
	backup := s.snapshot()
	s.erase(ann)
	s.restore(backup)
	named := func() int {
		return s.count(`SELECT COUNT(*) FROM crmguard_privacy_plan WHERE CAST(body AS TEXT) LIKE ?`, "%"+merged+"%")
	}
	require.Equal(t, 1, named(), "the backup brought the plan back")
	r, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, r.Plans)
	require.Zero(t, named())
	require.Equal(t, "cancelled", s.state(own.ID))
}

// A new plan about a person who was erased before, of whom records came since,
// outlives every replay; so does a replay a plan that somebody wrote to.
func TestAReplayEndsOlderPlansOnly(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
		old := s.snapshot()
		s.erase(ann)
		s.now = s.now.Add(time.Hour)
		s.exec(`INSERT INTO contacts VALUES (?, ?, 'CH', NULL, ?, 7, ?)`, newID(), ann, []byte{0}, s.now.UnixMicro())
		again, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: ann, Reason: "r", By: "user/1"})
		require.NoError(t, err)
		_, err = s.desk.Replay(t.Context())
		require.NoError(t, err)
		require.Equal(t, "planned", s.state(again.ID))

		s.restore(old)
		forged, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: bob, Reason: "r", By: "user/1"})
		require.NoError(t, err)
		s.exec(`UPDATE crmguard_privacy_plan SET mac = ? WHERE id = ?`, []byte("1.AAAA"), forged.ID)
		r, err := s.desk.Replay(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, r.Erased)
		require.NoError(t, s.desk.Ready(t.Context()))
	})
}

// A person under a hold is left alone, and erased again when it ends.
func TestAReplayHeedsHolds(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		ann := s.contact("ann@a.example")
		old := s.snapshot()
		s.erase(ann)
		s.restore(old)
		hold, err := s.desk.Hold(t.Context(), privacy.LegalHold{Tenant: "main", Person: ann, Because: "litigation:1", By: "user/1"})
		require.NoError(t, err)
		r, err := s.desk.Replay(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, r.Held)
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts`))
		require.NoError(t, s.desk.Lift(t.Context(), "main", hold, "user/2"))
		r, err = s.desk.Replay(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, r.Erased)
		require.Zero(t, s.count(`SELECT COUNT(*) FROM contacts`))
	})
}
