package primitives_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/encryptiontest"
)

// Package fmt follows a pointer for a verb that does not suit it. What the keys of
// a vault know, the ids of persons among it, is not shown by a primitive over them.
func TestAPrimitiveShowsNobody(t *testing.T) {
	const person = "person-that-shows-in-no-log"
	vault := encryptiontest.Vault(t, "main")
	sealer := vault.PersonSealer("undo")
	_, err := sealer.Seal(t.Context(), "main", person, []byte("x"), nil)
	require.NoError(t, err)
	for name, value := range map[string]any{"sealer": sealer, "tagger": vault.Tagger("seal"), "manifests": vault.ManifestTagger(), "audit keys": vault.AuditKeys()} {
		for verb := range strings.SplitSeq("v +v #v s +s q x X d o b e g t c U p w T", " ") {
			require.NotContains(t, fmt.Sprintf("%"+verb, value), person, "%s with %%%s", name, verb)
		}
	}
}
