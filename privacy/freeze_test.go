package privacy_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the samples in testdata anew; never for a released format")

// TestFreeze writes the samples that the TestFrozen… tests open.
func TestFreeze(t *testing.T) {
	if !*update {
		return
	}
	s := newSystem(t)
	s.now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	bob := s.contact("bob@b.example")
	s.contactOf("p1", newID(), "ann@a.example")
	s.activity("p1 and another", "p1", bob)
	id := identity(t)
	b, err := s.desk.Export(t.Context(), "main", "p1", id.Recipient().String())
	require.NoError(t, err)
	export := inner(t, b, id)
	for name, data := range map[string][]byte{
		"export.zip": export, "export.zip.age": b.Data, "export.identity.txt": []byte(id.String() + "\n"),
	} {
		require.NoError(t, os.WriteFile(filepath.Join("testdata", name), data, 0o644))
	}
}
