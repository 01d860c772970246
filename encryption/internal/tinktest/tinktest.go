// Package tinktest is what tests need to compare with plain Tink: keys of bytes
// that are known, and the associated data of formats.md without any code of ours.
// Only tests import it.
package tinktest

import (
	"crypto/fips140"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/key"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/secretdata"
)

// Counting is a key whose bytes count.
func Counting(n int) []byte {
	key := make([]byte, n)
	for i := range key {
		key[i] = byte(i)
	}
	return key
}

// Secret is bytes in the shape of a key of Tink.
func Secret(b []byte) secretdata.Bytes {
	return secretdata.NewBytesFromData(b, insecuresecretdataaccess.Token{})
}

// Handle is a keyset of one key.
func Handle(tb testing.TB, k key.Key) *keyset.Handle {
	tb.Helper()
	manager := keyset.NewManager()
	id, err := manager.AddKey(k)
	if err != nil {
		tb.Fatal(err)
	}
	if err := manager.SetPrimary(id); err != nil {
		tb.Fatal(err)
	}
	handle, err := manager.Handle()
	if err != nil {
		tb.Fatal(err)
	}
	return handle
}

// FieldAD is the associated data of a field as a foreign program would write it
// from formats.md.
func FieldAD(level byte, parts ...string) []byte {
	lp := func(s string) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...) }
	out := append(lp("crmguard/field/v1"), level)
	for _, p := range parts {
		out = append(out, lp(p)...)
	}
	return out
}

// outsideFIPS are the tests in which plain Tink seals by AES-GCM. It draws the
// IV outside of the validated module, which Go refuses where only what FIPS 140
// approves is allowed (GODEBUG=fips140=only). What the library seals with goes
// through the module, and is the same bytes.
var outsideFIPS = []string{
	"TestKeysetsOfTheOldTinkOpenInEveryForm", // encryption
	"TestPlainTinkOpensAField",               // encryption/internal/keyring
	"TestPlainTinkUnwrapsAKeyRow",
}

// SkipOutsideFIPS skips a test of the list where it cannot run.
func SkipOutsideFIPS(t *testing.T) {
	t.Helper()
	name, _, _ := strings.Cut(t.Name(), "/")
	if !slices.Contains(outsideFIPS, name) {
		t.Fatalf("%s is not on the list of tests that FIPS 140 only mode refuses", name)
	}
	if fips140.Enforced() {
		t.Skip("plain Tink seals by AES-GCM under an IV of its own, which FIPS 140 only mode refuses")
	}
}
