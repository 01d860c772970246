// Package awskek makes the key encryption keys of a vault from keys of AWS KMS.
//
// The name of a KEK is the ARN of a symmetric key. [KEK] says which
// Config members go with it. Every call ends with its context. It promises what
// AWS KMS promises; who may call kms:Decrypt with the key unwraps every keyset,
// so that is the right to guard. Errors are those of AWS; they show no key.
// What it returns is safe for concurrent use.
// Stability: settling.
package awskek

import (
	"context"
	"fmt"
	"strings"

	"github.com/tink-crypto/tink-go-awskms/v3/integration/awskms"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// KEK returns the keys that a client of AWS KMS reaches, in the shape of
// Config.KEK. Its user needs kms:Encrypt and kms:Decrypt on them. The account
// is pinned by Config.KEKs, and the region is the client's:
//
//	account := "arn:aws:kms:eu-central-1:111122223333:key/"
//	encryption.Config{
//		KEK:    awskek.KEK(kms.NewFromConfig(awsConfig)),
//		KEKs:   []string{account},
//		NewKEK: account + "1234abcd-12ab-34cd-56ef-1234567890ab", // for Create
//	}
//
// A name that is not the ARN of a key is refused: a bare id would be looked for
// in whatever account the credentials belong to, and an alias can be pointed at
// another key.
func KEK(client awskms.KMSAPI) func(ctx context.Context, tenant, kek string) (tink.AEADWithContext, error) {
	return func(ctx context.Context, _, kek string) (tink.AEADWithContext, error) {
		parts := strings.SplitN(kek, ":", 6)
		if len(parts) != 6 || parts[0] != "arn" || parts[2] != "kms" || !strings.HasPrefix(parts[5], "key/") {
			return nil, fmt.Errorf("awskek: %.300q is not the ARN of a key (arn:aws:kms:REGION:ACCOUNT:key/ID): set Config.NewKEK, and Config.KEKs to the part that ends with key/", kek)
		}
		aead, err := awskms.NewAEADWithContext(ctx, kek, awskms.WithKMS(client))
		if err != nil {
			return nil, fmt.Errorf("awskek: %w", err)
		}
		return aead, nil
	}
}
