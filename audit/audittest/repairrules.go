package audittest

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// repairs takes the tree from the database and the files from the sink, and
// lets the trail make both anew from the entries.
func repairs(t *testing.T, open func(t *testing.T) audit.Store) {
	j := newJudged(t, open(t))
	for n := range 300 {
		must(t, j.record(about(t, "p1", n)))
	}
	j.sequence()
	kept, err := j.trail.Checkpoint(t.Context())
	must(t, err)
	j.config.Kept = func(context.Context) ([]byte, error) { return kept, nil }
	j.reopen(j.store)
	must(t, j.record(about(t, "p1", 300)))
	j.sequence()
	files := j.sink.FS()
	j.sink.Set(nil)
	for _, damage := range []string{
		`DELETE FROM crmguard_audit_tiles WHERE level = 0 AND n = 0`,
		`UPDATE crmguard_audit_tiles SET n = 7 WHERE level = 0 AND n = 1`,
	} {
		_, err := j.store.DB().ExecContext(t.Context(), damage)
		must(t, err)
	}
	if _, err := j.trail.Republish(t.Context()); !errors.Is(err, auditlog.ErrTampered) {
		t.Errorf("files were made of a damaged tree: %v; it must be ErrTampered", err)
	}
	if r, err := j.trail.RebuildTiles(t.Context()); err != nil || r.Written != 2 {
		t.Errorf("RebuildTiles gave %+v, %v; two rows are wrong, and the entries give both", r, err)
	}
	if r, err := j.trail.Republish(t.Context()); err != nil || !r.Signed {
		t.Errorf("Republish gave %+v, %v; the database has every file", r, err)
	}
	for name, file := range j.sink.FS() {
		if was, ok := files[name]; !ok || !bytes.Equal(was.Data, file.Data) {
			t.Errorf("%s was published again, and is not what was lost", name)
		}
	}
	must(t, j.record(about(t, "p1", 301)))
	j.sequence()
	j.sound(kept)
}
