package sqltrail_test

import (
	"os"
	"path/filepath"

	"github.com/stretchr/testify/require"
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
