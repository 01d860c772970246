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
