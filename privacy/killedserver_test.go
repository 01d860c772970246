package privacy_test

import (
	"crypto/ed25519"
	"database/sql/driver"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/certificate"
)

// The commits of an execution, in their order.
const (
	erased    = iota + 1 // the database has erased, behind the intent
	retired              // and destroyed the keys that only joint records had
	certified            // the certificate is made
	closed               // the plan is done
)

// standing is an erasure that stands still at one of its commits, before it is
// sent or when it was done, while the server is killed.
type standing struct {
	commit int
	done   bool
	answer error // what comes of a commit that was done: nothing, or it is lost

	ann, bob, plan string
	owner          string // of the record that is of both
	ended          chan struct{}
	outcome        privacy.Outcome
	err            error
}

func (e *standing) String() string {
	return fmt.Sprintf("commit %d, done: %t, answer: %v", e.commit, e.done, e.answer)
}

// has reports whether a commit of the erasure was done before the kill.
func (e *standing) has(commit int) bool {
	return e.commit > commit || e.commit == commit && e.done
}

// The server is killed while many erasures stand at every one of their commits,
// and comes back: what was committed is there, answered or not, and what was
// not is not; whoever was certified stays gone; the gate is shut until all are
// done; and whoever executes again, in whatever order, has each erasure once.
func TestAServerThatIsKilledWhilePersonsAreErased(t *testing.T) {
	// Where the application commits without waiting for the disk, as the server
	// has it here, a commit of the library is durable because it asks for that.
	settings := map[testdb.Name][]string{testdb.PostgresC: {"synchronous_commit=off", "wal_writer_delay=10s"}}
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		t.Run(string(name), func(t *testing.T) {
			server := testdb.Own(t, name, settings[name]...)
			d := server.New(t)
			s := &severed{system: newSystemOn(t, t.TempDir(), d.Open(t))}
			s.cfg.Delay, s.cfg.Lease, s.cfg.PerDay = -1, -1, -1
			// Each round has those that keep nobody from coming after them, and then
			// those that others would wait for, or be refused because of.
			for _, more := range [][]*standing{
				{{commit: certified}, {commit: retired}, {commit: erased}},
				{{commit: certified}, {commit: closed}},
				{{commit: erased, done: true}, {commit: erased, done: true, answer: driver.ErrBadConn}}, // others would destroy the keys that they have noted
			} {
				killed := make(chan struct{})
				release := sync.OnceFunc(func() { close(killed) })
				t.Cleanup(release)
				all := append([]*standing{
					{commit: closed, done: true},
					{commit: closed, done: true, answer: driver.ErrBadConn},
					{commit: certified, done: true},
					{commit: certified, done: true, answer: driver.ErrBadConn},
					{commit: retired, done: true},
				}, more...)
				for _, e := range all {
					e.ann, e.bob = s.people()
					require.NoError(t, s.db.QueryRow(s.on.Bind(`SELECT owner FROM activities a JOIN activity_persons l ON l.activity_id = a.id WHERE l.person = ?`), e.ann).Scan(&e.owner))
				}
				s.reopen() // the desk of a new process
				for _, e := range all {
					e.plan = s.planned(e.ann)
					require.NoError(t, s.system.desk.Approve(t.Context(), e.plan, "user/2"))
				}
				for i, e := range all {
					s.stand(e, d, name.Drivers()[i%len(name.Drivers())], killed)
				}
				server.Kill(t)
				release()
				for _, e := range all {
					<-e.ended
					s.quiet(e.outcome, e.err, e.ann, e.bob)
					require.Equal(t, e.commit == closed && e.done && e.answer == nil, e.err == nil, e)
				}
				server.Restart(t)
				s.db.SetMaxIdleConns(0) // connections to the dead one
				s.db.SetMaxIdleConns(2)
				require.NoError(t, s.db.PingContext(t.Context()))
				s.asCommitted(all)
				s.finish(all)
			}
		})
	}
}

