package audit_test

import (
	"context"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
)

// newerKeys tag with a key that those inside do not know.
type newerKeys struct{ *audittest.Keys }

func (k newerKeys) MACKeys(ctx context.Context, tenant string, info []byte) ([]uint32, [][]byte, error) {
	ids, keys, err := k.Keys.MACKeys(ctx, tenant, info)
	if err != nil || tenant != "main" || !contains(info, []byte("crmguard/audit/queue-key/")) {
		return ids, keys, err
	}
	newer := sha256.Sum256(keys[0])
	return append([]uint32{77}, ids...), append([][]byte{newer[:]}, keys...), nil
}

// learn gives the process the newer key, or takes it away.
func (b *bench) learn(newer bool) {
	b.t.Helper()
	b.config.Keys = b.keys
	if newer {
		b.config.Keys = newerKeys{b.keys}
	}
	b.open()
}

// A row under a key that this process does not have may be one of another process
// that has it already: it is set aside, stands in nobody's way, and comes back by
// itself when the key is there, in the order in which the rows were recorded.
func TestARowOfAKeyThatIsNotHereComesBack(t *testing.T) {
	b := newBench(t)
	b.learn(true)
	ids := b.fill(3)
	b.learn(false)
	next := b.record(update("p2", 9))
	whole := b.blob(`SELECT body FROM crmguard_audit_events WHERE id = ?`, key(next))
	b.exec(`UPDATE crmguard_audit_events SET body = ? WHERE id = ?`, append([]byte{9}, whole[1:]...), key(next)) // of a version to come
	r := b.run()
	require.Len(t, r.Refused, 4)
	require.Equal(t, 4, r.Aside)
	for range 3 {
		b.fill(3)
		r := b.run()
		require.Equal(t, 3, r.Sequenced)
		require.Len(t, r.Refused, 4, "looked at again")
		require.Zero(t, r.Aside)
		require.EqualValues(t, 4, b.found("audit.refused", "").Value)
		require.Equal(t, audit.HealthAlarm, b.found("audit.refused", "").Level)
		require.Equal(t, audit.HealthOK, b.found("audit.aside", "").Level, "nobody says that they were forged")
		b.open() // and a process that begins
	}
	n, err := b.trail.Dismiss(t.Context())
	require.NoError(t, err)
	require.Zero(t, n, "every process has a day to learn a key")

	b.learn(true)
	require.Equal(t, 3, b.run().Sequenced)
	var filed []string
	for _, l := range b.leaves() {
		filed = append(filed, l.ID)
	}
	require.Equal(t, ids, filed[len(filed)-3:])
	require.Len(t, b.run().Refused, 1, "that of a later version waits on")
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)

	b.advance(25 * time.Hour)
	n, err = b.trail.Dismiss(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	b.run()
	require.Empty(t, b.run().Refused)
	require.Equal(t, audit.HealthOK, b.found("audit.refused", "").Level)
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
}

// An erasure waits for a row whose key is not here, and takes nothing out of it:
// without the opening it would be no row of its key any more.
func TestAnErasureWaitsForARowOfAKeyThatIsNotHere(t *testing.T) {
	b := newBench(t)
	b.learn(true)
	b.record(update("p1", 1))
	owner := b.surrogate("p1")
	b.learn(false)
	b.run()
	require.Positive(t, b.left("p1"))
	require.ErrorIs(t, b.trail.Erase(t.Context(), "main", "p1"), audit.ErrWaiting)
	b.run()
	require.Equal(t, 1, b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE state = 3`))
	b.learn(true)
	b.run()
	b.run()
	require.Equal(t, 1, b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE state = 1`))
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_openings WHERE owner = ?`, owner))
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_aside`))
	r := b.verifyStore(nil)
	require.Equal(t, auditlog.Unanchored, r.Verdict, "%+v", r.Faults)
	require.EqualValues(t, 1, r.Openings[audit.OpeningErased])
}

// Readmit puts back what was set aside when it was called, however often the
// sequencer sets rows aside meanwhile.
func TestReadmitComesToAnEnd(t *testing.T) {
	b := newBench(t)
	b.learn(true)
	b.fill(1100)
	b.learn(false)
	require.Equal(t, 1100, b.run().Aside)
	asked := 0
	b.config.Keys = &countedKeys{Keys: b.keys, at: func() {
		if asked++; asked%2 == 0 {
			_, err := b.db.ExecContext(t.Context(), `INSERT INTO crmguard_audit_aside (id, body, why, at, tag) SELECT randomblob(16), body, why, at, tag FROM crmguard_audit_aside LIMIT 1`)
			require.NoError(t, err)
		}
	}}
	b.open()
	n, err := b.trail.Readmit(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1100, n)
	require.Positive(t, asked)
}

// countedKeys does something each time that a state is tagged.
type countedKeys struct {
	*audittest.Keys
	at func()
}

func (k *countedKeys) Tag(ctx context.Context, tenant string, data []byte) ([]byte, error) {
	if contains(data, []byte("crmguard/audit/state/")) {
		k.at()
	}
	return k.Keys.Tag(ctx, tenant, data)
}

// A backup has a row that waits for its key, set aside; the key came, and the event was
// published. CatchUp gives it back what it holds, and nothing is left to be looked at.
func TestARowThatWaitedForItsKeyInABackup(t *testing.T) {
	for _, same := range []bool{true, false} {
		b := newBench(t)
		b.learn(true)
		e := update("p1", 1)
		e.ID = b.record(e)
		b.learn(false)
		b.run()
		file := b.backup()
		b.learn(true)
		if !same { // the client repeated it elsewhere, with other salts
			b.exec(`DELETE FROM crmguard_audit_events`)
			b.exec(`DELETE FROM crmguard_audit_aside`)
			b.record(e)
		}
		require.Equal(t, 1, b.run().Sequenced)
		b.restore(file)
		r, err := b.trail.CatchUpReport(t.Context())
		require.NoError(t, err)
		b.run()
		got, err := b.trail.Event(t.Context(), e.ID)
		require.NoError(t, err)
		if same {
			require.Equal(t, audit.OpeningOK, got.Changes[0].Verdict)
			require.Zero(t, r.Lost)
			require.Equal(t, audit.HealthOK, b.found("audit.refused", "").Level)
		} else {
			require.Equal(t, audit.OpeningLost, got.Changes[0].Verdict)
			require.Equal(t, 1, b.count(`SELECT COUNT(*) FROM crmguard_audit_aside WHERE LENGTH(body) > 0`), "it says something else")
			require.ErrorIs(t, b.sale(e), audit.ErrConflict, "and who repeats it is not told that it is recorded")
		}
		require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
	}
}
