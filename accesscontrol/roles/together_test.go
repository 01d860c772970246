package roles_test

import (
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol/roles"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Two assignments at once, of two processes, that break a rule only together:
// one of them is refused, each of 1,000 times.
func TestTwoAtOnceDoNotBreakWhatNeitherBreaks(t *testing.T) {
	const tenants, pairs = 4, 250
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		stores := [2]*roles.Store{opened(t, d.Open(t), roles.Options{}), opened(t, d.Open(t), roles.Options{})}
		var all sync.WaitGroup
		failed := make(chan error, tenants)
		for n := range tenants {
			all.Go(func() {
				for i := range pairs {
					if err := pair(t, stores, fmt.Sprint("t", n), fmt.Sprint("p", i)); err != nil {
						failed <- err
						return
					}
				}
			})
		}
		all.Wait()
		close(failed)
		for err := range failed {
			require.NoError(t, err)
		}
		var both, people int
		db := d.Open(t)
		require.NoError(t, sqldb.One(t.Context(), db, []any{&people}, `SELECT count(*) FROM crmguard_accesscontrol_assignment`))
		require.NoError(t, sqldb.One(t.Context(), db, []any{&both}, `SELECT count(*) FROM (SELECT principal FROM crmguard_accesscontrol_assignment GROUP BY tenant, principal HAVING count(*) > 1) AS b`))
		require.Equal(t, [2]int{0, tenants * pairs}, [2]int{both, people})
	})
}

// pair gives one person two roles at once that exclude each other.
func pair(t *testing.T, stores [2]*roles.Store, tenant, who string) error {
	errs := make(chan error, len(stores))
	begin := make(chan struct{})
	for i, role := range []string{"payer", "approver"} {
		go func() {
			<-begin
			errs <- stores[i].Bootstrap(t.Context(), roles.Assignment{Tenant: tenant, Principal: who, Role: role})
		}()
	}
	close(begin)
	for _, err := range []error{<-errs, <-errs} {
		if err != nil && !errors.Is(err, roles.ErrRefused) {
			return err
		}
	}
	return nil
}

// A giver whose own role is being taken away at the same time gives nothing that
// stays: either nothing was given, or it went with the rest.
func TestGivingWhileItIsTakenAway(t *testing.T) {
	const rounds = 40
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		taking, giver := opened(t, d.Open(t), roles.Options{}), opened(t, d.Open(t), roles.Options{})
		require.NoError(t, taking.Bootstrap(t.Context(), giving(given("", "root", "rep"))))
		for i := range rounds {
			by := fmt.Sprint("g", i)
			require.NoError(t, taking.Assign(t.Context(), giving(given("root", by, "rep"))))
			var both sync.WaitGroup
			var gave, took error
			both.Go(func() { gave = giver.Assign(t.Context(), given(by, "ann", "rep")) })
			both.Go(func() { _, took = taking.Revoke(t.Context(), given("root", by, "rep")) })
			both.Wait()
			require.NoError(t, took)
			require.True(t, gave == nil || errors.Is(gave, roles.ErrRefused), "%v", gave)
		}
		require.Empty(t, held(t, opened(t, d.Open(t), roles.Options{}), "main", "ann"))
	})
}

// What one store changes holds from its next call on. Others know it when what
// they have read is as old as they let it be.
func TestAChangeIsSeen(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		here, there, always := opened(t, d.Open(t), roles.Options{}), opened(t, d.Open(t), roles.Options{MaxAge: 1 << 60}), opened(t, d.Open(t), roles.Options{MaxAge: -1})
		all := []*roles.Store{here, there, always}
		require.NoError(t, here.Bootstrap(t.Context(), given("", "ann", "rep")))
		for _, store := range all {
			require.Equal(t, []string{"rep"}, held(t, store, "main", "ann"))
		}
		_, err := here.Dismiss(t.Context(), "main", "ann")
		require.NoError(t, err)
		require.Empty(t, held(t, here, "main", "ann"))
		require.Empty(t, held(t, always, "main", "ann"))
		require.Equal(t, []string{"rep"}, held(t, there, "main", "ann"), "as long as it may be old")
		require.NoError(t, there.Bootstrap(t.Context(), given("", "bob", "rep")))
		require.Empty(t, held(t, there, "main", "ann"), "a change of its own lets it look")
	})
}

// A store that answers from memory asks again when something begins or ends.
func TestWhatEndsMeanwhileIsNotKept(t *testing.T) {
	eachStore(t, func(t *testing.T, _ *roles.Store, db *sql.DB) {
		store := opened(t, db, roles.Options{MaxAge: 1 << 60})
		require.NoError(t, store.Bootstrap(t.Context(), given("", "ann", "rep")))
		var now int64
		dialect, err := sqldb.Ask(t.Context(), db)
		require.NoError(t, err)
		clock := map[sqldb.Kind]string{
			sqldb.SQLite: `CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)`, sqldb.Postgres: `CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)`,
			sqldb.MariaDB: `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))`,
		}[dialect.Kind]
		require.NoError(t, sqldb.One(t.Context(), db, []any{&now}, `SELECT `+clock))
		run(t, db, fmt.Sprintf(`UPDATE crmguard_accesscontrol_assignment SET not_after = %d`, now+300_000))
		require.Eventually(t, func() bool { // it was held when this began, unless the machine stood still
			p, err := store.Principal(t.Context(), "main", "ann")
			return err == nil && len(p.Parents) == 0
		}, 20e9, 10e6)
	})
}
