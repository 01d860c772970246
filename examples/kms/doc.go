// Package kms shows where the key encryption key (KEK) of a vault may live: its
// folders make [encryption.Config] KEK funcs of three key management services,
// and its tests run a vault on each.
//
//	awskek      AWS KMS, by github.com/tink-crypto/tink-go-awskms/v3
//	gcpkek      Google Cloud KMS, by github.com/tink-crypto/tink-go-gcpkms/v2
//	transitkek  the transit engine of HashiCorp Vault and of OpenBao
//
// It is a module of its own: who imports encryption links none of these
// services. Copy the folder that you need, or import it.
//
// # Which KEK
//
// One KEK wraps the keysets of all tenants. What keeps them apart is the
// associated data, in which the name of the tenant stands; each service
// below binds it, and AddTenant refuses a KEK that does not.
//
// Name the KEKs that are yours in Config.KEKs. The name of a KEK comes from the
// key store, and whoever writes there must not bring a key of an account of
// their own. A prefix ends behind the account (AWS) or the key ring (Google);
// plain names, as Vault has them, need no entry.
//
// # What a KMS sees, and what it costs
//
// A call of the KMS wraps or unwraps a keyset: at the start, when a tenant is
// made or first used, in key copies and in RewrapKeys; never for a value, a row
// or a person. The associated data reaches the KMS: AWS keeps it, in hex, in
// CloudTrail, so a tenant should have an id and not the name of a company. A
// new tenant leaves one refused call in the log of the KMS: the proof that the
// KEK binds.
//
// # Rotation
//
// That the service rotates a key by itself (a new version of the same key)
// changes nothing here: the wrapped keysets stay as they are, and open as long
// as the service keeps the old version. To end a KEK make a new key and hand
// its name to Vault.RewrapKeys; then the old key may be destroyed.
//
// What the tests show: AWS KMS against local-kms, a server that speaks its
// HTTP; Google's against a gRPC server in the test that encrypts with AES-GCM;
// Vault's against an HTTP server in the test, or against the server that
// CRMGUARD_TRANSIT names. None has met the clouds themselves.
//
// Stability: settling.
package kms
