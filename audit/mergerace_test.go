package audit_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// Another process merges in the middle of a merge, at whatever moment: all are one, and
// nobody is merged into somebody who was merged.
func TestMergesInTheMiddleOfAMerge(t *testing.T) {
	for _, pair := range [][2]string{{"a", "c"}, {"b", "c"}, {"c", "a"}} {
		for call := 1; ; call++ {
			b := newBench(t)
			for _, person := range []string{"a", "b", "c"} {
				b.record(update(person, 1))
			}
			b.run()
			other := b.beside(func(*audit.Config) {})
			now, calls, done := b.config.Now, 0, false
			b.config.Now = func() time.Time {
				if calls++; calls == call {
					short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond) // this one may hold the lock
					defer cancel()
					done = other.Merge(short, "main", pair[0], pair[1]) == nil
				}
				return now()
			}
			b.open()
			calls = 0
			require.NoError(t, b.merge("a", "b"), "%v %d", pair, call)
			if calls < call {
				require.Greater(t, call, 3, "a clock that nobody asks")
				break
			}
			b.config.Now = now
			b.open()
			b.run()
			require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
			require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates s JOIN crmguard_audit_surrogates i ON s.into_surrogate = i.surrogate WHERE i.into_surrogate IS NOT NULL`))
			if done {
				require.Equal(t, 1, b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE into_surrogate IS NULL AND person <> ''`), "%v %d", pair, call)
			}
		}
	}
}