// stand executes until the erasure has come to its commit.
func (s *severed) stand(e *standing, d testdb.Database, driver string, killed <-chan struct{}) {
	s.t.Helper()
	db, cutter := d.Cutting(s.t, driver)
	desk := s.deskOver(db)
	reached := make(chan struct{})
	e.ended = make(chan struct{})
	at := e.commit
	if s.on.Kind == sqldb.Postgres {
		at++ // the schema is read in a transaction before the first
	}
	cutter.Hold(at, e.done, func() error {
		close(reached)
		<-killed
		return e.answer
	})
	go func() {
		defer close(e.ended)
		e.outcome, e.err = desk.Execute(s.t.Context(), e.plan)
	}()
	select {
	case <-reached:
	case <-e.ended:
		require.Fail(s.t, "it does not come to its commit", "%s: %v", e, e.err)
	case <-time.After(time.Minute):
		require.Fail(s.t, "it waits for another one", "%s", e)
	}
}

// asCommitted requires of the server that has come back what was committed, and
// no more.
func (s *severed) asCommitted(all []*standing) {
	t := s.t
	t.Helper()
	for _, e := range all {
		state := "approved"
		switch {
		case e.has(closed):
			state = "done"
		case e.has(certified):
			state = "certified"
		case e.has(erased):
			state = "erased"
		}
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM crmguard_privacy_plan WHERE id = ? AND state = ?`, e.plan, state), e)
		require.Equal(t, e.has(erased), s.events("privacy.erase.begin", e.plan) == 1, e)
		require.Equal(t, e.has(closed), s.events("privacy.erase.done", e.plan) == 1, e)
		require.Equal(t, e.has(erased), s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, e.ann) == 0, e)
	}
	for _, e := range all {
		if e.commit == erased && !e.done {
			require.ErrorIs(t, s.system.desk.Ready(t.Context()), privacy.ErrBehind, "the ledger has an intent that is not carried out")
		}
	}
}

// finish executes all again, in an order of its own.
func (s *severed) finish(all []*standing) {
	t := s.t
	t.Helper()
	certificates := map[string][]byte{}
	for rest := len(all); rest > 0; {
		before := rest
		for _, i := range rand.Perm(len(all)) {
			e := all[i]
			if certificates[e.plan] != nil {
				continue
			}
			o, err := s.system.desk.Execute(t.Context(), e.plan)
			if err != nil {
				require.ErrorIs(t, err, privacy.ErrBehind, e) // on one that the ledger knows more of
				continue
			}
			require.Equal(t, privacy.Done, o.State, "%s: %+v", e, o.Stores)
			certificates[e.plan] = o.Certificate
			rest--
		}
		require.Less(t, rest, before, "one of them gets through")
	}
	require.NoError(t, s.system.desk.Ready(t.Context()))
	for _, e := range all {
		if e.err == nil {
			require.Equal(t, e.outcome.Certificate, certificates[e.plan], "what was answered stays so")
		}
		c, err := certificate.Verify(certificates[e.plan], s.key.Public().(ed25519.PublicKey))
		require.NoError(t, err)
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM events WHERE action = 'privacy.erase.done' AND id = ?`, c.Statement.AuditEvent), e)
		require.Equal(t, 1, s.events("privacy.erase.begin", e.plan), e)
		require.Equal(t, 1, s.events("privacy.erase.done", e.plan), e)
		require.Equal(t, 1, s.entries("intent", e.plan), e)
		s.gone(e.ann, e.bob)
		require.Contains(t, s.keys.keys, e.owner)
		require.Nil(t, s.keys.keys[e.owner], "what was said of both is readable no more")
	}
}

// entries counts what the ledger says of a plan.
func (s *system) entries(op, plan string) (n int) {
	for _, line := range lines(s.t, s.ledgerPath()) {
		if strings.Contains(line, `"op":"`+op+`"`) && strings.Contains(line, `"plan":"`+plan+`"`) {
			n++
		}
	}
	return n
}
