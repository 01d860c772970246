package auditlog

import (
	"bytes"
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/crmguard/crmguard/internal/frame"
)

const (
	bodyBlock = 256      // the length of an opening tells little
	bodyOver  = 12 + 16  // what sealing adds: nonce and tag
	maxBody   = 16 << 20 // of the plaintext
	maxFields = 65535
)

// AppendBody appends the plaintext of an opening: seed, number of fields, the
// fields by path and side, and zeros to a multiple of 256. It sorts o.Fields.
func AppendBody(dst []byte, o *Opening) ([]byte, error) {
	slices.SortFunc(o.Fields, compareFields)
	begin := len(dst)
	size := len(o.Seed) + 2
	for i := range o.Fields {
		f := &o.Fields[i]
		if err := f.check(); err != nil {
			return dst, err
		}
		if i > 0 && compareFields(o.Fields[i-1], *f) == 0 {
			return dst, malformed("opening: a field twice")
		}
		size += frame.Size(f.Path) + 2 + frame.Size(f.Value.Data)
	}
	if size > maxBody || len(o.Fields) > maxFields {
		return dst, fmt.Errorf("%w: opening of %d fields and %d bytes", ErrTooLarge, len(o.Fields), size)
	}
	dst = append(dst, o.Seed[:]...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(o.Fields)))
	for i := range o.Fields {
		f := &o.Fields[i]
		dst = append(frame.Append(dst, f.Path), f.Side)
		dst = f.Value.Append(dst)
	}
	var zeros [bodyBlock]byte
	return append(dst, zeros[:(bodyBlock-(len(dst)-begin)%bodyBlock)%bodyBlock]...), nil
}

func compareFields(a, b Field) int {
	return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Side, b.Side))
}

func (f *Field) check() error {
	if f.Path == "" || !utf8.ValidString(f.Path) || f.Side > SideName || f.Value.Type > TypeStandIn {
		return malformed("opening: field")
	}
	return nil
}

// ParseBody reads the plaintext of an opening, and takes no other spelling of it
// than [AppendBody] writes. The values are parts of data.
func ParseBody(data []byte) (*Opening, error) {
	if len(data) == 0 || len(data)%bodyBlock != 0 || len(data) > maxBody {
		return nil, malformed("opening of %d bytes", len(data))
	}
	o := &Opening{Seed: [32]byte(data)}
	r := reader{data: data[len(o.Seed):]}
	count := int(r.number(2))
	o.Fields = make([]Field, 0, min(count, len(data)/16))
	for range count {
		f := Field{Path: string(r.part()), Side: byte(r.number(1))}
		f.Value = frame.Value{Type: frame.Type(r.number(1)), Data: r.part()}
		if r.short {
			return nil, malformed("opening: it ends too early")
		}
		if err := f.check(); err != nil {
			return nil, err
		}
		if n := len(o.Fields); n > 0 && compareFields(o.Fields[n-1], f) >= 0 {
			return nil, malformed("opening: fields out of order")
		}
		o.Fields = append(o.Fields, f)
	}
	if len(r.data) >= bodyBlock || len(bytes.TrimLeft(r.data, "\x00")) > 0 {
		return nil, malformed("opening: padding")
	}
	return o, nil
}

// bodyKey is the key of one event under the content key of one owner.
func bodyKey(content *[32]byte, event [16]byte) []byte {
	data := frame.Append(make([]byte, 0, 64), "crmguard/opening/key/v2")
	mac := hmac.New(sha256.New, content[:])
	mac.Write(frame.Append(data, event[:]))
	return mac.Sum(data[:0])
}

func bodyAEAD(content *[32]byte, event [16]byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(bodyKey(content, event))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// bodyData binds a sealed opening to its event and owner.
func bodyData(event, owner [16]byte) []byte {
	return frame.Append(frame.Append(frame.Append(make([]byte, 0, 80), "crmguard/opening/v2"), event[:]), owner[:])
}

// SealBody appends the sealed form of a plaintext of [AppendBody], under the
// content key of the owner: a nonce and what AES-256-GCM makes of it, with a key
// for each event. plain must lie outside of dst.
func SealBody(dst []byte, content *[32]byte, event, owner [16]byte, plain []byte) ([]byte, error) {
	aead, err := bodyAEAD(content, event)
	if err != nil {
		return dst, fmt.Errorf("auditlog: seal: %w", err)
	}
	return aead.Seal(dst, nil, plain, bodyData(event, owner)), nil //nolint:gosec // this AEAD draws its nonce itself, and puts it in front
}

// OpenBody is the plaintext of what [SealBody] has sealed. Bytes that were sealed
// under another key, for another event or owner, or changed since, are
// ErrTampered.
func OpenBody(content *[32]byte, event, owner [16]byte, sealed []byte) ([]byte, error) {
	if !isBodySize(len(sealed)) {
		return nil, malformed("sealed opening of %d bytes", len(sealed))
	}
	aead, err := bodyAEAD(content, event)
	if err != nil {
		return nil, fmt.Errorf("auditlog: open: %w", err)
	}
	plain, err := aead.Open(nil, nil, sealed, bodyData(event, owner))
	if err != nil {
		return nil, fmt.Errorf("%w: an opening that this key does not open for this event and owner", ErrTampered)
	}
	return plain, nil
}

// isBodySize says whether a sealed opening can have so many bytes.
func isBodySize(n int) bool {
	n -= bodyOver
	return n > 0 && n%bodyBlock == 0 && n <= maxBody
}
