package encryption_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
)

// twoVersions is the table of before with a second version of its index.
func twoVersions() encryption.Table {
	def := after()
	def.Columns[0].Index = append(def.Columns[0].Index, encryption.Index{Column: "email_idx2", Name: "email_idx", Version: 2, As: encryption.Email, Bits: 40})
	return def
}

// insertBoth writes a row as a release writes it that knows both versions.
func insertBoth(t *testing.T, e *env, table *encryption.SealedTable, id, person string) (first encryption.IndexValue) {
	t.Helper()
	w, err := table.Writer(t.Context(), tenant, person)
	require.NoError(t, err)
	first = w.Int64("email_idx", person+"@b.example")
	_, err = e.db.ExecContext(t.Context(), `INSERT INTO contacts (id, person, email, email_idx, email_idx2) VALUES (?, ?, ?, ?, ?)`,
		id, person, w.Text("email", person+"@b.example"), first, w.Int64("email_idx2", person+"@b.example"))
	require.NoError(t, err)
	return first
}

// searched counts what a search finds, or says that it is refused.
func searched(t *testing.T, e *env, table *encryption.SealedTable, person string) int {
	t.Helper()
	n, err := findMail(t, e.db, table, person)
	if err != nil {
		require.ErrorIs(t, err, encryption.ErrIncomplete)
		return -1
	}
	return n
}

// Another process may not know yet that a version is retired, nor that another
// one is live: whatever it searches by, it finds what is written meanwhile, or is
// refused. It never finds nothing in silence.
func TestASearchMissesNothingWhileAnIndexIsRetired(t *testing.T) {
	for name, def := range map[string]func() encryption.Table{
		"an older release that declares no other version": after,
		"one that has not heard that another is live":     twoVersions,
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 1)
			_, err := e.db.ExecContext(t.Context(), `ALTER TABLE contacts ADD COLUMN email_idx2 INTEGER`)
			require.NoError(t, err)
			old := e.table(t, e.vault, after())
			require.NoError(t, insertMail(t, e.db, old, "c1", "p1", true))

			var people *encryption.SealedTable
			var others *encryption.SealedTable
			waits := 0
			cfg := e.cfg
			retiring := false
			cfg.Wait = func(ctx context.Context, d time.Duration) error {
				if !retiring {
					return e.clock.Wait(ctx, d)
				}
				waits++
				require.False(t, insertBoth(t, e, people, "c2", "p2").IsNull(), "it is written while others may search by it")
				require.Equal(t, 1, searched(t, e, others, "p2"), "the other process searches by what it knows")
				require.NoError(t, e.clock.Wait(ctx, encryption.DefaultLease))
				insertBoth(t, e, people, "c3", "p3")
				if n := searched(t, e, others, "p3"); n != -1 {
					require.Equal(t, 1, n)
				}
				return e.clock.Wait(ctx, d-encryption.DefaultLease)
			}
			vault, err := encryption.Open(t.Context(), cfg)
			require.NoError(t, err)
			people = e.table(t, vault, twoVersions())
			require.NoError(t, people.FenceOldWriters(t.Context(), tenant))
			others = e.table(t, e.another(t), def())
			require.Equal(t, 1, searched(t, e, others, "p1"))
			require.NoError(t, people.RebuildIndexes(e.db, tenant)(t.Context()), "version 2 is live, which the other process does not know")

			retiring = true
			require.NoError(t, people.RetireIndex(t.Context(), tenant, "email_idx", 1))
			require.Equal(t, 1, waits)
			require.True(t, insertBoth(t, e, people, "c4", "p4").IsNull(), "it is written no more")
			for _, person := range []string{"p1", "p2", "p3", "p4"} {
				require.Equal(t, 1, searched(t, e, people, person))
				if n := searched(t, e, others, person); n != -1 {
					require.Equal(t, 1, n)
				}
			}
			require.NoError(t, people.RetireIndex(t.Context(), tenant, "email_idx", 1), "again: nothing is left to do")
			require.Equal(t, 1, waits)
			require.ErrorIs(t, people.RetireIndex(t.Context(), tenant, "email_idx", 2), encryption.ErrDefinition, "the last one that is live")
		})
	}
}

// Of two versions one stays, whoever retires the other at the same moment; and a
// retirement that was killed while it waited is called again.
func TestARetirementThatWasKilledIsCalledAgain(t *testing.T) {
	e := newEnv(t, 1)
	_, err := e.db.ExecContext(t.Context(), `ALTER TABLE contacts ADD COLUMN email_idx2 INTEGER`)
	require.NoError(t, err)
	people := e.table(t, e.vault, twoVersions())
	cfg := e.cfg
	var second error
	cfg.Wait = func(context.Context, time.Duration) error {
		second = people.RetireIndex(t.Context(), tenant, "email_idx", 2)
		return context.Canceled
	}
	killed, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	insertBoth(t, e, people, "c1", "p1")
	err = e.table(t, killed, twoVersions()).RetireIndex(t.Context(), tenant, "email_idx", 1)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "call again")
	require.ErrorIs(t, second, encryption.ErrDefinition, "the other one is about to go")
	e.clock.Move(time.Hour)
	require.False(t, insertBoth(t, e, people, "c2", "p2").IsNull(), "written as long as nobody has finished it")
	require.Equal(t, 1, searched(t, e, people, "p2"))

	start := e.clock.Now()
	require.NoError(t, people.RetireIndex(t.Context(), tenant, "email_idx", 1))
	require.GreaterOrEqual(t, e.clock.Now().Sub(start), encryption.DefaultLease+encryption.DefaultLongestTransaction)
	require.True(t, insertBoth(t, e, people, "c3", "p3").IsNull())
	for _, person := range []string{"p1", "p2", "p3"} {
		require.Equal(t, 1, searched(t, e, people, person))
	}
}
