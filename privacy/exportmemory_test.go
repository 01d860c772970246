package privacy_test

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A person with 100,000 rows is exported in less than 32 MB that live, from the
// first row that is opened to the last byte. What lives is counted after a
// collection, many times on the way.
func TestAnExportOfALargePersonFitsIntoMemory(t *testing.T) {
	const rows = 100_000
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	body := s.keys.seal(t, ann, strings.Repeat("met at the shop, ", 30))
	s.exec(`INSERT INTO notes (contact_id, body) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
		SELECT (SELECT id FROM contacts WHERE person = ?), ? FROM n`, ann, body)
	var top uint64
	count := 0
	look := func() {
		if count++; count%4000 != 0 {
			return
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		top = max(top, m.HeapAlloc)
	}
	open := s.cfg.Open
	s.cfg.Open = func(ctx context.Context, tenant, person, table, column, row string, sealed []byte) (any, error) {
		look()
		return open(ctx, tenant, person, table, column, row, sealed)
	}
	s.reopen()
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	e, err := s.desk.Export(t.Context(), "main", ann, identity(t).Recipient().String(), writing(look))
	require.NoError(t, err)
	require.Equal(t, rows+1, e.Manifest.Tables[1].Rows)
	require.Greater(t, count, rows+100, "looked at while writing, too")
	used := int64(top) - int64(before.HeapAlloc)
	t.Logf("%d KiB, %d looks", used>>10, count/4000)
	require.Less(t, used, int64(32<<20))
}

// writing is a writer that is looked at.
type writing func()

func (w writing) Write(data []byte) (int, error) {
	w()
	return len(data), nil
}
