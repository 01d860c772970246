package tilesink_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/crmguard/crmguard/audit/tilesink"
)

// What a write costs beside its two flushes, which are equal wherever it is
// done: TILESINK_BENCH names a folder of the file system that is measured, such
// as one in memory.
func BenchmarkWriteFile(b *testing.B) {
	dir, err := os.MkdirTemp(os.Getenv("TILESINK_BENCH"), "tilesink-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	sink, err := tilesink.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	data := make([]byte, 8192)
	for i := 0; b.Loop(); i++ {
		if err := sink.WriteFile(b.Context(), fmt.Sprintf("tile/0/x001/%03d", i%256), data); err != nil {
			b.Fatal(err)
		}
	}
}
