package privacy_test

import (
	"database/sql"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// severed is a system and a second desk over the same database, whose
// connections are cut.
type severed struct {
	*system
	cutter *testdb.Cutter
	step   int // from one cut to the next
	desk   *privacy.Desk
}

func newSevered(t *testing.T, d testdb.Database, driver string) *severed {
	whole := d.OpenWith(t, driver)
	whole.SetMaxOpenConns(1)
	s := newSystemOn(t, t.TempDir(), whole)
	if s.on.Kind == sqldb.Postgres {
		s.exec(`SET synchronous_commit = off`) // what the test itself writes need not be durable
	}
	s.cfg.Delay, s.cfg.Lease, s.cfg.PerDay = -1, -1, -1
	s.reopen()
	db, cutter := d.Cutting(t, driver)
	db.SetMaxOpenConns(1) // nothing may need a second connection
	step := 1
	if driver == "postgres" {
		step = 3 // the calls are those of pgx, where each is cut
	}
	return &severed{system: s, cutter: cutter, step: step, desk: s.deskOver(db)}
}

// deskOver is a desk whose own tables and store are met through db.
func (s *system) deskOver(db *sql.DB) *privacy.Desk {
	store, err := sqlstore.Open(s.t.Context(), sqlstore.Config{Name: "crm", DB: db, Map: s.cfg.Map, Redact: s.redact, EraseOwner: s.keys.erase})
	require.NoError(s.t, err)
	cfg := s.cfg
	cfg.DB, cfg.Database = db, store
	desk, err := privacy.Open(s.t.Context(), cfg)
	require.NoError(s.t, err)
	return desk
}

// everyCut does something with the connection cut at the first call of what is
// tried in it, at the second, and so on, until none is cut any more. It returns
// at how many it was.
func (s *severed) everyCut(commits bool, do func(try func(verb func()))) int {
	for call, cut := 1, true; ; call += s.step {
		do(func(verb func()) {
			s.cutter.Arm(call, commits)
			verb()
			cut = s.cutter.Disarm()
		})
		if !cut {
			return call - 1
		}
	}
}

// people of a round: ann is to be erased, bob stays, and one record is of both.
func (s *severed) people() (ann, bob string) {
	ann, bob = s.contact("ann@a.example"), s.contact("bob@b.example")
	s.activity("both "+ann, ann, bob)
	s.invoice(ann, s.now)
	s.now = s.now.Add(time.Second)
	return ann, bob
}

// quiet requires that what was said of a cut quotes nothing of anybody.
func (s *severed) quiet(o privacy.Outcome, err error, persons ...string) {
	s.t.Helper()
	var said strings.Builder
	fmt.Fprint(&said, err)
	for _, store := range o.Stores {
		fmt.Fprint(&said, " ", store.Err)
	}
	for _, word := range append(persons, "Ann", "a.example", "+41", "SELECT", "user/1") {
		require.NotContains(s.t, said.String(), word)
	}
}

func (s *severed) events(action, plan string) int {
	return s.count(`SELECT COUNT(*) FROM events WHERE action = ? AND attrs LIKE ?`, action, "object=plan/"+plan+"%")
}

func (s *severed) planned(person string) string {
	p, err := s.system.desk.PlanErasure(s.t.Context(), privacy.Request{Tenant: "main", Person: person, Reason: "gdpr-17", By: "user/1"})
	require.NoError(s.t, err)
	return p.ID
}

// gone requires that nothing is left of ann but what the law keeps, and that
// everything of bob is there.
func (s *severed) gone(ann, bob string) {
	t := s.t
	t.Helper()
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann))
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM activity_persons WHERE person = ?`, ann))
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM invoices WHERE person = ? AND phone IS NOT NULL`, ann))
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM invoices WHERE person = ? AND name IS NOT NULL`, ann), "kept by law")
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM crmguard_privacy_retired`))
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM notes JOIN contacts c ON c.id = contact_id WHERE c.person = ?`, bob))
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM activities a JOIN activity_persons l ON l.activity_id = a.id WHERE l.person = ?`, bob))
	require.Nil(t, s.keys.keys[ann])
	require.NoError(t, s.system.desk.Ready(t.Context()))
}

