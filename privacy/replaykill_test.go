package privacy_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/killtest"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
)

// replayUntil is what the child does: it replays up to a step, where it stands
// still until it is killed.
func replayUntil(t *testing.T, dir string) {
	text, err := os.ReadFile(filepath.Join(dir, "step"))
	require.NoError(t, err)
	left, err := strconv.Atoi(string(text))
	require.NoError(t, err)
	begun := false
	step := func() {
		if !begun {
			return
		}
		killtest.Say("step")
		if left--; left == 0 {
			time.Sleep(time.Minute)
		}
	}
	db := testdb.Watching(t, "sqlite", dsn(filepath.Join(dir, "crm.db")), func(bool) { step() })
	db.SetMaxOpenConns(1)
	o := officeOver(t, dir, db, step)
	begun = true
	_, err = o.desk.Replay(t.Context())
	require.NoError(t, err)
}

// A replay that is killed before any of its statements and commits, or beside a
// change of another store, leaves the gate shut as long as anything is left of the
// erased in any store, and the next one finishes.
func TestAReplayKilledAtEveryStep(t *testing.T) {
	if dir := killtest.Dir(); dir != "" {
		replayUntil(t, dir)
		return
	}
	restored := t.TempDir()
	o, c, snapshot := foundOffice(t, restored)
	for _, plan := range c.plans {
		outcome, err := o.desk.Execute(t.Context(), plan)
		require.NoError(t, err)
		require.Equal(t, privacy.Done, outcome.State)
	}
	o.close()
	o.restore(c, snapshot)

	shut, open, killed := 0, 0, true
	for n := 1; killed; n++ {
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(dir, os.DirFS(restored)))
		require.NoError(t, os.Chmod(filepath.Join(dir, "keys"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "step"), []byte(strconv.Itoa(n)), 0o600))
		_, killed = killtest.Kill(t, dir, killtest.At{Step: "step", Count: n})
		o := openOffice(t, dir)
		if o.safe(c) {
			shut++
		} else {
			open++
			for _, person := range c.gone {
				require.False(t, o.left(person), "the gate is open after a kill at step %d", n)
			}
		}
		_, err := o.desk.Replay(t.Context())
		require.NoError(t, err, "after a kill at step %d", n)
		o.erased(c)
		notes := 0
		for note, err := range o.ledger.Notes(t.Context()) {
			require.NoError(t, err)
			if strings.HasPrefix(note.Name, "replay-") {
				notes++
			}
		}
		require.Zero(t, notes, "after a kill at step %d", n)
		o.close()
	}
	t.Logf("%d kills left the gate shut, %d did not", shut, open)
	require.Greater(t, shut, 20)
	require.Positive(t, open)
}
