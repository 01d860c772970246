package encryption

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/internal/frame"
)

// StreamRef says what a stream belongs to. All of it is bound into the
// stream: a file put in another row's place does not open. Its fields:
//
//	Tenant string // its tenant
//	Owner  string // person, record owner r:<uuid>, or t:
//	Column string // logical column, declared as Stream
//	Row    string // key of the row it belongs to
type StreamRef = jobs.StreamRef

const (
	segmentSize   = 64 << 10
	maxStreamName = 1024
)

// streamPrimitive is Tink's AES256-CTR-HMAC-SHA256 stream under the key that
// is derived from a person key.
func streamPrimitive(personKey []byte) (*subtle.AESCTRHMAC, error) {
	key, err := format.Derive(personKey, frame.Join(format.StreamKeyDomain))
	if err != nil {
		return nil, err
	}
	primitive, err := subtle.NewAESCTRHMAC(key, "SHA256", format.KeySize, "SHA256", format.KeySize, segmentSize, 0)
	if err != nil {
		return nil, fmt.Errorf("encryption: stream: %w", err)
	}
	return primitive, nil
}

func (t *SealedTable) checkStream(ref StreamRef) ([]byte, error) {
	col, err := t.column(ref.Column)
	if err != nil {
		return nil, err
	}
	if !col.Stream {
		return nil, &KeyError{Op: "the column is not declared as Stream; a field is sealed by Writer:", Table: t.def.Name, Column: ref.Column, Err: ErrDefinition}
	}
	if err := keyring.CheckTenant(ref.Tenant); err != nil {
		return nil, err
	}
	if err := keyring.CheckOwner(ref.Owner); err != nil {
		return nil, err
	}
	if err := keyring.CheckID("row", ref.Row); err != nil {
		return nil, err
	}
	return format.StreamAD(ref.Tenant, t.def.Name, col.Name, ref.Owner, ref.Row), nil
}

// SealStream seals size bytes of src under the owner's key into dst, without
// holding them in memory. The name travels sealed. When it fails, remove what
// dst has received: it is incomplete, or, where it took so long that the owner
// was erased (ErrErased) or the key version changed (ErrLease) meanwhile, under
// a key that goes; ErrLease, too, where the key store took longer than the lease
// to say that it is not so.
func (t *SealedTable) SealStream(ctx context.Context, dst io.Writer, ref StreamRef, name string, size int64, src io.Reader) error {
	ref.Owner = keyring.Fold(ref.Owner)
	ad, err := t.checkStream(ref)
	if err != nil {
		return err
	}
	if size < 0 || len(name) > maxStreamName || !utf8.ValidString(name) {
		return &KeyError{Op: "the size of a stream is known beforehand and not negative, its name has at most 1024 bytes of UTF-8:", Table: t.def.Name, Column: ref.Column, Err: ErrDefinition}
	}
	found, keyVersion, _, err := t.vault.ring.SealKeys(ctx, ref.Tenant, []string{ref.Owner})
	if err != nil {
		return t.detail(err, ref.Column)
	}
	key := found[ref.Owner].Key(keyVersion)
	primitive, err := streamPrimitive(key.Raw[:])
	if err != nil {
		return err
	}
	if _, err := dst.Write(binary.BigEndian.AppendUint32([]byte{format.StreamMark}, keyVersion)); err != nil {
		return fmt.Errorf("encryption: write stream: %w", err)
	}
	w, err := primitive.NewEncryptingWriter(dst, ad)
	if err != nil {
		return fmt.Errorf("encryption: write stream: %w", err)
	}
	head := frame.Append(binary.BigEndian.AppendUint64(nil, uint64(size)), name)
	if _, err := w.Write(head); err != nil {
		return fmt.Errorf("encryption: write stream: %w", err)
	}
	n, err := io.Copy(w, io.LimitReader(contextReader{ctx, src}, size+1))
	if err != nil {
		return fmt.Errorf("encryption: write stream: %w", err)
	}
	if n != size {
		return fmt.Errorf("%w: the source does not have the size that was announced", ErrStream)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("encryption: write stream: %w", err)
	}
	// It may have taken longer than a lease: what is returned as good must be
	// under the key version that is active now, and its owner not erased. What the
	// store says of that must not come late either.
	v := t.vault
	g, err := v.ring.Fresh(ctx, true)
	if err != nil {
		return err
	}
	k, err := v.ring.LoadTenant(ctx, ref.Tenant)
	if err != nil {
		return err
	}
	now, err := v.ring.Fetch(ctx, ref.Tenant, []string{ref.Owner})
	if err != nil {
		return err
	}
	if err := now[ref.Owner].Sealable(); err != nil {
		return t.detail(err, ref.Column)
	}
	if k.Active != keyVersion {
		return &KeyError{Op: "seal: the key version changed meanwhile; seal again", Table: t.def.Name, Column: ref.Column, Err: ErrLease}
	}
	if g.Over(v.cfg.Now()) {
		return t.detail(keyring.SlowError("seal", keyVersion), ref.Column)
	}
	return nil
}

