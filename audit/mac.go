package audit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"sync"

	"github.com/crmguard/crmguard/internal/frame"
)

// What is authenticated in great numbers is authenticated in memory: inside a
// sale no service and no other connection is asked. The keys for it come from
// the key of the tags of a tenant and are bound to one use and one log, by its
// name without the counter: a log that was begun anew takes over what waits.

// The uses of MAC keys, frozen.
const (
	queueKeyLabel     = "crmguard/audit/queue-key/v2"
	retryKeyLabel     = "crmguard/audit/retry-key/v2"
	surrogateKeyLabel = "crmguard/audit/surrogate-key/v2"
)

// A macKey makes tags of the form 0x01 ‖ id ‖ HMAC-SHA256.
type macKey struct {
	id  uint32
	key [sha256.Size]byte
}

const (
	tagVersion = 1
	tagSize    = 5 + sha256.Size
)

// tagVerdict is what can be said of a tag. A key that is not there may be one of
// another process that has it already: what it tagged waits. Under a key that is
// there a tag that is not right is a forgery.
type tagVerdict int

const (
	tagRight tagVerdict = iota
	tagUnknown
	tagWrong
)

// macKeys asks for the keys of a use, the one that makes what is new first. They
// are the caller's to wipe.
func (t *Trail) macKeys(ctx context.Context, tenant, label string) ([]macKey, error) {
	ids, keys, err := t.config.Keys.MACKeys(ctx, tenant, frame.Join(label, t.config.Name))
	if err != nil {
		return nil, fmt.Errorf("audit: MAC keys: %w", err)
	}
	if len(ids) == 0 || len(ids) != len(keys) {
		return nil, invalid("Config.Keys: MACKeys gave %d ids and %d keys", len(ids), len(keys))
	}
	out := make([]macKey, len(ids))
	for i, id := range ids {
		if len(keys[i]) != sha256.Size {
			return nil, invalid("Config.Keys: MACKeys gave a key of %d bytes", len(keys[i]))
		}
		out[i] = macKey{id, [sha256.Size]byte(keys[i])}
		clear(keys[i])
	}
	return out, nil
}

// sum appends the MAC over both parts, the one behind the other.
func (k *macKey) sum(dst, head, rest []byte) []byte {
	mac := hmac.New(sha256.New, k.key[:])
	mac.Write(head)
	mac.Write(rest)
	return mac.Sum(dst)
}

// tag appends the tag over both parts.
func (k *macKey) tag(dst, head, rest []byte) []byte { return k.sum(tagPrefix(dst, k.id), head, rest) }

// tag appends the tag over both parts.
func (m *macMaker) tag(dst, head, rest []byte) []byte {
	return m.sum(tagPrefix(dst, m.id), head, rest)
}

// tagPrefix is how a tag begins.
func tagPrefix(dst []byte, id uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, tagVersion), id)
}

// A macMaker makes what a [macKey] makes, again and again. The state of a MAC is
// worth keeping: making one is most of the work. It cannot be overwritten, and
// whoever still has it when its ticket has ended goes on with the right key.
type macMaker struct {
	id     uint32
	states sync.Pool
}

func newMACMaker(k macKey) *macMaker {
	return &macMaker{id: k.id, states: sync.Pool{New: func() any { return hmac.New(sha256.New, k.key[:]) }}}
}

// sum appends the MAC over both parts, the one behind the other.
func (m *macMaker) sum(dst, head, rest []byte) []byte {
	mac := m.states.Get().(hash.Hash) //nolint:forcetypeassert // nothing else is in the pool
	mac.Reset()
	mac.Write(head)
	mac.Write(rest)
	dst = mac.Sum(dst)
	m.states.Put(mac)
	return dst
}

// checkTag looks at a tag over both parts. Ids that were drawn at random may be
// equal, so that all keys of an id are tried.
func checkTag(keys []macKey, tag, head, rest []byte) tagVerdict {
	if len(tag) != tagSize || tag[0] != tagVersion {
		return tagWrong
	}
	verdict := tagUnknown
	for i := range keys {
		if keys[i].id != binary.BigEndian.Uint32(tag[1:]) {
			continue
		}
		if hmac.Equal(keys[i].sum(nil, head, rest), tag[5:]) {
			return tagRight
		}
		verdict = tagWrong
	}
	return verdict
}

// wipe overwrites keys.
func wipe(keys []macKey) { clear(keys) }
