package audit_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
)

func mirrored(t *testing.T) (*bench, *audittest.Sink) {
	b := newBench(t)
	mirror := &audittest.Sink{}
	b.config.Mirror = mirror
	b.open()
	return b, mirror
}

// held is how often the files of a mirror name a surrogate.
func held(files fstest.MapFS, surrogate []byte) (n int) {
	for _, f := range files {
		n += strings.Count(string(f.Data), string(surrogate))
	}
	return n
}

// What CatchUp would bring back is no erasure's yet: between a restore and CatchUp
// nobody is told that somebody is erased, or is one with another, and the mirror
// stays what it is.
func TestAnErasureWaitsForCatchUp(t *testing.T) {
	b, mirror := mirrored(t)
	b.record(update("a", 1))
	b.run()
	file := b.backup()
	b.record(update("a", 2))
	b.record(update("p", 1)) // whom the backup does not know
	b.run()
	before := mirror.FS()
	b.restore(file)
	require.Equal(t, audit.HealthOK, b.found("audit.mirror", "").Level, "the mirror is whole: it is the database that is behind")
	require.Equal(t, audit.HealthAlarm, b.found("audit.log", "").Level)
	for _, person := range []string{"a", "p"} {
		require.ErrorIs(t, b.trail.Erase(t.Context(), "main", person), audit.ErrBehind)
		_, err := b.trail.Left(t.Context(), "main", person)
		require.ErrorIs(t, err, audit.ErrBehind)
	}
	require.ErrorIs(t, b.trail.Merge(t.Context(), "main", "a", "q"), audit.ErrBehind)
	require.Equal(t, before, mirror.FS())
	require.NoError(t, b.trail.CatchUp(t.Context()))
	require.Len(t, b.history(audit.About("p")), 1)
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p"))
	b.run()
	require.Empty(t, b.history(audit.About("p")))
	require.Zero(t, b.left("p"))
	require.Len(t, b.history(audit.About("a")), 2)
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
}

// A process that knows nothing of what is published, because the sink is down, says
// so; one that has seen it goes on erasing.
func TestAnErasureAsksWhatIsPublished(t *testing.T) {
	b := newBench(t)
	b.record(update("p", 1))
	b.record(update("q", 1))
	b.run()
	down := errors.New("down")
	b.sink.Fail = func(op, _ string) error { return down }
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p"))
	fresh := b.beside(func(*audit.Config) {})
	require.ErrorIs(t, fresh.Erase(t.Context(), "main", "q"), down)
	b.sink.Fail = nil
	require.NoError(t, fresh.Erase(t.Context(), "main", "q"))
}

// What CatchUp has set aside has the id of a published event: it stays aside.
func TestReadmitKeepsWhatHasAnotherEventsID(t *testing.T) {
	b := newBench(t)
	b.record(update("a", 1))
	b.run()
	file := b.backup()
	e := update("p", 1)
	e.ID = b.record(e)
	b.run()
	b.restore(file)
	other := update("p", 7) // under the same id: the restored database cannot know
	other.ID = e.ID
	b.record(other)
	require.NoError(t, b.trail.CatchUp(t.Context()))
	require.Error(t, b.sale(other), "and who repeats it is not told that it is recorded")
	for range 2 {
		n, err := b.trail.Readmit(t.Context())
		require.NoError(t, err)
		require.Zero(t, n)
		b.run()
		require.Equal(t, 1, b.count(`SELECT COUNT(*) FROM crmguard_audit_aside WHERE LENGTH(body) > 0`))
	}
}

// A row that was set aside is no recorded event: its retry is a conflict, and no tag
// made of its values stays.
func TestARetryOfWhatWasSetAsideIsAConflict(t *testing.T) {
	b := newBench(t)
	e := update("p", 1)
	e.ID = b.record(e)
	b.exec(`UPDATE crmguard_audit_events SET body = x'010203'`)
	require.Equal(t, 1, b.run().Aside)
	require.ErrorIs(t, b.sale(e), audit.ErrConflict)
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE LENGTH(retry) > 0`))
}

// Entries filed by a clock that was years ahead hold up no end of retry tags: not a
// few of them, nor more than one look takes.
func TestAClockThatWasAheadKeepsNoRetryTags(t *testing.T) {
	for _, ahead := range []int{1, 1100} {
		b := newBench(t)
		const years = 10 * 365 * 24 * time.Hour
		b.advance(years)
		b.fill(ahead)
		b.run()
		b.advance(-years)
		b.open()
		for range 3 {
			b.record(update("p", 1))
			b.run()
			b.advance(48 * time.Hour)
		}
		b.run()
		b.run()
		require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE LENGTH(retry) > 0`), ahead)
	}
}