// eachSevered runs f on each database, through each driver, with the connection
// cut before each call and while rows come, and after each commit was done and
// before its answer came.
func eachSevered(t *testing.T, f func(s *severed, commits bool, least func(cuts int) int)) {
	for _, name := range testdb.Names() {
		for _, driver := range name.Drivers() {
			if name == testdb.PostgresICU {
				continue // the same server: a connection knows no order of text
			}
			t.Run(string(name)+"/"+driver, func(t *testing.T) {
				s := newSevered(t, testdb.New(t, name), driver)
				for _, commits := range []bool{false, true} {
					if commits {
						s.step = 1
					}
					f(s, commits, func(cuts int) int { // so that a counter that counts nothing is found
						if commits {
							return 1
						}
						return cuts
					})
				}
			})
		}
	}
}

// Whoever asks again has one approved plan, and each event stands once beside
// what it is about.
func TestACutConnectionWhilePlanning(t *testing.T) {
	eachSevered(t, func(s *severed, commits bool, least func(int) int) {
		ann, _ := s.people()
		plan := ""
		cuts := s.everyCut(commits, func(try func(verb func())) {
			var p *privacy.Plan
			var err error
			request := privacy.Request{Tenant: "main", Person: ann, Reason: "gdpr-17", By: "user/1"}
			try(func() { p, err = s.desk.PlanErasure(s.t.Context(), request) })
			if err != nil {
				s.quiet(privacy.Outcome{}, err, ann)
				p, err = s.desk.PlanErasure(s.t.Context(), request)
			}
			require.NoError(s.t, err)
			plan = p.ID
			require.Equal(s.t, 1, s.events("privacy.plan", plan))
		})
		require.GreaterOrEqual(s.t, cuts, least(10))
		require.Equal(s.t, s.count(`SELECT COUNT(*) FROM crmguard_privacy_plan`), s.count(`SELECT COUNT(*) FROM events WHERE action = 'privacy.plan'`))

		cuts = s.everyCut(commits, func(try func(verb func())) {
			plan = s.planned(ann)
			var err error
			try(func() { err = s.desk.Approve(s.t.Context(), plan, "user/2") })
			if err != nil {
				s.quiet(privacy.Outcome{}, err, ann)
				require.NoError(s.t, s.desk.Approve(s.t.Context(), plan, "user/2"))
			}
			require.Equal(s.t, 1, s.events("privacy.approve", plan))
		})
		require.GreaterOrEqual(s.t, cuts, least(5))
		o, err := s.desk.Execute(s.t.Context(), plan)
		require.NoError(s.t, err)
		require.Equal(s.t, privacy.Done, o.State)
		require.Equal(s.t, 0, s.count(`SELECT COUNT(*) FROM crmguard_privacy_plan WHERE body IS NOT NULL`), "the plans that were made twice have forgotten the person, too")
	})
}

// Whoever executes again has one erasure: one intent, one beginning and one end
// in the trail, one certificate.
func TestACutConnectionWhileExecuting(t *testing.T) {
	eachSevered(t, func(s *severed, commits bool, least func(int) int) {
		cuts := s.everyCut(commits, func(try func(verb func())) {
			ann, bob := s.people()
			plan := s.planned(ann)
			require.NoError(s.t, s.system.desk.Approve(s.t.Context(), plan, "user/2"))
			before := countOf(ops(s.t, s.system), "intent")
			var o privacy.Outcome
			var err error
			try(func() { o, err = s.desk.Execute(s.t.Context(), plan) })
			s.quiet(o, err, ann, bob)
			again, err := s.desk.Execute(s.t.Context(), plan)
			require.NoError(s.t, err)
			require.Equal(s.t, privacy.Done, again.State, "%+v", again.Stores)
			require.NotEmpty(s.t, again.Certificate)
			if o.State == privacy.Done {
				require.Equal(s.t, o.Certificate, again.Certificate)
			}
			s.gone(ann, bob)
			require.Equal(s.t, before+1, countOf(ops(s.t, s.system), "intent"))
			require.Equal(s.t, 1, s.events("privacy.erase.begin", plan))
			require.Equal(s.t, 1, s.events("privacy.erase.done", plan))
		})
		require.GreaterOrEqual(s.t, cuts, least(40))
	})
}

