package audit_test

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// forged is a leaf that nobody recorded.
func forged(id string) string {
	return `{"action":"role.grant","actor":"u-9","at":"2026-11-22T09:00:00.000000Z","id":"` + id + `","kind":"event","outcome":"ok","tenant":"main","v":1}`
}

// Of the rows that somebody puts into the queue each is looked at once, and a good
// one behind them is filed.
func TestForgedRowsStandInNobodysWay(t *testing.T) {
	b := newBench(t)
	const many = 1200
	require.NoError(t, b.in(func(tx *sql.Tx) error {
		for n := range many {
			id := fmt.Sprintf("019aaaaa-0000-7000-8000-%012d", n)
			body, err := auditlog.AppendRowBody(nil, auditlog.RowBody{Tag: make([]byte, auditlog.TagSize), Leaf: []byte(forged(id))})
			require.NoError(t, err)
			body[1] = 1 // the form of a tag, under a key that there is
			if _, err := tx.ExecContext(t.Context(), `INSERT INTO crmguard_audit_events (id, log, retry, body) VALUES (?, 1, x'', ?)`, key(id), body); err != nil {
				return err
			}
		}
		return nil
	}))
	good := b.record(update("p1", 1))
	r := b.run()
	require.Equal(t, 1, r.Sequenced)
	require.Len(t, r.Refused, many)
	require.Equal(t, many, r.Aside)
	require.Equal(t, good, b.leaves()[0].ID)
	require.Empty(t, b.run().Refused)
	require.Equal(t, many, b.count(`SELECT COUNT(*) FROM crmguard_audit_aside`))
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
	require.EqualValues(t, many, b.found("audit.aside", "").Value)

	// Their ids stay taken: nobody records under them what somebody else foresaw.
	e := update("p1", 2)
	e.ID = "019aaaaa-0000-7000-8000-000000000000"
	b.prepare(e)
	require.ErrorIs(t, b.in(func(tx *sql.Tx) error { return only(b.trail.Record(t.Context(), tx, e)) }), audit.ErrConflict)
	n, err := b.trail.Dismiss(t.Context())
	require.NoError(t, err)
	require.Equal(t, many, n)
	n, err = b.trail.Readmit(t.Context())
	require.NoError(t, err)
	require.Zero(t, n, "what was dismissed is gone")
	b.run()
	leaves := b.leaves()
	require.Equal(t, "audit.dismiss", leaves[len(leaves)-1].Action)
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
}

// A row that waits for one log is none of another one, though both have the keys.
func TestARowOfAnotherLogIsNone(t *testing.T) {
	prod, stage := newBench(t), newBench(t)
	stage.keys = prod.keys
	stage.config.Keys = prod.keys
	signer, _, err := audit.GenerateKey("stage.example/audit", 0)
	require.NoError(t, err)
	stage.config.Name, stage.config.Key, stage.config.Signer, stage.config.Verifier = "stage.example/audit", signer, nil, ""
	stage.exec(`DELETE FROM crmguard_audit_state`)
	stage.exec(`DELETE FROM crmguard_audit_log`)
	stage.open()
	id := stage.record(audit.Event{Tenant: "main", Actor: "u-ceo", Action: "role.grant"})
	prod.exec(`INSERT INTO crmguard_audit_events (id, log, retry, body) VALUES (?, 1, x'', ?)`, key(id), stage.blob(`SELECT body FROM crmguard_audit_events WHERE id = ?`, key(id)))
	r := prod.run()
	require.Zero(t, r.Sequenced)
	require.Equal(t, 1, r.Aside, "the key is here, and the tag is not right")
}

