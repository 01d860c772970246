package audit

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/frame"
)

// Each person has one content key, drawn with the surrogate and sealed once
// under the person's own key: the head of the surrogate. What an event says
// about a person is sealed under a key that follows from the content key, so that
// the sale needs no key service, a new version of the person's key reseals one
// row a person, and the end of the person's key ends all of it, also in copies.
// The head says whose it is: it is the map from surrogate to person, too.

const (
	headVersion = 1
	headBlock   = 64 // the length of a head tells little of the person's id
)

// personHead is what a head holds.
type personHead struct {
	content   [32]byte
	surrogate [16]byte
	person    string // "" for the tenant's own data
}

// encode is the plaintext that is sealed.
func (h *personHead) encode() []byte {
	data := append(make([]byte, 0, 64+len(h.person)+headBlock), headVersion)
	data = append(data, h.content[:]...)
	data = frame.Append(data, h.surrogate[:])
	data = frame.Append(data, h.person)
	return append(data, make([]byte, (headBlock-len(data)%headBlock)%headBlock)...)
}

// parseHead reads the plaintext of a head, and takes no other spelling of it.
func parseHead(data []byte) (h personHead, err error) {
	const fixed = 1 + 32 + 4 + 16 + 4
	if len(data) < fixed || len(data)%headBlock != 0 || data[0] != headVersion {
		return h, malformed("head of a surrogate: version or size")
	}
	copy(h.content[:], data[1:])
	size, rest := binary.BigEndian.Uint32(data[33:]), data[fixed:]
	if size != 16 {
		return h, malformed("head of a surrogate: surrogate")
	}
	copy(h.surrogate[:], data[37:])
	n := int64(binary.BigEndian.Uint32(data[53:]))
	if n > int64(len(rest)) {
		return h, malformed("head of a surrogate: person")
	}
	h.person = string(rest[:n])
	if rest = rest[n:]; len(rest) >= headBlock || len(bytes.TrimLeft(rest, "\x00")) > 0 {
		return h, malformed("head of a surrogate: padding")
	}
	return h, nil
}

// headAD binds a sealed head to its log and surrogate.
func headAD(name string, surrogate [16]byte) []byte {
	return frame.Join([]byte("crmguard/surrogate/v1"), []byte(name), surrogate[:])
}

// sealHead seals a head under the person's key.
func (t *Trail) sealHead(ctx context.Context, tenant string, h *personHead) ([]byte, error) {
	plain := h.encode()
	defer clear(plain)
	sealed, err := t.config.Keys.Seal(ctx, tenant, h.person, plain, headAD(t.config.Name, h.surrogate))
	if err != nil {
		return nil, fmt.Errorf("audit: seal: %w", err)
	}
	if bytes.Equal(sealed, plain) {
		return nil, fmt.Errorf("%w: the sealer returned the plaintext", ErrInvalid)
	}
	return sealed, nil
}

// openHead opens the head of a row, and holds it to what the row says.
func (t *Trail) openHead(ctx context.Context, tenant, person string, surrogate [16]byte, sealed []byte) (h personHead, err error) {
	plain, err := t.config.Keys.Open(ctx, tenant, person, sealed, headAD(t.config.Name, surrogate))
	if err != nil {
		return h, fmt.Errorf("audit: open: %w", err)
	}
	defer clear(plain)
	if h, err = parseHead(plain); err != nil {
		return h, err
	}
	if h.surrogate != surrogate || h.person != person {
		return personHead{}, fmt.Errorf("%w: the head of a surrogate is another one's", auditlog.ErrTampered)
	}
	return h, nil
}
