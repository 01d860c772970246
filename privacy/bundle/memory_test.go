package bundle_test

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/bundle"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// visits are rows of about 600 bytes in four tables.
func visits(n int, each func()) iter.Seq2[datastore.Record, error] {
	return func(yield func(datastore.Record, error) bool) {
		for i := range n {
			each()
			r := record(fmt.Sprintf("visits%d", i%4), fmt.Sprintf("0195d2c0-0000-7000-8000-%012x", i), fields{
				{Name: "id", Value: i},
				{Name: "at", Value: noon},
				{Name: "page", Value: strings.Repeat("a page of the shop, ", 25)},
				{Name: "token", Withhold: "a token"},
				{Name: "meta", Value: map[string]any{"n": i, "tags": []string{"a", "b"}}},
			})
			if !yield(r, nil) {
				return
			}
		}
	}
}

// A person with 100,000 rows, some 60 MB three times over, takes less than 64 MB
// of memory. What lives is counted after a collection, many times on the way.
func TestALargePersonFitsIntoMemory(t *testing.T) {
	var top uint64
	count := 0
	look := func() {
		if count++; count%5000 != 0 {
			return
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		top = max(top, m.HeapAlloc)
	}
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m, err := bundle.Write(t.Context(), &looking{look: look}, config(), visits(100_000, look))
	require.NoError(t, err)
	require.Equal(t, 25_000, m.Tables[3].Rows)
	require.Greater(t, count, 120_000, "looked at while writing, too")
	used := int64(top) - int64(before.HeapAlloc)
	require.Less(t, used, int64(64<<20))
	t.Logf("%d KiB", used>>10)
}

// looking is a writer that is looked at for each 4 KiB.
type looking struct {
	look func()
}

func (w *looking) Write(data []byte) (int, error) {
	w.look()
	return len(data), nil
}

func BenchmarkWrite(b *testing.B) {
	for _, rows := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := bundle.Write(b.Context(), io.Discard, config(), visits(rows, func() {}))
				require.NoError(b, err)
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	var out bytes.Buffer
	_, err := bundle.Write(b.Context(), &out, config(), visits(10_000, func() {}))
	require.NoError(b, err)
	b.SetBytes(int64(out.Len()))
	for b.Loop() {
		_, err := bundle.Verify(bytes.NewReader(out.Bytes()), int64(out.Len()))
		require.NoError(b, err)
	}
}
