package sqltrail_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A record of the mirror that a database cannot take, or that is of no tenant there
// could be, is damage: it costs itself, and CatchUp goes on.
func TestARecordThatNoDatabaseTakesStopsNoRestore(t *testing.T) {
	eachWorks(t, func(t *testing.T, w *works) {
		if w.Database == testdb.PostgresICU {
			return // as the other one
		}
		mirror := &audittest.Sink{}
		w.config.Mirror = mirror
		w.reopen()
		_, err := w.sell(t.Context(), 1)
		require.NoError(t, err)
		w.run()
		back := w.keep()
		_, err = w.sell(t.Context(), 2)
		require.NoError(t, err)
		w.run()
		whole := mirror.FS()
		for name, record := range map[string][2]string{
			"no UTF-8": {"ma\xedn", "x"}, "NUL": {"ma\x00n", "x"}, "a long tenant": {strings.Repeat("x", 3000), "x"}, "no tenant": {"", "x"},
			"a long head": {"main", strings.Repeat("x", 1<<16)},
		} {
			files := mirror.FS()
			data := frame.Append(frame.Append(frame.Append(nil, record[0]), make([]byte, 16)), record[1])
			files["people/000"].Data = append(data[:0:0], append(whole["people/000"].Data[:len("crmguard/audit/people/v1\n")+8:len("crmguard/audit/people/v1\n")+8], append(data, whole["people/000"].Data[len("crmguard/audit/people/v1\n")+8:]...)...)...)
			mirror.Set(files)
			back.database()
			w.reopen()
			r, err := w.trail.CatchUpReport(t.Context())
			require.NoError(t, err, name)
			require.Zero(t, r.Lost, name)
			require.Equal(t, 1, r.People, name)
			w.run()
			report, err := w.trail.VerifyStore(t.Context(), w.checkpoint())
			require.NoError(t, err)
			require.Equal(t, auditlog.OK, report.Verdict, "%s: %+v", name, report.Faults)
			mirror.Set(whole)
		}
	})
}
