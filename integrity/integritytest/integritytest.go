// Package integritytest helps the tests of those who use package integrity,
// and judges what they hand in: [Tagger] is a double that keeps its keys in
// memory and fails on cue, [Run] the judge of an [integrity.Tagger].
//
// # Promises
//
// The double passes its own judge, and gives the same tags in every run.
//
// # Not promised
//
// Any secrecy: the keys of the double stand in the source. Nothing here is for
// production.
//
// # Which call first
//
// The zero [Tagger] is ready; [Run] in a test of your own Tagger.
//
// # Concurrency
//
// A [Tagger] is safe for concurrent use.
//
// # Errors
//
// Those of Fail as they were handed in; a key that Forget lost is
// fs.ErrNotExist. The judge reports through testing.T.
//
// # Format and compatibility
//
// Tags have the form of Tink's: 0x01, the id of the key, 32 bytes. Judges may
// become stricter where the seam always asked for it. Settling: the Go API may
// change until v0.1.0.
package integritytest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/crmguard/crmguard/integrity"
)

// Tagger makes HMAC-SHA256 tags in the form of Tink: 0x01, the id of the key,
// 32 bytes. Its keys are the same in every run. The zero value is ready and
// safe for concurrent use.
type Tagger struct {
	mu      sync.Mutex
	primary uint32
	oldest  uint32
	err     error
}

var _ integrity.Tagger = (*Tagger)(nil)

// Rotate makes a new key the primary one; tags under the older ones verify.
func (t *Tagger) Rotate() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.primary++
}

// Forget loses all keys but the primary one.
func (t *Tagger) Forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.oldest = t.primary
}

// Fail makes every further call fail with err; nil ends it.
func (t *Tagger) Fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
}

// Tag returns the tag of data under the primary key of the tenant.
func (t *Tagger) Tag(ctx context.Context, tenant string, data []byte) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.ready(ctx, tenant); err != nil {
		return nil, err
	}
	return tag(tenant, t.primary, data), nil
}

// Verify returns nil only for a tag of data. A key that is not there is an
// error that wraps [fs.ErrNotExist].
func (t *Tagger) Verify(ctx context.Context, tenant string, data, given []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.ready(ctx, tenant); err != nil {
		return err
	}
	if len(given) != 37 || given[0] != 1 {
		return errors.New("integritytest: not a tag")
	}
	id := binary.BigEndian.Uint32(given[1:5])
	if id < t.oldest || id > t.primary {
		return fmt.Errorf("integritytest: key %d: %w", id, fs.ErrNotExist)
	}
	if !hmac.Equal(given, tag(tenant, id, data)) {
		return errors.New("integritytest: tag does not verify")
	}
	return nil
}

func (t *Tagger) ready(ctx context.Context, tenant string) error {
	if tenant == "" {
		return errors.New("integritytest: no tenant")
	}
	if t.err != nil {
		return t.err
	}
	return ctx.Err()
}

func tag(tenant string, id uint32, data []byte) []byte {
	key := sha256.Sum256(fmt.Appendf(nil, "integritytest key %d of %s", id, tenant))
	mac := hmac.New(sha256.New, key[:])
	mac.Write(data)
	return mac.Sum(binary.BigEndian.AppendUint32([]byte{1}, id))
}
