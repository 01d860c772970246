package erasurelog_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

const many = 10_000

// What a process pays for the ledger that it has read before.
func BenchmarkRead(b *testing.B) {
	each(b, func(b *testing.B, f *fixture) {
		f.read()
		b.ReportAllocs()
		for b.Loop() {
			f.read()
		}
	})
}

// each runs a benchmark with ledgers of several sizes.
func each(b *testing.B, bench func(b *testing.B, f *fixture)) {
	b.Helper()
	for _, n := range []int{many, 10 * many} {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			f := newFixture(b)
			f.write(n)
			bench(b, f)
		})
	}
}

// What the first read of a process costs.
func BenchmarkReadWhole(b *testing.B) {
	each(b, func(b *testing.B, f *fixture) {
		b.ReportAllocs()
		for b.Loop() {
			f.open()
			f.read()
		}
	})
}

// What is verified again costs a hash.
func BenchmarkVerify(b *testing.B) {
	f := newFixture(b)
	f.write(many)
	f.read()
	for b.Loop() {
		_, err := f.log.Verify(b.Context())
		require.NoError(b, err)
	}
}

// An entry costs the same whatever the ledger holds.
func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{0, many} {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			f := newFixture(b)
			f.write(n)
			f.read()
			b.ReportAllocs()
			for b.Loop() {
				f.append(f.entry(erasurelog.Intent, newID(), "p"))
			}
		})
	}
}

// What the entries take of memory.
func BenchmarkMemory(b *testing.B) {
	f := newFixture(b)
	f.write(many)
	for b.Loop() {
		f.open()
		before := heap()
		f.read()
		b.ReportMetric(float64(heap()-before)/many, "B/entry")
	}
	runtime.KeepAlive(f)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// What a replay asks for each person of a database.
func BenchmarkPerson(b *testing.B) {
	f := newFixture(b)
	f.write(many)
	s := f.read()
	b.ReportAllocs()
	for b.Loop() {
		require.Empty(b, s.Person(f.keys("nobody")...).Erasures)
	}
}

// What a note costs beside many others.
func BenchmarkNote(b *testing.B) {
	for _, n := range []int{0, many} {
		b.Run(fmt.Sprintf("notes=%d", n), func(b *testing.B) {
			f := newFixture(b)
			for i := range n {
				require.NoError(b, f.log.Note(b.Context(), fmt.Sprint("n", i), []byte("x")))
			}
			for b.Loop() {
				require.NoError(b, f.log.Note(b.Context(), "a", []byte("x")))
			}
		})
	}
}
