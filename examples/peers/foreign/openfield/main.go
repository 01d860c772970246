// Openfield opens a sealed field of crmguard with nothing but Tink and the
// standard library: it is what a team would write to leave. It imports no
// package of crmguard, and everything it knows stands in the published format.
//
// On standard input it takes one JSON object: the key encryption key as a
// Tink keyset in the clear (JSON), the tenant's wrapped keysets "branch" and
// "wrap", the wrapped key of the person, the sealed field in binary or text form, and the
// names that the field is bound to. On standard output it writes the value.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// field is the input; bytes are standard base64, as encoding/json writes them.
type field struct {
	KEK       json.RawMessage `json:"kek"`        // Tink keyset, clear
	Branch    []byte          `json:"branch"`     // Tink EncryptedKeyset, binary: the KEK opens it
	Keyset    []byte          `json:"keyset"`     // the same: the branch key opens it
	PersonKey []byte          `json:"person_key"` // 65 bytes
	Sealed    []byte          `json:"sealed"`     // binary form, or
	Text      string          `json:"text"`       // text form, "cg1.…"

	Level  byte   `json:"level"` // 1, 2 or 3
	Tenant string `json:"tenant"`
	Table  string `json:"table"`
	Column string `json:"column"`
	Owner  string `json:"owner"`
	Row    string `json:"row"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "openfield:", err)
		os.Exit(1)
	}
}

func run() error {
	var f field
	if err := json.NewDecoder(os.Stdin).Decode(&f); err != nil {
		return err
	}
	if f.Text != "" {
		_, payload, _ := strings.Cut(strings.TrimPrefix(f.Text, "cg1."), ".")
		sealed, err := base64.RawURLEncoding.DecodeString(payload)
		if err != nil {
			return err
		}
		f.Sealed = sealed
	}
	value, err := f.open()
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(value)
	return err
}

func (f *field) open() ([]byte, error) {
	person, keyVersion, err := f.unwrap()
	if err != nil {
		return nil, err
	}
	cipher, err := personCipher(person, keyVersion)
	if err != nil {
		return nil, err
	}
	ad := lp("crmguard/field/v1")
	ad = append(ad, f.Level)
	ad = append(ad, lp(f.Tenant, f.Table, f.Column)...)
	owner, row := f.Owner, f.Row
	if f.Level < 2 {
		owner = ""
	}
	if f.Level < 3 {
		row = ""
	}
	return cipher.Decrypt(f.Sealed, append(ad, lp(owner, row)...))
}

// unwrap goes from the key encryption key over the tenant's branch key and its
// keyset to the key of the person.
func (f *field) unwrap() (key []byte, keyVersion uint32, err error) {
	if len(f.Sealed) < 5 || f.Sealed[0] != 1 {
		return nil, 0, fmt.Errorf("this is no sealed field")
	}
	keyVersion = binary.BigEndian.Uint32(f.Sealed[1:5])
	clear, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(f.KEK)))
	if err != nil {
		return nil, 0, err
	}
	kek, err := aead.New(clear)
	if err != nil {
		return nil, 0, err
	}
	branch, err := unwrapKeyset(f.Branch, kek, lp("crmguard/keyset/v1", f.Tenant, "branch"))
	if err != nil {
		return nil, 0, err
	}
	wrap, err := unwrapKeyset(f.Keyset, branch, lp("crmguard/keyset/v1", f.Tenant, "wrap"))
	if err != nil {
		return nil, 0, err
	}
	ad := binary.BigEndian.AppendUint32(lp("crmguard/personkey/v1", f.Tenant, f.Owner), keyVersion)
	key, err = wrap.Decrypt(f.PersonKey, ad)
	return key, keyVersion, err
}

// unwrapKeyset opens a keyset that another key has wrapped.
func unwrapKeyset(wrapped []byte, by tink.AEAD, ad []byte) (tink.AEAD, error) {
	handle, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(wrapped)), by, ad)
	if err != nil {
		return nil, err
	}
	return aead.New(handle)
}

// personCipher is Tink AES-256-GCM with the key version as the key's id.
func personCipher(key []byte, keyVersion uint32) (tink.AEAD, error) {
	parameters, err := aesgcm.NewParameters(aesgcm.ParametersOpts{KeySizeInBytes: 32, IVSizeInBytes: 12, TagSizeInBytes: 16, Variant: aesgcm.VariantTink})
	if err != nil {
		return nil, err
	}
	one, err := aesgcm.NewKey(secretdata.NewBytesFromData(key, insecuresecretdataaccess.Token{}), keyVersion, parameters)
	if err != nil {
		return nil, err
	}
	manager := keyset.NewManager()
	id, err := manager.AddKey(one)
	if err != nil {
		return nil, err
	}
	if err := manager.SetPrimary(id); err != nil {
		return nil, err
	}
	handle, err := manager.Handle()
	if err != nil {
		return nil, err
	}
	return aead.New(handle)
}

// lp writes each part with its length before it, four bytes, big-endian.
func lp(parts ...string) []byte {
	var out []byte
	for _, part := range parts {
		out = binary.BigEndian.AppendUint32(out, uint32(len(part)))
		out = append(out, part...)
	}
	return out
}
