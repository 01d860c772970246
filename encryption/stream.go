package encryption

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/streams"
	"github.com/crmguard/crmguard/internal/frame"
)

const segmentSize = 64 << 10

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

func (t *SealedTable) checkStream(ref streams.Ref) ([]byte, error) {
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
func (t *SealedTable) SealStream(ctx context.Context, dst io.Writer, ref streams.Ref, name string, size int64, src io.Reader) error {
	ref.Owner = keyring.Fold(ref.Owner)
	ad, err := t.checkStream(ref)
	if err != nil {
		return err
	}
	if size < 0 || len(name) > format.MaxStreamName || !utf8.ValidString(name) {
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

// OpenStream opens a stream that SealStream has sealed for the same ref. A
// stream that is being read may be read to its end, also past the lease.
func (t *SealedTable) OpenStream(ctx context.Context, src io.Reader, ref streams.Ref) (*streams.Reader, error) {
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
	return streams.NewReader(r)
}

// ResealStream copies a stream, sealed under the active key version. Replace
// the old file only after it returned nil.
func (t *SealedTable) ResealStream(ctx context.Context, dst io.Writer, src io.Reader, ref streams.Ref) error {
	return t.MoveStream(ctx, dst, src, ref, ref)
}

// MoveStream copies a stream, sealed for another owner or another row: what
// [jobs.Redaction].Streams and [jobs.ResealOptions].Streams do where all of it stays. The
// name travels with it. Replace the old file only after it returned nil.
func (t *SealedTable) MoveStream(ctx context.Context, dst io.Writer, src io.Reader, from, to streams.Ref) error {
	opened, err := t.OpenStream(ctx, src, from)
	if err != nil {
		return err
	}
	return t.SealStream(ctx, dst, to, opened.Name, opened.Size, opened)
}
