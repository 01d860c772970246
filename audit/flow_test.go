package audit_test

import (
	"database/sql"
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

func TestFromRecordToProof(t *testing.T) {
	b := newBench(t)
	ids := b.fill(300)
	r := b.run()
	require.Equal(t, 300, r.Sequenced)
	require.True(t, r.Beat)
	require.Equal(t, int64(301), r.Published)
	require.Empty(t, r.Refused)

	for _, id := range []string{ids[0], ids[255], ids[256], ids[299]} {
		proof, err := b.trail.Proof(t.Context(), id)
		require.NoError(t, err)
		raw, err := b.trail.Leaf(t.Context(), id)
		require.NoError(t, err)
		leaf, err := auditlog.Verify(b.trust(), raw, proof)
		require.NoError(t, err)
		require.Equal(t, id, leaf.ID)
		require.Equal(t, "u-1", leaf.Actor)
		raw[20] ^= 1
		_, err = auditlog.Verify(b.trust(), raw, proof)
		require.ErrorIs(t, err, auditlog.ErrTampered)
	}
	report := b.verifyLog(nil)
	require.Equal(t, auditlog.Unanchored, report.Verdict, "%+v", report.Faults)
	require.Equal(t, int64(301), report.Verified)
	require.Equal(t, int64(1), report.Beats)
	store := b.verifyStore(b.checkpoint())
	require.Equal(t, auditlog.OK, store.Verdict, "%+v", store.Faults)
	require.Equal(t, int64(600), store.Openings[audit.OpeningOK], "one for the person and one for nobody")
	require.Equal(t, int64(301), store.Rows)

	past := b.history(audit.PersonRef("contact", "p1"))
	require.Len(t, past, 100)
	require.Equal(t, "old298@canary.example", past[0].Changes[0].Old)
	require.Equal(t, "p1", past[0].Changes[0].Who)
	require.Equal(t, audit.OpeningOK, past[0].Changes[0].Verdict)
	require.Len(t, b.history(audit.About("p1")), 100)
}

func TestRollbackRemovesTheEvent(t *testing.T) {
	b := newBench(t)
	b.prepare(update("p1", 1))
	tx, err := b.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), `INSERT INTO contacts (id, email) VALUES ('c1', 'x')`)
	require.NoError(t, err)
	require.NoError(t, only(b.trail.Record(t.Context(), tx, update("p1", 1))))
	require.NoError(t, tx.Rollback())
	require.Zero(t, b.run().Sequenced)
	for _, table := range []string{"events", "entries", "openings", "persons"} {
		require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_`+table), table)
	}
}

func TestABareDatabaseIsRefused(t *testing.T) {
	b := newBench(t)
	require.ErrorIs(t, only(b.trail.Record(t.Context(), b.db, update("p1", 1))), audit.ErrNoTransaction)
	conn, err := b.db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	require.ErrorIs(t, only(b.trail.Record(t.Context(), conn, update("p1", 1))), audit.ErrNoTransaction)
	require.ErrorIs(t, only(b.trail.Record(t.Context(), nil, update("p1", 1))), audit.ErrNoTransaction)
	type wrapped struct{ *sql.DB }
	require.ErrorIs(t, only(b.trail.Record(t.Context(), wrapped{b.db}, update("p1", 1))), audit.ErrNoTransaction)
	require.ErrorIs(t, only(b.trail.Record(t.Context(), (*sql.Tx)(nil), update("p1", 1))), audit.ErrNoTransaction)
}

func TestARetryChangesNothing(t *testing.T) {
	b := newBench(t)
	e := update("p1", 1)
	e.ID = b.record(e)
	b.advance(time.Second)
	b.record(e)
	require.Equal(t, 1, b.count(`SELECT COUNT(*) FROM crmguard_audit_events`))
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_openings`), "they wait with the event")

	other := e
	other.Changes = audit.Diff("p1", map[string]any{"email": "a@b.example"}, nil)
	err := b.sale(other)
	require.ErrorIs(t, err, audit.ErrConflict)
	var conflict *audit.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, e.ID, conflict.ID)
	require.NotContains(t, err.Error(), "a@b.example")
	foreign := e
	foreign.Tenant = "t2"
	require.ErrorIs(t, b.sale(foreign), audit.ErrConflict)

	b.run()
	require.Equal(t, 2, b.count(`SELECT COUNT(*) FROM crmguard_audit_openings`))
	b.record(e) // still comparable after sequencing
	b.advance(25 * time.Hour)
	b.record(update("p2", 2))
	require.True(t, b.run().Beat)
	err = b.sale(e)
	require.ErrorAs(t, err, &conflict, "its tag has served its time")
}

