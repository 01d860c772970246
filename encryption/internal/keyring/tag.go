package keyring

import (
	"encoding/binary"
	"fmt"
	"io/fs"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption/internal/format"
)

func newMAC(handle *keyset.Handle) (tink.MAC, error) { return mac.New(handle) }

// Has reports whether the keyset has the key that the tag names.
func (k *Keyset) Has(tag []byte) bool {
	if len(tag) < format.PrefixSize {
		return true // no tag at all: nothing to read afresh for
	}
	_, ok := k.Root(binary.BigEndian.Uint32(tag[1:format.PrefixSize]))
	return ok
}

// TagWith makes the tag of data by the primary key.
func TagWith(k *Keyset, data []byte) ([]byte, error) {
	tag, err := k.mac.ComputeMAC(data)
	if err != nil {
		return nil, fmt.Errorf("encryption: tag: %w", err)
	}
	return tag, nil
}

// VerifyWith verifies one by the key that it names.
func VerifyWith(k *Keyset, data, tag []byte) error {
	if k.mac.VerifyMAC(tag, data) == nil {
		return nil
	}
	if !k.Has(tag) {
		return fmt.Errorf("%w: the keyset lacks the key that it names: %w", ErrTag, fs.ErrNotExist)
	}
	return ErrTag
}
