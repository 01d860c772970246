// Generate wrote samples.json once, with nothing but the old module and the
// standard library. See README.md.
package main

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"os"

	"github.com/google/tink/go/aead"
	aeadsubtle "github.com/google/tink/go/aead/subtle"
	"github.com/google/tink/go/insecurecleartextkeyset"
	"github.com/google/tink/go/keyset"
	"github.com/google/tink/go/mac"
	"github.com/google/tink/go/prf"
	tinkpb "github.com/google/tink/go/proto/tink_go_proto"
	streamsubtle "github.com/google/tink/go/streamingaead/subtle"
	"github.com/google/tink/go/tink"
)

type keysetSample struct {
	Tenant, Purpose            string
	ClearBinary, WrappedBinary []byte
	ClearJSON, WrappedJSON     json.RawMessage
	First, Second              []byte // made with the first key, before the second became primary, and with the second
}

type samples struct {
	KEK          []byte // wraps the branch keys, which wrap the other keysets
	Keysets      []keysetSample
	PersonKey    []byte // what wrap wraps, and seals the field and the stream
	Generation   uint32
	Field        []byte // of t1, contacts, email, p1: "ann@b.example"
	Stream       []byte // of t1, files, content, p1, r1: zeros under the name old.txt
	StreamLength int
}

func lp(parts ...string) (out []byte) {
	for _, p := range parts {
		out = binary.BigEndian.AppendUint32(out, uint32(len(p)))
		out = append(out, p...)
	}
	return out
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

const generation = 0x01020304

// work makes what a keyset of this purpose is there for.
func work(purpose string, handle *keyset.Handle, personKey []byte) []byte {
	switch purpose {
	case "wrap":
		ad := binary.BigEndian.AppendUint32(lp("crmguard/personkey/v1", "t1", "p1"), generation)
		return must(must(aead.New(handle)).Encrypt(personKey, ad))
	case "seal", "log", "manifest":
		return must(must(mac.New(handle)).ComputeMAC([]byte("sample")))
	default:
		return must(must(prf.NewPRFSet(handle)).ComputePrimaryPRF(lp("crmguard/test/v1"), 32))
	}
}

func template(purpose string) *tinkpb.KeyTemplate {
	switch purpose {
	case "wrap":
		return aead.AES256GCMKeyTemplate()
	case "seal", "log", "manifest":
		return mac.HMACSHA256Tag256KeyTemplate()
	default:
		return prf.HKDFSHA256PRFKeyTemplate()
	}
}

// branch is the branch key of a tenant: one key, and nothing made with it but
// the keysets that it wraps.
func branch(tenant string, kek tink.AEAD) (keysetSample, tink.AEAD) {
	handle := must(keyset.NewHandle(aead.AES256GCMKeyTemplate()))
	return written(keysetSample{Tenant: tenant, Purpose: "branch"}, handle, kek), must(aead.New(handle))
}

func sample(tenant, purpose string, branch tink.AEAD, personKey []byte) keysetSample {
	s := keysetSample{Tenant: tenant, Purpose: purpose}
	manager := keyset.NewManager()
	for i := range 2 {
		id := must(manager.Add(template(purpose)))
		if err := manager.SetPrimary(id); err != nil {
			panic(err)
		}
		made := work(purpose, must(manager.Handle()), personKey)
		if i == 0 {
			s.First = made
		} else {
			s.Second = made
		}
	}
	return written(s, must(manager.Handle()), branch)
}

// written is a keyset in its four forms.
func written(s keysetSample, handle *keyset.Handle, by tink.AEAD) keysetSample {
	ad := lp("crmguard/keyset/v1", s.Tenant, s.Purpose)
	if s.Tenant == "" {
		ad = lp("crmguard/keyset/installation/v1", s.Purpose)
	}
	var clearBinary, clearJSON, wrappedBinary, wrappedJSON bytes.Buffer
	for _, err := range []error{
		insecurecleartextkeyset.Write(handle, keyset.NewBinaryWriter(&clearBinary)),
		insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&clearJSON)),
		handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&wrappedBinary), by, ad),
		handle.WriteWithAssociatedData(keyset.NewJSONWriter(&wrappedJSON), by, ad),
	} {
		if err != nil {
			panic(err)
		}
	}
	s.ClearBinary, s.ClearJSON = clearBinary.Bytes(), clearJSON.Bytes()
	s.WrappedBinary, s.WrappedJSON = wrappedBinary.Bytes(), wrappedJSON.Bytes()
	return s
}

// field is a sealed field: the key id in the prefix is the generation.
func field(personKey []byte) []byte {
	ad := append(append(lp("crmguard/field/v1"), 2), lp("t1", "contacts", "email", "p1", "")...)
	gcm := must(aeadsubtle.NewAESGCM(personKey))
	head := binary.BigEndian.AppendUint32([]byte{1}, generation)
	return append(head, must(gcm.Encrypt([]byte("ann@b.example"), ad))...)
}

func stream(personKey []byte, length int) []byte {
	key := must(hkdf.Key(sha256.New, personKey, nil, string(lp("crmguard/stream/v1")), 32))
	primitive := must(streamsubtle.NewAESCTRHMAC(key, "SHA256", 32, "SHA256", 32, 64<<10, 0))
	ad := append(append(lp("crmguard/streamad/v1", "crmguard/field/v1"), 3), lp("t1", "files", "content", "p1", "r1")...)
	var out bytes.Buffer
	out.Write(binary.BigEndian.AppendUint32([]byte{2}, generation))
	w := must(primitive.NewEncryptingWriter(&out, ad))
	must(w.Write(binary.BigEndian.AppendUint64(nil, uint64(length))))
	must(w.Write(append(lp("old.txt"), make([]byte, length)...)))
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func main() {
	kek, personKey := make([]byte, 32), make([]byte, 32)
	for i := range 32 {
		kek[i], personKey[i] = 7, byte(i)
	}
	s := samples{KEK: kek, PersonKey: personKey, Generation: generation, Field: field(personKey), StreamLength: 66_000}
	s.Stream = stream(personKey, s.StreamLength)
	gcm := must(aeadsubtle.NewAESGCM(kek))
	for _, of := range []struct {
		tenant   string
		purposes []string
	}{{"t1", []string{"wrap", "seal", "log", "index", "suppression"}}, {"", []string{"ledger", "manifest"}}} {
		key, wraps := branch(of.tenant, gcm)
		s.Keysets = append(s.Keysets, key)
		for _, purpose := range of.purposes {
			s.Keysets = append(s.Keysets, sample(of.tenant, purpose, wraps, personKey))
		}
	}
	text := must(json.MarshalIndent(s, "", " "))
	if err := os.WriteFile("samples.json", append(text, '\n'), 0o644); err != nil {
		panic(err)
	}
}
