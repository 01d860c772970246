//go:build unix

package sqltrail_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/killtest"
	"github.com/crmguard/crmguard/internal/testdb"
)

// verdict is what a pass of a process whose world went back says.
func verdict(err error) string {
	for name, sentinel := range map[string]error{
		"rolled back": auditlog.ErrRolledBack, "forked": auditlog.ErrForked, "behind": audit.ErrBehind, "lost": audit.ErrLogLost,
	} {
		if errors.Is(err, sentinel) {
			return name
		}
	}
	if err != nil {
		return "other: " + err.Error()
	}
	return "went on"
}

// goesBack is a process that makes passes, stands still while its world is put back,
// and says what its next pass and CatchUp answer.
func goesBack(t *testing.T, dir string) {
	t.Helper()
	mode, err := os.ReadFile(filepath.Join(dir, "mode"))
	require.NoError(t, err)
	w := join(t, dir, func(w *works) {
		if strings.Contains(string(mode), "kept") {
			w.config.Kept = func(context.Context) ([]byte, error) { return keptIn(dir) }
		}
	})
	if strings.Contains(string(mode), "ahead") { // it has seen more than what is put back
		_, err = w.sell(t.Context(), 1)
		require.NoError(t, err)
	}
	_, err = w.trail.RunOnce(t.Context())
	require.NoError(t, err)
	require.NoError(t, killtest.Stand(stands))
	_, err = w.sell(t.Context(), 2) // so that there is something to sign
	require.NoError(t, err)
	_, err = w.trail.RunOnce(t.Context())
	killtest.Say("pass: " + verdict(err))
	err = w.trail.CatchUp(t.Context())
	killtest.Say("catch up: " + verdict(err))
	_, err = w.trail.RunOnce(t.Context())
	killtest.Say("pass: " + verdict(err))
}

func keptIn(dir string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(dir, "kept"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// A machine is put back while a process of it stands still: with database, with
// folder, with both, and with its own memory, which then knows no better than they.
// Nothing is signed that the newest checkpoint, wherever it is still known, does not
// belong to; a database alone catches up, and all that was published is there.
func TestAMachineIsPutBackWithItsMemory(t *testing.T) {
	if dir := killtest.Dir(); dir != "" {
		goesBack(t, dir)
		return
	}
	for _, one := range []struct {
		name, mode       string
		database, folder bool
		want             []string
	}{
		{"the database", "ahead", true, false, []string{"pass: behind", "catch up: went on", "pass: went on"}},
		{"the folder, which is written again", "ahead", false, true, []string{"pass: went on", "catch up: went on", "pass: went on"}},
		{"both, and the process has seen more", "ahead", true, true, []string{"pass: rolled back", "catch up: rolled back", "pass: rolled back"}},
		{"both with the memory, and a checkpoint is kept elsewhere", "kept", true, true, []string{"pass: rolled back", "catch up: rolled back", "pass: rolled back"}},
		{"the memory alone", "", false, false, []string{"pass: went on", "catch up: went on", "pass: went on"}},
	} {
		t.Run(strings.ReplaceAll(one.name, ",", ""), func(t *testing.T) {
			for _, on := range []struct {
				name   testdb.Name
				driver string
			}{{testdb.SQLite, "sqlite"}, {testdb.PostgresC, "pgx"}, {testdb.MariaDB, "mysql"}} {
				d := testdb.New(t, on.name)
				w := begin(t, d, on.driver, d.DSN(on.driver))
				require.NoError(t, os.WriteFile(filepath.Join(w.dir, "mode"), []byte(one.mode), 0o600))
				w.busy()
				w.run()
				back := w.keep()
				var newest []byte
				said := killtest.Pause(t, w.dir, stands, func() {
					w.busy()
					r := w.run()
					require.Equal(t, r.Size, r.Published)
					newest = w.checkpoint()
					require.NoError(t, os.WriteFile(filepath.Join(w.dir, "kept"), newest, 0o600))
					if one.database {
						back.database()
					}
					if one.folder {
						back.folder()
					}
				})
				require.Equal(t, one.want, said[1:], "%s", on.name)
				report, err := auditlog.VerifyLog(t.Context(), w.log.FS(), auditlog.Trust{Key: w.Verifier, Kept: newest})
				require.NoError(t, err)
				if one.folder && one.database {
					require.Equal(t, auditlog.RolledBack, report.Verdict, "the older checkpoint stands, and nothing was signed")
					continue
				}
				require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
				w.reopen() // the process that put it back does not go on as if nothing was
				w.settle()
				w.verified(newest)
			}
		})
	}
}
