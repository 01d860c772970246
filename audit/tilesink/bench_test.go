package tilesink_test

import (
	"fmt"
	"testing"

	"github.com/crmguard/crmguard/audit/tilesink"
)

// What a write costs beside its two flushes, which are the same wherever it is
// done, shows where TMPDIR names a folder in memory.
func BenchmarkWriteFile(b *testing.B) {
	sink, err := tilesink.Open(b.TempDir())
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