// Whoever replays again has everybody erased again and the gate open, which
// stays shut until then. The trail has the replay.
func TestACutConnectionWhileReplaying(t *testing.T) {
	eachSevered(t, func(s *severed, commits bool, least func(int) int) {
		ann, bob := s.people()
		old := s.markRow()
		created := s.now.Add(-time.Second).UnixMicro()
		plan := s.planned(ann)
		require.NoError(s.t, s.system.desk.Approve(s.t.Context(), plan, "user/2"))
		o, err := s.desk.Execute(s.t.Context(), plan)
		require.NoError(s.t, err)
		require.Equal(s.t, privacy.Done, o.State)
		const replays = `SELECT COUNT(*) FROM events WHERE action = 'privacy.replay'`
		cuts := s.everyCut(commits, func(try func(verb func())) {
			delete(s.keys.keys, ann)
			s.exec(`INSERT INTO contacts VALUES (?, ?, 'CH', NULL, ?, 7, ?)`, newID(), ann, s.keys.seal(s.t, ann, "ann@a.example"), created)
			s.putMark(old)
			require.ErrorIs(s.t, s.system.desk.Ready(s.t.Context()), privacy.ErrBehind, "an older state was put back")
			before := s.count(replays)
			var err error
			try(func() { _, err = s.desk.Replay(s.t.Context()) })
			if err != nil {
				s.quiet(privacy.Outcome{}, err, ann, bob)
				if s.system.desk.Ready(s.t.Context()) == nil {
					s.gone(ann, bob) // it was done, and only the answer is missing
				}
				_, err = s.desk.Replay(s.t.Context())
				require.NoError(s.t, err)
			}
			s.gone(ann, bob)
			require.Contains(s.t, []int{before + 1, before + 2}, s.count(replays), "twice where the answer to the first was lost")
			require.Zero(s.t, s.notes("replay-"))
		})
		require.GreaterOrEqual(s.t, cuts, least(20))
	})
}

// PostgreSQL ends a question outside of transactions, where those are
// serializable by default, for the sake of others: a desk and its store ask
// none there.
func TestADeskAsksNothingThatOthersCouldEnd(t *testing.T) {
	d := testdb.New(t, testdb.PostgresC).Serializable()
	s := newSystemOn(t, t.TempDir(), d.Open(t))
	s.cfg.Delay, s.cfg.Lease = -1, -1
	s.reopen()
	db, watch := d.Cutting(t, "pgx")
	desk := s.deskOver(db)
	require.NotEmpty(t, watch.Outside(), "what asks for the kind of database, before it is known")
	ann := s.contact("ann@a.example")
	s.activity("both", ann, s.contact("bob@b.example"))
	_, err := desk.Find(t.Context(), "main", ann)
	require.NoError(t, err)
	_, err = desk.Export(t.Context(), "main", ann, identity(t).Recipient().String(), io.Discard)
	require.NoError(t, err)
	p, err := desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: ann, Reason: "gdpr-17", By: "user/1"})
	require.NoError(t, err)
	require.NoError(t, desk.Approve(t.Context(), p.ID, "user/2"))
	o, err := desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Done, o.State)
	_, err = desk.Replay(t.Context())
	require.NoError(t, err)
	_, err = desk.Gate(t.Context())
	require.NoError(t, err)
	_, err = desk.Status(t.Context())
	require.NoError(t, err)
	_, err = desk.LedgerHead(t.Context())
	require.NoError(t, err)
	require.Empty(t, watch.Outside())
}

// A standby still shows whom the primary has erased: it is refused at Open, and
// when the pool comes to it in the middle of a life.
func TestAStandbyIsNoDatabaseOfADesk(t *testing.T) {
	primary := testdb.Own(t, testdb.PostgresC)
	d := primary.New(t)
	s := newSystemOn(t, t.TempDir(), d.Open(t))
	ann := s.contact("ann@a.example")
	p := s.approved(ann)
	standby := primary.Standby(t)
	here := standby.Follow(t, d)
	for _, driver := range d.Name.Drivers() {
		db := here.OpenWith(t, driver)
		require.ErrorIs(t, s.openOn(db), privacy.ErrStandby)
		require.ErrorIs(t, privacy.Install(t.Context(), db), privacy.ErrStandby)
		_, err := sqlstore.Open(t.Context(), sqlstore.Config{DB: db, Map: s.cfg.Map, Redact: s.redact, EraseOwner: s.keys.erase})
		require.ErrorIs(t, err, privacy.ErrStandby)
	}
	both := standby.Before(d).Open(t)
	both.SetMaxIdleConns(0)
	desk := s.deskOver(both)
	require.NoError(t, desk.Ready(t.Context()))
	primary.Stop(t)
	_, err := desk.Execute(t.Context(), p.ID)
	require.ErrorIs(t, err, privacy.ErrStandby)
	require.ErrorIs(t, desk.Ready(t.Context()), privacy.ErrStandby, "the gate does not open on what a standby says")
	_, err = desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: ann, Reason: "gdpr-17", By: "user/1"})
	require.ErrorIs(t, err, privacy.ErrStandby)
	_, err = desk.Replay(t.Context())
	require.ErrorIs(t, err, privacy.ErrStandby)
}
