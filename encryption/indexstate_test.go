package encryption_test

import (
	"context"
	"database/sql"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
)

// before is the table as a release without the index declares it.
func before() encryption.Table {
	return encryption.Table{Name: "people", SQL: "contacts", Columns: []encryption.Column{{Name: "email"}}}
}

func after() encryption.Table {
	def := before()
	def.Columns = []encryption.Column{{Name: "email", Index: []encryption.Index{{Column: "email_idx", As: encryption.Email, Bits: 32}}}}
	return def
}

// insertMail writes a row as a release writes it that knows the index, or not.
func insertMail(t *testing.T, db *sql.DB, table *encryption.SealedTable, id, person string, indexed bool) error {
	t.Helper()
	w, err := table.Writer(t.Context(), tenant, person)
	if err != nil {
		return err
	}
	index := encryption.IndexValue{}
	if indexed {
		index = w.Int64("email_idx", person+"@b.example")
	}
	_, err = db.ExecContext(t.Context(), `INSERT INTO contacts (id, person, email, email_idx) VALUES (?, ?, ?, ?)`, id, person, w.Text("email", person+"@b.example"), index)
	require.NoError(t, err)
	return nil
}

// findMail counts the rows that a search finds.
func findMail(t *testing.T, db *sql.DB, table *encryption.SealedTable, person string) (n int, err error) {
	t.Helper()
	probes, err := table.Lookup(t.Context(), tenant, "email_idx", person+"@b.example")
	if err != nil {
		return 0, err
	}
	where, args := probes.Where("")
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM contacts WHERE `+where, args...).Scan(&n))
	return n, nil
}

// An index that is declared over rows which are there already is an error where
// it is searched, until every row has it and nobody writes rows without it.
func TestAnIndexIsSearchedOnceItIsComplete(t *testing.T) {
	e := newEnv(t, 1)
	e.clock.Move(time.Hour)
	oldVault := e.another(t)
	old := e.table(t, oldVault, before())
	require.NoError(t, insertMail(t, e.db, old, "c1", "p1", false))

	people := e.table(t, e.another(t), after()) // the next release
	_, err := findMail(t, e.db, people, "p1")
	require.ErrorIs(t, err, encryption.ErrIncomplete)
	require.ErrorContains(t, err, "FenceOldWriters")
	require.NoError(t, insertMail(t, e.db, people, "c2", "p2", true))
	require.NoError(t, insertMail(t, e.db, old, "c3", "p3", false), "both releases write side by side")

	require.NoError(t, people.RebuildIndexes(e.db, tenant)(t.Context()))
	_, err = findMail(t, e.db, people, "p2")
	require.ErrorIs(t, err, encryption.ErrIncomplete, "the old release may write another row at any time")
	held, err := old.Writer(t.Context(), tenant, "p4")
	require.NoError(t, err)

	start := e.clock.Now()
	require.NoError(t, people.FenceOldWriters(t.Context(), tenant))
	require.GreaterOrEqual(t, e.clock.Now().Sub(start), encryption.DefaultLease+encryption.DefaultLongestTransaction)
	_, err = held.Seal("email", []byte("late"))
	require.ErrorIs(t, err, encryption.ErrLease, "what was handed out before is over")
	err = insertMail(t, e.db, old, "c5", "p5", false)
	require.ErrorIs(t, err, encryption.ErrDefinition, "and nothing new is handed out")
	require.ErrorContains(t, err, "does not know")
	_, err = findMail(t, e.db, people, "p1")
	require.ErrorIs(t, err, encryption.ErrIncomplete)
	require.ErrorContains(t, err, "call RebuildIndexes")

	require.NoError(t, people.RebuildIndexes(e.db, tenant)(t.Context()))
	for _, person := range []string{"p1", "p2", "p3"} {
		n, err := findMail(t, e.db, people, person)
		require.NoError(t, err)
		require.Equal(t, 1, n, person)
	}
	start = e.clock.Now()
	require.NoError(t, people.FenceOldWriters(t.Context(), tenant))
	require.Equal(t, start, e.clock.Now(), "nothing is left to wait for")

	// The other way round: a later release that gives the index up.
	_, err = people.Lookup(t.Context(), tenant, "email_idx", "  ")
	require.ErrorIs(t, err, encryption.ErrDefinition, "an empty value is no search")
	require.ErrorIs(t, people.RetireIndex(t.Context(), tenant, "email_idx", 1), encryption.ErrDefinition, "it is still declared, and searched")
	require.NoError(t, old.RetireIndex(t.Context(), tenant, "email_idx", 1))
	require.NoError(t, insertMail(t, e.db, old, "c5", "p5", false))
	e.clock.Move(encryption.DefaultLease)
	_, err = findMail(t, e.db, people, "p5")
	require.ErrorIs(t, err, encryption.ErrIncomplete, "who still declares it does not search in vain")
}

// A fence that was killed while it waited has shut nobody's last transaction
// out: it waits again, and no census counts for it before.
func TestAFenceThatWasKilledIsSetAgain(t *testing.T) {
	e := newEnv(t, 1)
	old := e.table(t, e.vault, before())
	require.NoError(t, insertMail(t, e.db, old, "c1", "p1", false))
	people := e.table(t, e.another(t), after())
	_, err := people.Lookup(t.Context(), tenant, "email_idx", "x")
	require.ErrorIs(t, err, encryption.ErrIncomplete)
	e.cfg.Wait = func(context.Context, time.Duration) error { return context.Canceled }
	killed, err := encryption.Open(t.Context(), e.cfg)
	require.NoError(t, err)
	require.ErrorIs(t, e.table(t, killed, after()).FenceOldWriters(t.Context(), tenant), context.Canceled)
	require.NoError(t, people.RebuildIndexes(e.db, tenant)(t.Context()))
	_, err = findMail(t, e.db, people, "p1")
	require.ErrorIs(t, err, encryption.ErrIncomplete)
	start := e.clock.Now()
	require.NoError(t, people.FenceOldWriters(t.Context(), tenant))
	require.GreaterOrEqual(t, e.clock.Now().Sub(start), encryption.DefaultLease+encryption.DefaultLongestTransaction)
	require.NoError(t, people.RebuildIndexes(e.db, tenant)(t.Context()))
	n, err := findMail(t, e.db, people, "p1")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.ErrorIs(t, old.FenceOldWriters(t.Context(), tenant), encryption.ErrDefinition, "no index is declared there")
}

// In a tenant without a key nothing is sealed: what is declared before the
// first key is complete, in whichever table that key is first needed.
func TestAnIndexIsCompleteInATenantThatHasSealedNothing(t *testing.T) {
	e := newEnv(t, 1)
	people := e.table(t, e.vault, after())
	_, err := e.vault.PersonSealer("undo").Seal(t.Context(), tenant, "p9", []byte("x"), nil) // no table at all
	require.NoError(t, err)
	require.NoError(t, insertMail(t, e.db, people, "c1", "p1", true))
	n, err := findMail(t, e.db, people, "p1")
	require.NoError(t, err)
	require.Equal(t, 1, n)

	// A process that read the tenant before the index was there makes no key in
	// it without looking again.
	require.NoError(t, e.vault.AddTenant(t.Context(), "t2"))
	stale := e.another(t)
	old := e.table(t, stale, before())
	_, err = stale.Tagger("seal").Tag(t.Context(), "t2", []byte("x"))
	require.NoError(t, err)
	_, err = people.Lookup(t.Context(), "t2", "email_idx", "x")
	require.NoError(t, err)
	_, err = old.Writer(t.Context(), "t2", "p1")
	require.ErrorIs(t, err, encryption.ErrDefinition)
}

// A census that had begun before the fence may have passed where an older
// release wrote its last row: the next one counts.
func TestACensusThatBeganBeforeTheFenceProvesNothing(t *testing.T) {
	e := newEnv(t, 1)
	old := e.table(t, e.vault, before())
	require.NoError(t, insertMail(t, e.db, old, "c1", "p1", false))
	e.cfg.Observe = func(_ context.Context, name string, _ float64, _ ...slog.Attr) {
		if name == "encryption.index.rows" {
			require.NoError(t, e.table(t, e.another(t), after()).FenceOldWriters(t.Context(), tenant))
		}
	}
	observed, err := encryption.Open(t.Context(), e.cfg)
	require.NoError(t, err)
	e.cfg.Observe = nil
	people := e.table(t, observed, after())
	require.NoError(t, people.RebuildIndexes(e.db, tenant)(t.Context()))
	_, err = findMail(t, e.db, people, "p1")
	require.ErrorIs(t, err, encryption.ErrIncomplete)
	require.NoError(t, people.RebuildIndexes(e.db, tenant)(t.Context()))
	n, err := findMail(t, e.db, people, "p1")
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// An index that a repair is about to fence was live a moment ago: whoever retires it
// waits as for a live one, for others may search by it.
func TestAnIndexThatIsBeingFencedIsRetiredInTwoSteps(t *testing.T) {
	e := newEnv(t, 1)
	require.NoError(t, insertMail(t, e.db, e.table(t, e.vault, after()), "c1", "p1", true))
	e.spoil(t, `UPDATE crmguard_encryption_index SET state = 'fencing' WHERE tab = 'people'`)
	cfg, waits := e.waited()
	v, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, e.table(t, v, before()).RetireIndex(t.Context(), tenant, "email_idx", 1))
	require.Len(t, *waits, 1)
}
