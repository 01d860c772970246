package privacy_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
)

// The server is killed while persons are erased and comes back: whoever was
// certified stays gone, and whoever executes again has each erasure once.
func TestAServerThatIsKilledWhilePersonsAreErased(t *testing.T) {
	const rounds, persons = 3, 6
	for name, driver := range map[testdb.Name]string{testdb.PostgresC: "pgx", testdb.PostgresICU: "postgres", testdb.MariaDB: "mysql"} {
		t.Run(string(name), func(t *testing.T) {
			server := testdb.Own(t, name)
			s := &severed{system: newSystemOn(t, t.TempDir(), server.New(t).OpenWith(t, driver))}
			s.cfg.Delay, s.cfg.Lease, s.cfg.PerDay = -1, -1, -1
			s.reopen()
			for round := range rounds {
				var erasures []erasureOf
				for range persons {
					ann, bob := s.people()
					plan := s.planned(ann)
					require.NoError(t, s.system.desk.Approve(t.Context(), plan, "user/2"))
					erasures = append(erasures, erasureOf{ann: ann, bob: bob, plan: plan})
				}
				s.untilKilled(server, erasures, round+1)
				require.NotEmpty(t, erasures[round].certificate)
				server.Restart(t)
				s.db.SetMaxIdleConns(0) // connections to the dead one
				s.db.SetMaxIdleConns(2)
				require.NoError(t, s.db.PingContext(t.Context()))
				for _, e := range erasures {
					if e.certificate != nil {
						require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, e.ann), "what was certified stays so")
					}
				}
				for _, e := range erasures {
					o, err := s.system.desk.Execute(t.Context(), e.plan)
					require.NoError(t, err)
					require.Equal(t, privacy.Done, o.State, "%+v", o.Stores)
					if e.certificate != nil {
						require.Equal(t, e.certificate, o.Certificate)
					}
					require.Equal(t, 1, s.events("privacy.erase.begin", e.plan))
					require.Equal(t, 1, s.events("privacy.erase.done", e.plan))
				}
				for _, e := range erasures {
					s.gone(e.ann, e.bob)
				}
			}
		})
	}
}

// erasureOf is one of several erasures; the certificate is there once it was
// answered.
type erasureOf struct {
	ann, bob, plan string
	certificate    []byte
}

// untilKilled executes one after the other until the server is killed, a moment
// after so many are done.
func (s *severed) untilKilled(server *testdb.Server, erasures []erasureOf, after int) {
	s.t.Helper()
	reached, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := range erasures {
			if i == after {
				close(reached)
			}
			o, err := s.system.desk.Execute(s.t.Context(), erasures[i].plan)
			if err != nil || o.State != privacy.Done {
				return
			}
			erasures[i].certificate = o.Certificate
		}
	}()
	select {
	case <-reached:
	case <-ended:
		s.t.Fatal("an erasure failed while the server was up")
	}
	time.Sleep(rand.N(20 * time.Millisecond))
	server.Kill(s.t)
	<-ended
}
