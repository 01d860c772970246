package main

import (
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// loseFolder empties the published folder.
func (l *keptLog) loseFolder() {
	l.t.Helper()
	require.NoError(l.t, os.RemoveAll(l.dir))
}

// republish mends the folder, and something was to be done.
func (l *keptLog) republish() {
	l.t.Helper()
	r, err := l.trail.Republish(l.t.Context())
	require.NoError(l.t, err)
	require.True(l.t, r.Written > 0 || r.Signed, "%+v", r)
}

// rebuild mends the tiles in the database, and with them a folder that is lost.
func (l *keptLog) rebuild() {
	l.t.Helper()
	r, err := l.trail.RebuildTiles(l.t.Context())
	require.NoError(l.t, err)
	require.Positive(l.t, r.Written)
	l.loseFolder()
	l.republish()
}

// prune takes the bundles that are full from a log, five years later.
func (l *keptLog) prune() {
	l.t.Helper()
	full := l.agree().N / 256 * 256
	l.now = l.now.AddDate(5, 0, 0)
	l.fill(3)
	l.keep()
	r, err := l.trail.Prune(l.t.Context(), l.now.AddDate(-1, 0, 0))
	require.NoError(l.t, err)
	require.Equal(l.t, full, r.Pruned)
	l.gone = full
}

// rotate has a new key sign beside the one before.
func (l *keptLog) rotate() {
	l.t.Helper()
	before, err := note.NewSigner(l.config.Key)
	require.NoError(l.t, err)
	l.config.Former, l.config.SignAlso = []string{l.readers[0]}, []note.Signer{before}
	l.newKey()
	l.open()
	l.fill(3)
}

// endOverlap has the new key sign alone; the one before is known, and verifies
// nothing more by itself.
func (l *keptLog) endOverlap() {
	l.t.Helper()
	l.config.SignAlso = nil
	l.readers, l.strangers = l.readers[:1], l.readers[1:]
	l.open()
	l.fill(3)
	l.keep()
}

// revoke takes the old key out of the log, and out of what is known to it.
func (l *keptLog) revoke() {
	l.t.Helper()
	l.rotate()
	l.endOverlap()
	require.NoError(l.t, l.trail.RevokeKey(l.t.Context(), l.strangers[0]))
	l.config.Former = nil
	l.open()
	l.fill(3)
	l.keep()
}

// Whatever was done to a log, tessera, torchwood and we read the same one
// afterwards, and each of the three finds a byte that was changed in any file.
func TestAllAgreeAfterEachRepair(t *testing.T) {
	const zeroed, dropped = `UPDATE crmguard_audit_tiles SET data = zeroblob(length(data))`, `DELETE FROM crmguard_audit_tiles`
	catchUp := func(l *keptLog, older string) {
		l.restore(older)
		require.NoError(l.t, l.trail.CatchUp(l.t.Context()))
	}
	repairs := map[string]func(l *keptLog){
		"nothing but published": func(*keptLog) {},
		"the checkpoint lost": func(l *keptLog) {
			require.NoError(l.t, os.Remove(l.path("checkpoint")))
			l.republish()
		},
		"the folder lost": func(l *keptLog) {
			l.loseFolder()
			l.republish()
		},
		"an older folder put back": func(l *keptLog) {
			older := l.t.TempDir()
			require.NoError(l.t, os.CopyFS(older, os.DirFS(l.dir)))
			l.fill(100)
			l.loseFolder()
			require.NoError(l.t, os.CopyFS(l.dir, os.DirFS(older)))
			l.open()
			l.republish()
		},
		"rows of tiles zeroed": func(l *keptLog) {
			l.exec(zeroed)
			l.rebuild()
		},
		"rows of tiles lost": func(l *keptLog) {
			l.exec(dropped)
			l.rebuild()
		},
		"the state row lost": func(l *keptLog) {
			l.exec(`DELETE FROM crmguard_audit_state`)
			l.rebuild()
		},
		"a database restored": func(l *keptLog) {
			older := l.backup()
			l.fill(100)
			catchUp(l, older)
		},
		"a database restored in which events waited": func(l *keptLog) {
			l.wait(100)
			older := l.backup()
			l.publish()
			l.keep()
			catchUp(l, older)
		},
		"a database restored, and the folder lost": func(l *keptLog) {
			older := l.backup()
			l.fill(100)
			catchUp(l, older)
			l.loseFolder()
			l.republish()
		},
		"a new signing key beside the old": func(l *keptLog) { l.rotate() },
		"a new signing key beside the old, and the folder lost": func(l *keptLog) {
			l.rotate()
			l.loseFolder()
			l.republish()
		},
		"a new signing key": func(l *keptLog) {
			l.rotate()
			l.endOverlap()
		},
		"a signing key revoked": (*keptLog).revoke,
		"a signing key revoked, and pruned": func(l *keptLog) {
			l.revoke()
			l.prune()
		},
		"pruned": (*keptLog).prune,
		"pruned, and the folder lost": func(l *keptLog) {
			l.prune()
			l.loseFolder()
			l.republish()
		},
		"pruned, and rows of tiles zeroed": func(l *keptLog) {
			l.prune()
			l.exec(zeroed)
			l.rebuild()
		},
		"pruned, and a database from before": func(l *keptLog) {
			older := l.backup()
			l.prune()
			catchUp(l, older)
		},
	}
	for name, repair := range repairs {
		for _, size := range []int{200, 512, 600} { // partial tiles alone, full ones alone, and both, on two levels
			t.Run(name+"/"+strconv.Itoa(size), func(t *testing.T) {
				l := grown(t, size)
				require.EqualValues(t, size, l.agree().N)
				repair(l)
				tree := l.agree()
				require.GreaterOrEqual(t, tree.N, int64(size))
				l.refuseEachChange(tree)
				l.fill(3)
				require.Greater(t, l.agree().N, tree.N, "and it goes on")
				_, err := l.trail.Republish(t.Context())
				require.NoError(t, err)
				report, err := l.trail.VerifyStore(t.Context(), l.kept)
				require.NoError(t, err)
				require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
			})
		}
	}
}

// Each file of the folder, damaged in each way, comes back as all three read it.
func TestAllAgreeAfterAnyFileWasRepaired(t *testing.T) {
	damages := map[string]func(name string, data []byte) []byte{
		"gone":    func(string, []byte) []byte { return nil },
		"empty":   func(string, []byte) []byte { return []byte{} },
		"torn":    func(_ string, data []byte) []byte { return data[:len(data)/2+1] },
		"zeros":   func(_ string, data []byte) []byte { return make([]byte, len(data)) },
		"doubled": func(_ string, data []byte) []byte { return append(data, data...) },
	}
	for _, size := range []int{200, 600} {
		l := grown(t, size)
		tree := l.agree()
		names := l.current(tree)
		for how, damage := range damages {
			for _, name := range names {
				sound := l.file(name)
				if damaged := damage(name, l.file(name)); damaged == nil {
					require.NoError(t, os.Remove(l.path(name)))
				} else {
					l.write(name, damaged)
				}
				l.republish()
				require.Equal(t, tree, l.agree(), "%s: %s", name, how)
				require.Equal(t, string(sound), string(l.file(name)), "%s: %s", name, how)
			}
		}
		l.refuseEachChange(tree)
	}
}
