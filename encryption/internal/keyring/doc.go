// Package keyring is the key hierarchy of package encryption: KEKs, the keysets
// that they wrap, the persons' keys that those wrap, and their lives in key
// versions and epochs, with leases, a cache, seals that are counted, merges and
// erasures. A Ring has no table, no stream and no key copy; it reads and changes a
// keystore.Store, and asks a KEK func.
//
// What its methods promise to applications stands at the methods of
// encryption.Vault of the same names.
package keyring
