package audit_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// What was told, and not published because the sink failed, is told once.
func TestRetentionIsToldOnce(t *testing.T) {
	for name, prune := range map[string]func(b *bench) error{
		"entries": func(b *bench) error { return only(b.trail.Prune(b.t.Context(), b.yearAgo())) },
		"openings": func(b *bench) error {
			return only(b.trail.PruneOpenings(b.t.Context(), "main", "contact.", b.yearAgo()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := oldBench(t, 300, 30)
			b.sink.Fail = func(op, _ string) error {
				if op == "read" {
					return nil
				}
				return errCue
			}
			require.ErrorIs(t, prune(b), errCue)
			b.sink.Fail = nil
			b.open() // another process
			require.NoError(t, prune(b))
			require.Equal(t, 1, b.toldOf(auditlog.KindPrune))
			b.sound()
		})
	}
}

// Nothing goes that the log does not tell of, also where somebody spoils the row that
// would: it is set aside.
func TestNothingGoesUntold(t *testing.T) {
	b, _ := oldBench(t, 300, 30)
	entries := b.count(`SELECT COUNT(*) FROM crmguard_audit_entries`)
	b.exec(`CREATE TRIGGER spoil AFTER INSERT ON crmguard_audit_events WHEN NEW.body IS NOT NULL BEGIN
		UPDATE crmguard_audit_events SET body = CAST(substr(NEW.body, 1, length(NEW.body) - 1) || x'00' AS BLOB) WHERE id = NEW.id; END`)
	require.ErrorIs(t, only(b.trail.Prune(t.Context(), b.yearAgo())), audit.ErrNotPublished)
	require.Zero(t, b.pruned())
	require.Equal(t, entries, b.count(`SELECT COUNT(*) FROM crmguard_audit_entries`))
	b.exec(`DROP TRIGGER spoil`)
	require.Equal(t, int64(256), b.prune().Pruned)
}

// Openings go under a clock that agrees with the newest signature, as entries do. A
// rule that has nothing more to take asks no clock.
func TestOpeningsStayUnderAClockThatIsOff(t *testing.T) {
	b, _ := oldBench(t, 30, 30)
	sealed := b.count(`SELECT COUNT(*) FROM crmguard_audit_openings`)
	prune := func() (audit.PruneReport, error) {
		return b.trail.PruneOpenings(t.Context(), "main", "contact.", b.yearAgo())
	}
	b.advance(10 * year)
	require.ErrorIs(t, only(prune()), audit.ErrInvalid)
	require.Equal(t, sealed, b.count(`SELECT COUNT(*) FROM crmguard_audit_openings`))
	b.advance(-10 * year)
	r, err := prune()
	require.NoError(t, err)
	require.Equal(t, int64(60), r.Rows, "of the person and of nobody, of thirty events")
	b.advance(10 * year)
	r, err = b.trail.PruneOpenings(t.Context(), "main", "contact.", b.config.Now().Add(-11*year))
	require.NoError(t, err)
	require.Equal(t, audit.PruneReport{Pruned: r.Pruned}, r)
	require.Equal(t, int64(31), r.Pruned, "and a beat")
}

// A backup from before two prunes is brought level twice, each time over entries that
// nobody has any more: their stubs are missed once.
func TestAnOldBackupIsBroughtLevelTwice(t *testing.T) {
	b, file := oldBackup(t, 1200, 300)
	require.Equal(t, int64(1280), b.prune().Pruned)
	level := func(mark int) {
		t.Helper()
		b.restore(file)
		require.NoError(t, b.trail.CatchUp(t.Context()))
		b.run()
		require.Equal(t, mark, b.pruned())
		b.sound()
	}
	level(1280)
	b.advance(2 * year)
	b.fill(300)
	b.run()
	require.Equal(t, int64(1536), b.prune().Pruned)
	b.sound()
	level(1536)
	b.advance(2 * year)
	b.fill(300)
	b.run()
	require.Equal(t, int64(1792), b.prune().Pruned, "what the log said of those stubs it says again")
	b.sound()
	b.exec(`DELETE FROM crmguard_audit_events WHERE idx = 50`)
	require.Equal(t, auditlog.Tampered, b.verifyStore(b.checkpoint()).Verdict, "a stub that the backup had")
}

// An entry that somebody puts into the published folder, and that tells of retention,
// takes nothing from a database that catches up.
func TestAPublishedPruneIsProved(t *testing.T) {
	b := newBench(t)
	b.keeps()
	b.fill(300)
	b.run()
	file := b.backup()
	b.fill(100)
	b.run()
	rows := b.count(`SELECT COUNT(*) FROM crmguard_audit_entries WHERE idx < 256`)
	leaves := b.leaves()
	last := leaves[len(leaves)-1]
	name := fmt.Sprintf("tile/entries/001.p/%d", len(leaves)-256)
	bundle := b.sink.FS()[name].Data
	id, err := audit.NewID()
	require.NoError(t, err)
	forged := auditlog.Leaf{ID: id, Kind: auditlog.KindPrune, Tenant: "main", At: last.At, Action: "audit.prune", Actor: "u-1", Outcome: auditlog.OutcomeOK, Object: auditlog.PruneObject(auditlog.PruneEntries, 256), Reason: "retention"}
	raw, err := auditlog.AppendLeaf(nil, &forged)
	require.NoError(t, err)
	old, err := b.trail.Leaf(t.Context(), last.ID)
	require.NoError(t, err)
	at := bytes.LastIndex(bundle, old)
	require.Positive(t, at)
	bundle = binary.BigEndian.AppendUint16(bytes.Clone(bundle[:at-2]), uint16(len(raw)))
	require.NoError(t, b.sink.WriteFile(t.Context(), name, append(bundle, raw...)))
	b.restore(file)
	require.ErrorIs(t, b.trail.CatchUp(t.Context()), auditlog.ErrTampered)
	require.Zero(t, b.pruned())
	require.Equal(t, rows, b.count(`SELECT COUNT(*) FROM crmguard_audit_entries WHERE idx < 256`))
}

// lacking is a database from before entries that have gone with retention since.
func lacking(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	b.keeps()
	b.fill(100)
	b.run()
	file := b.backup()
	b.fill(500)
	b.run()
	b.advance(2 * year)
	b.fill(300)
	b.run()
	b.prune()
	b.restore(file)
	return b
}

// Two processes bring a backup from before a prune level at once, the one in the middle
// of the other.
func TestTwoProcessesBringAnOldBackupLevel(t *testing.T) {
	b := lacking(t)
	beside := b.beside(func(*audit.Config) {})
	b.beforeCall("read", "tile/0/001", func() { require.NoError(t, beside.CatchUp(t.Context())) })
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.run()
	require.Equal(t, 512, b.pruned())
	b.sound()
}

// While one process tells of what goes another one takes more: the mark does not go
// back.
func TestTheMarkOfRetentionDoesNotGoBack(t *testing.T) {
	b := newBench(t)
	b.keeps()
	for range 2 {
		b.fill(300)
		b.run()
		b.advance(2 * year)
	}
	b.fill(300)
	b.run()
	beside := b.beside(func(*audit.Config) {})
	b.beforeCall("swap", "checkpoint", func() {
		require.Equal(t, int64(512), must(beside.Prune(t.Context(), b.yearAgo())).Pruned)
	})
	require.Equal(t, int64(512), must(b.trail.Prune(t.Context(), b.config.Now().Add(-3*year))).Pruned)
	require.Equal(t, 512, b.pruned())
	b.run()
	b.sound()
}

// A clock behind the newest signature is refused as one ahead of it is.
func TestAPruneUnderAClockThatIsBehind(t *testing.T) {
	b, _ := oldBench(t, 300, 30)
	moment := b.yearAgo()
	b.advance(-year / 2)
	require.ErrorIs(t, only(b.trail.Prune(t.Context(), moment)), audit.ErrInvalid)
	require.Zero(t, b.pruned())
	b.advance(year / 2)
	require.Equal(t, int64(256), must(b.trail.Prune(t.Context(), moment)).Pruned)
}

// A store that does not answer for a beat holds no retention up.
func TestAPruneWithoutAHead(t *testing.T) {
	b, _ := oldBench(t, 300, 30)
	b.config.Heads.Ledger = audit.HeadOf(func(ctx) ([]byte, error) { return nil, errCue })
	b.config.BeatEvery = time.Hour
	b.open()
	b.fill(1)
	b.advance(2 * time.Hour)
	require.Equal(t, int64(256), b.prune().Pruned)
	b.fill(1)
	require.ErrorIs(t, only(b.trail.RunOnce(t.Context())), audit.ErrHead)
}

// Whether a tenant has a hold is asked once, and of nobody's entries not at all.
func TestAHoldIsAskedOncePerTenant(t *testing.T) {
	b := newBench(t)
	b.keeps()
	require.NoError(t, b.trail.Beat(t.Context()))
	b.fill(300)
	b.run()
	b.advance(2 * year)
	b.fill(3)
	b.run()
	var asked []string
	b.config.Hold = func(_ ctx, tenant string) (time.Time, error) {
		asked = append(asked, tenant)
		return time.Time{}, nil
	}
	b.open()
	require.Equal(t, int64(256), b.prune().Pruned)
	require.Equal(t, []string{"main"}, asked)
}

// A backup from before a prune is compared with the hashes of what went: a row that
// somebody changed in it is told of.
func TestABackupFromBeforeAPruneIsCompared(t *testing.T) {
	b, _ := oldBench(t, 300, 30)
	file := b.backup()
	b.prune()
	b.restore(file)
	for _, change := range []string{
		`UPDATE crmguard_audit_entries SET leaf = CAST(replace(CAST(leaf AS TEXT), 'u-1', 'u-2') AS BLOB) WHERE idx = 5`,
		`DELETE FROM crmguard_audit_entries WHERE idx = 5`,
	} {
		b.restore(file)
		require.Equal(t, int64(1), b.exec(change))
		report := b.verifyStore(b.checkpoint())
		require.True(t, slices.ContainsFunc(report.Faults, func(f auditlog.Fault) bool {
			return f.Verdict == auditlog.Tampered && f.Index == 5 && f.File == "crmguard_audit_entries"
		}), "%+v", report.Faults)
	}
}

// A backup that lacks entries that went since is behind, and nothing of it is tampered
// with.
func TestABackupThatLacksWhatWentIsBehind(t *testing.T) {
	b := lacking(t)
	report := b.verifyStore(b.checkpoint())
	require.NotEqual(t, auditlog.OK, report.Verdict)
	for _, f := range report.Faults {
		require.Less(t, f.Index, int64(100), "%+v", f)
	}
}

// A row that is no entry of the log is told of, whatever it holds.
func TestARowBeforeTheFirstEntryIsToldOf(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	b.run()
	b.exec(`INSERT INTO crmguard_audit_entries (idx, id, leaf, at, filed) SELECT -5, zeroblob(16), leaf, at, filed FROM crmguard_audit_entries WHERE idx = 0`)
	require.Equal(t, auditlog.Tampered, b.verifyStore(b.checkpoint()).Verdict)
}

// Openings of more events than one transaction takes go all.
func TestManyOpeningsGo(t *testing.T) {
	b, _ := oldBench(t, 1500, 3)
	r, err := b.trail.PruneOpenings(t.Context(), "main", "contact.", b.yearAgo())
	require.NoError(t, err)
	require.Equal(t, int64(3000), r.Rows)
	require.Equal(t, 6, b.count(`SELECT COUNT(*) FROM crmguard_audit_openings`))
	b.sound()
}

// What retention was told the log says, and not the row that stands for the entry.
func TestAChangedWordOfRetentionIsNotBelieved(t *testing.T) {
	b, _ := oldBench(t, 300, 300)
	b.prune()
	changed := b.exec(`UPDATE crmguard_audit_entries SET leaf = CAST(replace(CAST(leaf AS TEXT), '256', '512') AS BLOB) WHERE CAST(leaf AS TEXT) LIKE '%"kind":"prune"%'`)
	require.Equal(t, int64(1), changed)
	require.ErrorIs(t, only(b.trail.Prune(t.Context(), b.yearAgo())), auditlog.ErrTampered)
	require.Equal(t, 256, b.pruned())
}

// An action of the application's own that is called as that of retention tells of none.
func TestAnEventIsNoWordOfRetention(t *testing.T) {
	b, _ := oldBench(t, 300, 30)
	b.prune()
	e := update("p1", 1)
	e.Action = "audit.prune"
	b.record(e)
	require.Equal(t, int64(256), b.prune().Pruned)
	require.Equal(t, 1, b.toldOf(auditlog.KindPrune))
	b.sound()
}