// contextReader stops a long copy when its context ends.
type contextReader struct {
	ctx context.Context // lives as long as one copy
	src io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.src.Read(p)
}

// Stream is an opened stream. Read answers ErrStream when a segment does not
// open, the stream was cut, or the size is not the one that was sealed; only
// after io.EOF is everything that was read known to be complete.
type Stream struct {
	Name string // file name as sealed
	Size int64  // bytes that Read gives
	left int64
	src  io.Reader
}

// OpenStream opens a stream that SealStream has sealed for the same ref. A
// stream that is being read may be read to its end, also past the lease.
func (t *SealedTable) OpenStream(ctx context.Context, src io.Reader, ref StreamRef) (*Stream, error) {
	ref.Owner = keyring.Fold(ref.Owner)
	ad, err := t.checkStream(ref)
	if err != nil {
		return nil, err
	}
	var prefix [format.PrefixSize]byte
	if _, err := io.ReadFull(src, prefix[:]); err != nil || prefix[0] != format.StreamMark {
		return nil, fmt.Errorf("%w: no stream begins here", ErrStream)
	}
	keyVersion := binary.BigEndian.Uint32(prefix[1:])
	key, _, err := t.vault.ring.OpenKey(ctx, ref.Tenant, ref.Owner, keyVersion)
	if err != nil {
		return nil, t.detail(err, ref.Column)
	}
	primitive, err := streamPrimitive(key.Raw[:])
	if err != nil {
		return nil, err
	}
	r, err := primitive.NewDecryptingReader(contextReader{ctx, src}, ad)
	if err != nil {
		return nil, fmt.Errorf("%w: its beginning does not open", ErrStream)
	}
	return openStream(r)
}

// openStream reads size and name.
func openStream(r io.Reader) (*Stream, error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("%w: its beginning does not open", ErrStream)
	}
	size := binary.BigEndian.Uint64(head[:8])
	length := binary.BigEndian.Uint32(head[8:])
	if length > maxStreamName || size > 1<<62 {
		return nil, fmt.Errorf("%w: its beginning is damaged", ErrStream)
	}
	name := make([]byte, length)
	if _, err := io.ReadFull(r, name); err != nil {
		return nil, fmt.Errorf("%w: its beginning does not open", ErrStream)
	}
	return &Stream{Name: string(name), Size: int64(size), left: int64(size), src: r}, nil
}

// Read reads the content.
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.src.Read(p)
	s.left -= int64(n)
	switch {
	case s.left < 0:
		return 0, fmt.Errorf("%w: longer than its size", ErrStream)
	case err == nil:
		return n, nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return n, err
	case !errors.Is(err, io.EOF):
		return n, fmt.Errorf("%w: a segment is damaged or missing", ErrStream)
	case s.left != 0:
		return n, fmt.Errorf("%w: shorter than its size", ErrStream)
	}
	return n, io.EOF
}

// ResealStream copies a stream, sealed under the active key version. Replace
// the old file only after it returned nil.
func (t *SealedTable) ResealStream(ctx context.Context, dst io.Writer, src io.Reader, ref StreamRef) error {
	return t.MoveStream(ctx, dst, src, ref, ref)
}

// MoveStream copies a stream, sealed for another owner or another row: what
// [jobs.Redaction].Streams and [jobs.ResealOptions].Streams do where all of it stays. The
// name travels with it. Replace the old file only after it returned nil.
func (t *SealedTable) MoveStream(ctx context.Context, dst io.Writer, src io.Reader, from, to StreamRef) error {
	opened, err := t.OpenStream(ctx, src, from)
	if err != nil {
		return err
	}
	return t.SealStream(ctx, dst, to, opened.Name, opened.Size, opened)
}
