package audit_test

import (
	"database/sql"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// A client that delivers an event again after the person was erased is told so,
// and ties the person to the log no more, also where it commits all the same.
func TestARetryAfterAnErasureBringsNothingBack(t *testing.T) {
	b := newBench(t)
	e := update("p1", 1)
	e.Persons = []string{"p1", "p2"}
	e.ID = b.record(e)
	b.run()
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p1"))
	again := func(e audit.Event) {
		t.Helper()
		b.prepare(e)
		tx, err := b.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		err = only(b.trail.Record(t.Context(), tx, e))
		var conflict *audit.ConflictError
		require.True(t, errors.As(err, &conflict), "%v", err)
		require.NoError(t, tx.Commit(), "a caller who takes a conflict for: it is there")
	}
	again(e)
	b.run()
	again(e)
	other := e // under the same id, about somebody who was never in the log
	other.Persons = []string{"p3"}
	again(other)
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_persons p JOIN crmguard_audit_surrogates s ON s.k = p.k WHERE s.person <> 'p2'`), "nobody else is in the log")
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_openings WHERE owner <> zeroblob(16)`))
	require.Empty(t, b.history(audit.About("p1")))
	b.run()
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
}

// A transaction that begins with a retry can write afterwards, whatever others
// have written since.
func TestARetryIsNoReadThatCannotWrite(t *testing.T) {
	b := newBench(t)
	e := update("p1", 1)
	e.ID = b.record(e)
	first, err := b.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, only(b.trail.Record(t.Context(), first, e)))
	impatient, err := sql.Open("sqlite", "file:"+b.file+"?_pragma=busy_timeout(0)")
	require.NoError(t, err)
	defer impatient.Close()
	_, err = impatient.ExecContext(t.Context(), `INSERT INTO contacts (id, email) VALUES ('c2', 'x')`)
	require.Error(t, err, "the retry holds the write lock, or the next statement could not have it")
	_, err = first.ExecContext(t.Context(), `INSERT INTO contacts (id, email) VALUES ('c1', 'x')`)
	require.NoError(t, err)
	require.NoError(t, first.Commit())
}
