// Package gcpkek makes the key encryption keys of a vault from keys of Google
// Cloud KMS.
//
// The name of a KEK is the URI of a symmetric key. [KEK] says which Config
// members go with it. Every call ends with its context, and what is sent and
// received is checked by CRC-32C. It promises what Cloud KMS promises; who may
// call cloudkms.cryptoKeyVersions.useToDecrypt with the key unwraps every
// keyset, so that is the right to guard. Errors are those of Cloud KMS; they
// show no key. What it returns is safe for concurrent use.
// Stability: settling.
package gcpkek

import (
	"context"
	"fmt"
	"strings"

	kms "cloud.google.com/go/kms/apiv1"
	"github.com/tink-crypto/tink-go-gcpkms/v2/integration/gcpkms"
	"github.com/tink-crypto/tink-go/v2/tink"
	"google.golang.org/api/option"
)

// KEK returns the keys that a client of Cloud KMS reaches, in the shape of
// Config.KEK. Its user needs roles/cloudkms.cryptoKeyEncrypterDecrypter on
// them. The project and the key ring are pinned by Config.KEKs:
//
//	ring := "gcp-kms://projects/crm/locations/europe-west3/keyRings/crm/cryptoKeys/"
//	client, err := kms.NewKeyManagementClient(ctx) // cloud.google.com/go/kms/apiv1
//	encryption.Config{
//		KEK:    gcpkek.KEK(client),
//		KEKs:   []string{ring},
//		NewKEK: ring + "kek-1", // for Create
//	}
//
// All KEKs share the client's connections. The client stays open as long as
// the vault is in use, and its owner closes it.
func KEK(client *kms.KeyManagementClient) func(ctx context.Context, tenant, kek string) (tink.AEADWithContext, error) {
	return func(ctx context.Context, _, kek string) (tink.AEADWithContext, error) {
		if !strings.HasPrefix(kek, "gcp-kms://projects/") || !strings.Contains(kek, "/cryptoKeys/") {
			return nil, fmt.Errorf("gcpkek: %.300q is not the URI of a key (gcp-kms://projects/P/locations/L/keyRings/R/cryptoKeys/K): set Config.NewKEK, and Config.KEKs to the part that ends with cryptoKeys/", kek)
		}
		// Without a connection handed in, each AEAD would open its own and never
		// close it.
		conn := client.Connection() //nolint:staticcheck // which one of the client's pool does not matter
		aead, err := gcpkms.GetAEADWithContext(ctx, kek, gcpkms.WithGoogleAPIClientOptions(option.WithGRPCConn(conn)))
		if err != nil {
			return nil, fmt.Errorf("gcpkek: %w", err)
		}
		return aead, nil
	}
}
