package auditlog

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func FuzzVerify(f *testing.F) {
	const dir = "testdata/v1"
	key, err := os.ReadFile(filepath.Join(dir, "log.vkey"))
	if err != nil {
		f.Fatal(err)
	}
	proof, err := os.ReadFile(filepath.Join(dir, "first.tlog-proof"))
	if err != nil {
		f.Fatal(err)
	}
	var first []byte
	known := make(map[string]bool)
	for e, err := range Entries(context.Background(), os.DirFS(filepath.Join(dir, "log"))) {
		if err != nil {
			f.Fatal(err)
		}
		if first == nil {
			first = e.Leaf
		}
		known[string(e.Leaf)] = true
	}
	f.Add(first, proof)
	f.Add([]byte("x"), []byte("c2sp.org/tlog-proof@v1\nindex 0\n\n"))
	trust := Trust{Key: strings.TrimSpace(string(key))}
	f.Fuzz(func(t *testing.T, leaf, proof []byte) {
		if _, err := Verify(trust, leaf, proof); err == nil && !known[string(leaf)] {
			t.Fatalf("verified what is not in the log: %q", leaf)
		}
	})
}