// The row of a log before a recovery is one of the log after it.
func TestALogThatWasBegunAnewTakesOverWhatWaits(t *testing.T) {
	before, after := newBench(t), newBench(t)
	after.keys = before.keys
	after.config.Keys = before.keys
	signer, _, err := audit.GenerateKey(before.config.Name, 1)
	require.NoError(t, err)
	after.config.Recoveries, after.config.Key, after.config.Signer, after.config.Verifier = 1, signer, nil, ""
	after.exec(`DELETE FROM crmguard_audit_state`)
	after.exec(`DELETE FROM crmguard_audit_log`)
	after.open()
	id := before.record(audit.Event{Tenant: "main", Actor: "u-1", Action: "role.grant"})
	after.exec(`INSERT INTO crmguard_audit_events (id, log, retry, body) VALUES (?, 1, x'', ?)`, key(id), before.blob(`SELECT body FROM crmguard_audit_events WHERE id = ?`, key(id)))
	require.Equal(t, 1, after.run().Sequenced)
	require.Equal(t, id, after.leaves()[0].ID)
}

// A clock that is years off hides nothing from a question by time, and an outage of
// a week is told as it was.
func TestTheTimeByWhichAnEntryIsFound(t *testing.T) {
	b := newBench(t)
	for _, off := range []time.Duration{-10 * 365 * 24 * time.Hour, -8 * 24 * time.Hour, 0, time.Hour} {
		b.advance(off)
		id := b.record(update("p1", 1))
		at := b.clock.Load()
		b.advance(-off)
		b.run()
		found := int64(b.count(`SELECT f.at FROM crmguard_audit_found f JOIN crmguard_audit_events e ON e.idx = f.idx WHERE e.id = ?`, key(id)))
		if off < -30*24*time.Hour || off > 5*time.Minute {
			require.Equal(t, b.clock.Load(), found, "%s", off)
		} else {
			require.Equal(t, at, found, "%s", off)
		}
	}
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
}

// What waits and is behind the index is in a history all the same.
func TestAHistoryHasWhatIsNotFiledByItsKeysYet(t *testing.T) {
	b := newBench(t)
	ids := b.fill(9)
	b.run()
	newer := b.fill(9)
	b.exec(`CREATE TRIGGER later BEFORE INSERT ON crmguard_audit_found BEGIN SELECT RAISE(ABORT, 'later'); END`)
	_, err := b.trail.RunOnce(t.Context())
	require.ErrorContains(t, err, "write")
	require.Len(t, b.leaves(), 19, "it was signed before")
	waiting := b.fill(9)
	past := b.history(audit.About("p1"))
	require.Len(t, past, 9)
	var got []string
	for i, e := range past {
		got = append(got, e.Leaf.ID)
		require.Equal(t, i < 3, e.Index < 0)
	}
	require.Equal(t, []string{waiting[7], waiting[4], waiting[1], newer[7], newer[4], newer[1], ids[7], ids[4], ids[1]}, got)
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
	b.exec(`DROP TRIGGER later`)
	b.run()
	require.Len(t, b.history(audit.About("p1")), 9)
	require.Equal(t, 28, b.count(`SELECT COUNT(*) FROM crmguard_audit_found`))
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
}

// On SQLite rows below the mark of what was looked at are somebody's hand: they are
// told of, and a process that begins looks at all.
func TestARowThatWasPutBelowTheMarkIsFound(t *testing.T) {
	b := newBench(t)
	b.fill(5)
	b.run()
	id := b.record(update("p1", 1))
	b.exec(`UPDATE crmguard_audit_events SET seq = -7 WHERE id = ?`, key(id))
	require.Zero(t, b.run().Sequenced)
	require.Equal(t, auditlog.Tampered, b.verifyStore(nil).Verdict)
	b.open()
	require.Equal(t, 1, b.run().Sequenced)
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)

	// Rows that were taken away leave numbers that are given out again.
	lost := b.record(update("p1", 2))
	b.run()
	b.exec(`DELETE FROM crmguard_audit_events WHERE seq >= (SELECT seq FROM crmguard_audit_events WHERE id = ?)`, key(lost))
	again := b.record(update("p1", 3))
	require.NotEqual(t, lost, again)
	require.Equal(t, 1, b.run().Sequenced)
}