// One tenant's keys are gone: the log of all others catches up, and theirs does when
// the keys are back.
func TestATenantWithoutKeysStopsNoRestore(t *testing.T) {
	b, _ := mirrored(t)
	b.record(update("a", 1))
	b.run()
	file := b.backup()
	for _, person := range []string{"x", "gone"} {
		e := update(person, 1)
		e.Tenant = "t2"
		b.record(e)
	}
	b.record(update("p", 1))
	b.run()
	require.NoError(t, b.trail.Erase(t.Context(), "t2", "gone"))
	b.run()
	keys := b.keys
	b.config.Keys = tenantDown{keys, "t2"}
	b.restore(file)
	b.open()
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.record(update("q", 1))
	r, err := b.trail.RunOnce(t.Context())
	require.Error(t, err, "the erasure of that tenant's person waits for the keys")
	require.Equal(t, 2, r.Sequenced, "it, and the recovery")
	require.Len(t, b.history(audit.About("p")), 1)

	b.config.Keys = keys
	b.open()
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.run()
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
	past, err := b.trail.Find(t.Context(), audit.Filter{Tenant: "t2", Person: "x"}, audit.Page{})
	require.NoError(t, err)
	require.Len(t, past.Entries, 1)
	n, err := b.trail.Left(t.Context(), "t2", "gone")
	require.NoError(t, err)
	require.Zero(t, n)
}

// tenantDown answers for one tenant with an error.
type tenantDown struct {
	*audittest.Keys
	tenant string
}

func (k tenantDown) MACKeys(ctx context.Context, tenant string, info []byte) ([]uint32, [][]byte, error) {
	if tenant == k.tenant {
		return nil, nil, errors.New("the keys of that tenant are away")
	}
	return k.Keys.MACKeys(ctx, tenant, info)
}

// One tenant's keys do not answer while an erasure of theirs is open: the passes say
// so, and sweep, mirror and copy as ever.
func TestOneTenantsErasureStopsNoSweep(t *testing.T) {
	b, mirror := mirrored(t)
	backup := &audittest.Sink{}
	b.config.Copies = []audit.Sink{backup}
	b.open()
	e := update("x", 1)
	e.Tenant = "t2"
	b.record(e)
	b.record(update("p", 1))
	b.run()
	mirror.Fail = func(string, string) error { return errors.New("down") }
	require.Error(t, b.trail.Erase(t.Context(), "t2", "x"))
	mirror.Fail = nil
	b.config.Keys = tenantDown{b.keys, "t2"}
	b.open()
	for range 3 {
		b.advance(25 * time.Hour)
		b.record(update("q", 1))
		_, err := b.trail.RunOnce(t.Context())
		require.Error(t, err)
	}
	require.Equal(t, 1, b.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE LENGTH(retry) > 0`), "of the newest alone")
	require.Equal(t, string(b.sink.FS()["checkpoint"].Data), string(backup.FS()["checkpoint"].Data))
}

// The survivor of a merge is erased, and the one who was merged into it comes again, in
// the process that erased.
func TestWhoWasErasedWithASurvivorComesAgain(t *testing.T) {
	b := newBench(t)
	b.record(update("p", 1))
	b.record(update("q", 1))
	b.run()
	require.NoError(t, b.trail.Merge(t.Context(), "main", "p", "q"))
	require.NoError(t, b.trail.Erase(t.Context(), "main", "q"))
	b.run()
	id := b.record(update("p", 2))
	b.run()
	e, err := b.trail.Event(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, audit.OpeningOK, e.Changes[0].Verdict)
	require.NoError(t, b.trail.Merge(t.Context(), "main", "p", "r"))
}

// putInPlace puts a backup back under the running process.
func (b *bench) putInPlace(file string) {
	b.t.Helper()
	conn, err := b.db.Conn(b.t.Context())
	require.NoError(b.t, err)
	defer conn.Close()
	exec := func(query string, args ...any) {
		_, err := conn.ExecContext(b.t.Context(), query, args...)
		require.NoError(b.t, err)
	}
	exec(`ATTACH ? AS old`, file)
	for _, table := range []string{"events", "entries", "found", "persons", "openings", "surrogates", "heads", "aside", "tiles", "state", "log"} {
		exec(`DELETE FROM main.crmguard_audit_` + table)
		exec(`INSERT INTO main.crmguard_audit_` + table + ` SELECT * FROM old.crmguard_audit_` + table)
	}
	exec(`DETACH old`)
}

// A backup is put back under a process that has prepared somebody since, whom the
// backup does not know: the ticket is of no use any more, and what is recorded behind
// CatchUp, or behind a look that found the database behind, keeps its values.
func TestTicketsOfBeforeARestoreAreOver(t *testing.T) {
	for _, published := range []bool{false, true} {
		b, _ := mirrored(t)
		b.record(update("a", 1))
		b.run()
		file := b.backup()
		if published {
			b.record(update("a", 2))
			b.run()
		}
		require.NoError(t, b.trail.Prepare(t.Context(), "main", "p"))
		b.putInPlace(file)
		e := update("p", 1)
		e.ID, _ = audit.NewID()
		if published {
			_, err := b.trail.RunOnce(t.Context())
			require.Error(t, err)
			require.NoError(t, b.sale(e), "before CatchUp")
			require.NoError(t, b.trail.CatchUp(t.Context()))
		} else {
			require.NoError(t, b.trail.CatchUp(t.Context()))
			require.NoError(t, b.sale(e))
		}
		b.run()
		got, err := b.trail.Event(t.Context(), e.ID)
		require.NoError(t, err)
		require.Equal(t, audit.OpeningOK, got.Changes[0].Verdict)
		require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
	}
}
