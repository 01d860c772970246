package audit_test

import (
	"fmt"
	"testing"

	"github.com/crmguard/crmguard/audit"
)

// BenchmarkDiffer is what it costs to ask a struct of twelve fields what changed.
func BenchmarkDiffer(b *testing.B) {
	type row struct {
		A, B, C, D string
		E, F       int64
		G          *string
		H          []byte
		I          bool
		J          float64
		K          []string
		L          audit.Decimal
	}
	d, err := audit.NewDiffer[row](audit.Shape{Hide: []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"}})
	if err != nil {
		b.Fatal(err)
	}
	before := row{A: "a", B: "b", E: 7, G: new("g"), H: []byte("h"), K: []string{"k"}, L: "1.50"}
	for changed, after := range []row{before, before, before} {
		after.G, after.H, after.K = new("g"), []byte("h"), []string{"k"}
		if changed > 0 {
			after.A = "new"
		}
		if changed > 1 {
			after.E = 8
		}
		b.Run(fmt.Sprintf("changed=%d", changed), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got := d.Of("p", &before, &after); len(got) != changed {
					b.Fatal(got)
				}
			}
		})
	}
}
