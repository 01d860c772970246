package encryption

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption/keystore"
)

const (
	keyRing = "gcp-kms://projects/p/locations/l/keyRings/crm/cryptoKeys/"
	arn     = "arn:aws:kms:eu-central-1:111122223333:key/"
)

// A prefix pins whose KEKs they are: what stands behind it can be the name of a
// key there and nothing else.
func TestWhichNamesOfKEKsArePermitted(t *testing.T) {
	for _, tc := range []struct {
		kekNames []string
		yes, no  []string
	}{
		{
			nil,
			[]string{"kek-1", "K", "crm_2026.w48", "1234abcd-12ab-34cd-56ef-1234567890ab", strings.Repeat("k", 255)},
			[]string{
				"", ".", "..", ".kek", "a/b", "a:b", "../kek-1", "alias/crm", arn + "x", keyRing + "k", "http://evil.example", "//evil.example/k",
				"kek 1", "kek\n1", "kek%2f1", "kek\\1", "kek?1", "kek#1", "kek@1", "kék", "kek\x001", strings.Repeat("k", 256),
			},
		},
		{
			[]string{keyRing},
			[]string{keyRing + "crm-1", keyRing + "2"},
			[]string{
				keyRing, "kek-1", keyRing + "a/b", keyRing + "..", keyRing + "../../other/cryptoKeys/k", keyRing + "a:b", keyRing + "a?b", keyRing + "%2e%2e", strings.ToUpper(keyRing) + "a",
				"gcp-kms://projects/p/locations/l/keyRings/crm2/cryptoKeys/k", "gcp-kms://projects/p2/locations/l/keyRings/crm/cryptoKeys/k", "x" + keyRing + "k", keyRing + " k",
			},
		},
		{
			[]string{arn + "one", "aws-kms://" + arn, "key:"},
			[]string{arn + "one", "aws-kms://" + arn + "two", "key:3"},
			[]string{arn + "two", arn + "one2", "aws-kms://" + arn, "aws-kms://arn:aws:kms:eu-central-1:666666666666:key/two", "key:", "key:a:b", "key", "kek-1"},
		},
	} {
		cfg := Config{KEKs: tc.kekNames}
		require.NoError(t, cfg.checkKEKs())
		for _, name := range tc.yes {
			require.True(t, cfg.permitsKEK(name), "%q by %q", name, tc.kekNames)
		}
		for _, name := range tc.no {
			require.False(t, cfg.permitsKEK(name), "%q by %q", name, tc.kekNames)
		}
	}
}

func TestAPrefixThatPinsNothingIsRefused(t *testing.T) {
	for _, entry := range []string{"", "/", ":", "//", "gcp-kms://", "https://", "https:/", "a::", "kek\n", "kek\x00", "\xff", strings.Repeat("k", 256)} {
		err := Config{KEKs: []string{"kek-1", entry}}.checkKEKs()
		require.ErrorIs(t, err, ErrDefinition, "%q", entry)
	}
	_, err := Config{Keys: nothing{}, KEK: func(context.Context, string, string) (tink.AEADWithContext, error) { return nil, nil }, KEKs: []string{"aws-kms://"}}.complete()
	require.ErrorContains(t, err, "behind the account and the key ring")
	cfg, err := Config{Keys: nothing{}, KEK: func(context.Context, string, string) (tink.AEADWithContext, error) { return nil, nil }, KEKs: []string{keyRing}}.complete()
	require.NoError(t, err)
	require.False(t, cfg.permitsKEK(cfg.NewKEK), "there is no name to begin with; only Create needs one")
}

type nothing struct{ keystore.Store }
