package main

import (
	"database/sql"
	"errors"
	"os"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// What is made in bulk is what the library would have written: every check of the
// published log and of the tables holds, and the trail goes on behind it.
func TestALogMadeInBulkIsSound(t *testing.T) {
	ctx, p := t.Context(), newTestBench(t)
	shops := []shop{sqliteShop(p)}
	if s, err := p.postgres(); !errors.Is(err, errNoServer) {
		require.NoError(t, err)
		shops = append(shops, postgresShop(p, s))
	}
	for _, s := range shops {
		t.Run(s.name, func(t *testing.T) {
			log, press, err := newPressed(ctx, p, s, 600)
			require.NoError(t, err)
			require.NoError(t, press.publish(ctx, 600, true))
			sound := func(want int64) {
				t.Helper()
				entries, _, err := verify(ctx, log.dir, log.key)
				require.NoError(t, err)
				require.Equal(t, want, entries)
				_, _, err = torchwoodReads(ctx, log.dir, log.key)
				require.NoError(t, err)
				require.NoError(t, fsckVerdict(t, log.dir, log.key))
				report, err := log.trail.VerifyStore(ctx, nil)
				require.NoError(t, err)
				require.Contains(t, []auditlog.Verdict{auditlog.OK, auditlog.Unanchored}, report.Verdict, "%+v", report.Faults)
			}
			sound(600)
			require.NoError(t, press.queue(ctx, 300))
			size, err := log.file(ctx)
			require.NoError(t, err)
			require.EqualValues(t, 901, size, "a beat is one, too")
			sound(901)
			deals, actors := map[string]int{}, map[string]int{}
			for e, err := range auditlog.Entries(ctx, os.DirFS(log.dir)) {
				require.NoError(t, err)
				leaf, err := auditlog.ParseLeaf(e.Leaf)
				require.NoError(t, err)
				if e.Index < 400 {
					deals[leaf.Object.ID]++
					actors[leaf.Actor]++
				}
			}
			for _, q := range []screen{{deal: dealID(3)}, {actor: actorID(3)}} {
				q.at = press.when(399)
				n, err := log.ask(ctx, q)
				require.NoError(t, err)
				require.Equal(t, min(pageSize, deals[q.deal]+actors[q.actor]), n)
				require.Positive(t, n)
			}
		})
	}
}

// A leaf of the press is to the byte what the library makes of the same event.
func TestAPressedLeafIsTheLibrarys(t *testing.T) {
	ctx, p := t.Context(), newTestBench(t)
	log, press, err := newPressed(ctx, p, sqliteShop(p), 600)
	require.NoError(t, err)
	require.NoError(t, log.prepare(ctx))
	require.NoError(t, within(ctx, log.db, func(tx *sql.Tx) error { return log.record(ctx, tx, dealID(4711)) }))
	_, err = log.file(ctx)
	require.NoError(t, err)
	raw, leaf, err := log.firstLeaf(ctx)
	require.NoError(t, err)
	made, err := press.next()
	require.NoError(t, err)
	require.NotEqual(t, string(raw), string(made.leaf))
	for to, text := range map[place]string{
		press.id: leaf.ID, press.at: leafTime(leaf.At), press.actor: leaf.Actor, press.deal: leaf.Object.ID,
		press.before: leaf.Changes[0].Old, press.after: leaf.Changes[0].New, press.who: leaf.Changes[0].Who, press.among: leaf.Persons[0],
	} {
		require.NoError(t, to.put(made.leaf, text))
	}
	require.Equal(t, string(raw), string(made.leaf))
	require.Error(t, press.deal.put(made.leaf, "deal-1"), "a value of another length")
	require.EqualValues(t, 7, uuid.UUID(made.id).Version())
}

// A chain of hashes is whole, or the contest is void.
func TestABrokenChainIsSeen(t *testing.T) {
	ctx, p := t.Context(), newTestBench(t)
	s, err := p.postgres()
	if errors.Is(err, errNoServer) {
		return
	}
	require.NoError(t, err)
	chain, err := chainJournal(ctx, postgresShop(p, s), 500)
	require.NoError(t, err)
	require.NoError(t, chain.crowd(ctx, clients, 5))
	require.NoError(t, chain.sound(ctx))
	_, err = chain.db.ExecContext(ctx, `DELETE FROM events WHERE n = 40`)
	require.NoError(t, err)
	require.Error(t, chain.sound(ctx))
}
