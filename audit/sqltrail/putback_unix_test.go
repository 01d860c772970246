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

// older is a state of an application that may be put back.
type older struct {
	w   *works
	dir string
}

func (w *works) tables() []string {
	out := []string{"sales", "views", "deals"}
	for _, name := range []string{"log", "events", "entries", "found", "persons", "openings", "surrogates", "heads", "aside", "tiles", "state"} {
		out = append(out, "crmguard_audit_"+name)
	}
	if w.captures() {
		out = append(out, "crmguard_audit_captured")
	}
	return out
}

// keep copies database and folder.
func (w *works) keep() older {
	w.t.Helper()
	for _, table := range w.tables() {
		_, err := w.db.ExecContext(w.t.Context(), `CREATE TABLE kept_`+table+` AS SELECT * FROM `+table)
		require.NoError(w.t, err)
	}
	dir := filepath.Join(w.t.TempDir(), "log")
	require.NoError(w.t, os.CopyFS(dir, w.log.FS()))
	return older{w, dir}
}

// database puts the database back.
func (o older) database() {
	t, w := o.w.t, o.w
	t.Helper()
	tx, err := w.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	exec := func(query string) {
		_, err := tx.ExecContext(t.Context(), query)
		require.NoError(t, err, query)
	}
	over := ""
	if w.captures() {
		over = "OVERRIDING SYSTEM VALUE "
		exec(`SET LOCAL session_replication_role = replica`) // the triggers of capture are asleep
	}
	for _, table := range w.tables() {
		exec(`DELETE FROM ` + table)
		exec(`INSERT INTO ` + table + ` ` + over + `SELECT * FROM kept_` + table)
	}
	require.NoError(t, tx.Commit())
}

// folder puts the published folder back.
func (o older) folder() {
	t := o.w.t
	t.Helper()
	to := filepath.Join(o.w.dir, "log")
	for _, name := range []string{"tile", "checkpoint"} {
		require.NoError(t, os.RemoveAll(filepath.Join(to, name)))
	}
	require.NoError(t, filepath.WalkDir(o.dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == ".lock" {
			return err
		}
		name, err := filepath.Rel(o.dir, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o700); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), data, 0o600)
	}))
}

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
