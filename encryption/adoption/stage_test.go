package adoption_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A whole adoption and the whole way back, on each database: what is read is the
// same at each stage, and what is found.
func TestThereAndBack(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
		e.old(t, "1", "p1", "ann@b.example")
		e.old(t, "2", "p2", nil)
		e.old(t, "3", "p3", "")
		want := map[string]string{"1": "ann@b.example", "2": "-", "3": ""}
		same := func() {
			t.Helper()
			require.Equal(t, want, e.read(t, e.a))
			require.Equal(t, []string{"1"}, e.find(t, e.a, "ann@b.example"))
		}
		e.prepare(t)
		same()
		for i, stage := range []adoption.Stage{adoption.WriteBoth, adoption.ReadSealed, adoption.SealedOnly} {
			options := adoption.MoveOptions{OldReleaseGone: stage == adoption.SealedOnly}
			e.move(t, stage, options)
			same()
			id := string(rune('a' + i))
			e.write(t, e.a, id, "p"+id, id+"@b.example")
			want[id] = id + "@b.example"
			same()
			if stage != adoption.SealedOnly {
				require.True(t, e.backfill(t).Clean)
				same()
			}
		}
		report := e.clear(t)
		require.True(t, report.Clean)
		require.EqualValues(t, 4, report.Changed)
		for _, c := range e.rows(t, "") {
			require.Nil(t, c.plain)
		}
		same()
		require.NoError(t, adoption.Finished(t.Context(), e.db, "contacts"))

		e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
		same()
		report, err := e.a.Unseal(t.Context(), tenant, adoption.JobOptions{})
		require.NoError(t, err)
		require.True(t, report.Clean)
		same()
		e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
		same()
		e.move(t, adoption.Plain, adoption.MoveOptions{})
		same()
		for _, c := range e.rows(t, "") {
			if want[c.id] == "-" {
				require.Nil(t, c.plain)
				continue
			}
			require.Equal(t, want[c.id], *c.plain)
		}
	})
}
