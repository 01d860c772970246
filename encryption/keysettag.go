package encryption

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

// has reports whether the keyset has the key that the tag names.
func (k *openKeyset) has(tag []byte) bool {
	if len(tag) < format.PrefixSize {
		return true // no tag at all: nothing to read afresh for
	}
	_, ok := k.root(binary.BigEndian.Uint32(tag[1:format.PrefixSize]))
	return ok
}

func tagWith(k *openKeyset, data []byte) ([]byte, error) {
	tag, err := k.mac.ComputeMAC(data)
	if err != nil {
		return nil, fmt.Errorf("encryption: tag: %w", err)
	}
	return tag, nil
}

func verifyWith(k *openKeyset, data, tag []byte) error {
	if k.mac.VerifyMAC(tag, data) == nil {
		return nil
	}
	if !k.has(tag) {
		return fmt.Errorf("%w: the keyset lacks the key that it names: %w", ErrTag, fs.ErrNotExist)
	}
	return ErrTag
}