func TestPoolOfOne(t *testing.T) {
	b := newBench(t)
	b.db.SetMaxOpenConns(1)
	b.config.Heads.Seals = func(ctx ctx) ([]byte, error) {
		var n int
		return []byte("root"), b.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM contacts`).Scan(&n)
	}
	pool := &poolKeys{b.keys, b.db}
	b.config.Keys = pool
	b.open()
	require.NoError(t, b.trail.Prepare(t.Context(), "main", "p1"))
	b.record(update("p1", 1)) // without a key, without a connection
	require.NoError(t, only(b.trail.Note(t.Context(), audit.Event{Tenant: "main", Actor: "u", Action: "contact.read"})))
	b.run()
	require.NoError(t, b.trail.Beat(t.Context()))
	require.Len(t, b.history(audit.About("p1")), 1)
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
	_, err := b.trail.Reseal(t.Context(), func(ctx ctx, tenant, person string, sealed, ad []byte) ([]byte, error) {
		return sealed, b.db.PingContext(ctx)
	})
	require.NoError(t, err)
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p1"))
	b.run()
	require.NoError(t, b.trail.CatchUp(t.Context()))
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
}

func TestErasure(t *testing.T) {
	b := newBench(t)
	ids := b.fill(30)
	b.run()
	before := b.leaves()
	proofs := make(map[string][]byte)
	raws := make(map[string][]byte)
	for _, id := range ids {
		var err error
		proofs[id], err = b.trail.Proof(t.Context(), id)
		require.NoError(t, err)
		raws[id], err = b.trail.Leaf(t.Context(), id)
		require.NoError(t, err)
	}
	require.NoError(t, b.trail.Eraser()(t.Context(), "main", "p1"))
	require.NoError(t, b.keys.Erase(t.Context(), "main", "p1"))
	require.Equal(t, auditlog.Incomplete, b.verifyStore(nil).Verdict, "the erasure is not published yet")
	events := b.count(`SELECT COUNT(*) FROM crmguard_audit_events`)
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p1"))
	require.NoError(t, b.trail.Erase(t.Context(), "main", "stranger"))
	require.Equal(t, events, b.count(`SELECT COUNT(*) FROM crmguard_audit_events`), "the second call records nothing")
	b.run()

	for _, id := range ids {
		_, err := auditlog.Verify(b.trust(), raws[id], proofs[id])
		require.NoError(t, err, "an old proof")
		fresh, err := b.trail.Proof(t.Context(), id)
		require.NoError(t, err)
		_, err = auditlog.Verify(b.trust(), raws[id], fresh)
		require.NoError(t, err, "a new proof")
	}
	after := b.leaves()
	require.Equal(t, before, after[:len(before)], "no entry changed")
	erasure := after[len(before)]
	require.Equal(t, auditlog.KindErase, erasure.Kind)
	require.Len(t, erasure.Persons, 1)
	require.Empty(t, erasure.Object)

	report := b.verifyStore(nil)
	require.Equal(t, auditlog.Unanchored, report.Verdict, "%+v", report.Faults)
	require.Equal(t, int64(10), report.Openings[audit.OpeningErased])
	require.Equal(t, int64(50), report.Openings[audit.OpeningOK], "everyone else, and what is about nobody")
	require.Empty(t, b.history(audit.About("p1")))
	require.Len(t, b.history(audit.About("p2")), 10)

	// What was about several persons keeps the others' values.
	e := update("p2", 7)
	e.Persons = []string{"p0", "p2"}
	b.record(e)
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p2"))
	b.run()
	past := b.history(audit.About("p0"))[0]
	require.Equal(t, audit.OpeningErased, past.Changes[0].Verdict)
	require.Nil(t, past.Changes[0].Old)
	require.Equal(t, "customer", past.Changes[1].New, "about nobody")
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
}

func TestErasedCannotBeForged(t *testing.T) {
	for name, forge := range map[string]func(b *bench){
		"opening deleted": func(b *bench) { b.exec(`DELETE FROM crmguard_audit_openings WHERE owner <> zeroblob(16)`) },
		"opening and surrogate deleted": func(b *bench) {
			b.exec(`DELETE FROM crmguard_audit_openings WHERE owner <> zeroblob(16)`)
			b.exec(`DELETE FROM crmguard_audit_surrogates`)
		},
		"after the erasure of another": func(b *bench) {
			require.NoError(b.t, b.trail.Erase(b.t.Context(), "main", "p2"))
			b.exec(`DELETE FROM crmguard_audit_openings WHERE owner <> zeroblob(16)`)
			b.exec(`DELETE FROM crmguard_audit_surrogates`)
		},
		"surrogate deleted, opening left": func(b *bench) { b.exec(`DELETE FROM crmguard_audit_surrogates`) },
		"what is about nobody deleted":    func(b *bench) { b.exec(`DELETE FROM crmguard_audit_openings WHERE owner = zeroblob(16)`) },
		"opening altered":                 func(b *bench) { b.exec(`UPDATE crmguard_audit_openings SET sealed = zeroblob(300)`) },
		"openings of two events exchanged": func(b *bench) {
			b.exec(`UPDATE crmguard_audit_openings SET sealed = (SELECT sealed FROM crmguard_audit_openings ORDER BY idx DESC LIMIT 1)`)
		},
		"opening of a stranger added": func(b *bench) {
			b.exec(`INSERT INTO crmguard_audit_openings SELECT idx, x'00000000000000000000000000000001', sealed FROM crmguard_audit_openings WHERE owner = zeroblob(16)`)
		},
		"opening without an event added":    func(b *bench) { b.exec(`INSERT INTO crmguard_audit_openings VALUES (1000, zeroblob(16), x'01')`) },
		"erasure event inserted by hand":    forgeErasure,
		"people moved to a tenant of one's": func(b *bench) { b.exec(`UPDATE crmguard_audit_surrogates SET tenant = 'evil'`) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.record(update("p1", 1))
			b.record(update("p2", 2))
			b.run()
			require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
			forge(b)
			b.run()
			report := b.verifyStore(nil)
			require.Equal(t, auditlog.Tampered, report.Verdict, "%+v", report)
		})
	}
}

// forgeErasure deletes an opening and its surrogate, and inserts an erasure
// event into the queue without the key of the tags.
func forgeErasure(b *bench) {
	s := b.surrogate("p1")
	text := "s:" + base64.RawURLEncoding.EncodeToString(s)
	const id = "019aaaaa-0000-7000-8000-000000000001"
	leaf := `{"action":"audit.erase","actor":"crmguard/audit","at":"2026-11-22T09:00:00.000000Z","id":"` + id + `","kind":"erase","outcome":"ok","persons":["` + text + `"],"tenant":"main","v":1}`
	b.wait(id, b.queueTag("t2", leaf, ""), leaf, "")
	b.exec(`DELETE FROM crmguard_audit_openings WHERE owner = ?`, s)
	b.exec(`DELETE FROM crmguard_audit_surrogates WHERE surrogate = ?`, s)
}
