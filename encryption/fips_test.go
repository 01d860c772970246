package encryption

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/internal/format"
)

// outsideFIPS are the tests in which plain Tink seals by AES-GCM. It draws the
// IV outside of the validated module, which Go refuses where only what FIPS 140
// approves is allowed (GODEBUG=fips140=only). What this package seals with goes
// through the module, and is the same bytes.
var outsideFIPS = []string{
	"TestKeysetsOfTheOldTinkOpenInEveryForm",
}

// SkipOutsideFIPS skips a test of the list where it cannot run.
func SkipOutsideFIPS(t *testing.T) {
	t.Helper()
	name, _, _ := strings.Cut(t.Name(), "/")
	require.Contains(t, outsideFIPS, name)
	if fips140.Enforced() {
		t.Skip("plain Tink seals by AES-GCM under an IV of its own, which FIPS 140 only mode refuses")
	}
}

// The whole package is tested in the mode that GODEBUG names: off, on, only.
func TestTheModeOfFIPSIsTheOneAskedFor(t *testing.T) {
	mode := "off"
	for setting := range strings.SplitSeq(os.Getenv("GODEBUG"), ",") {
		if value, found := strings.CutPrefix(setting, "fips140="); found {
			mode = value
		}
	}
	require.True(t, slices.Contains([]string{"off", "on", "only"}, mode), mode)
	require.Equal(t, mode != "off", fips140.Enabled())
	require.Equal(t, mode == "only", fips140.Enforced())
	block, err := aes.NewCipher(make([]byte, format.KeySize))
	require.NoError(t, err)
	_, err = cipher.NewGCM(block)
	require.Equal(t, mode == "only", err != nil, "AES-GCM under any IV")
}
