package backup

import (
	"sync"

	"github.com/klauspost/compress/zstd"
)

// packer compresses and seals; one a goroutine.
type packer struct {
	key     *masterKey
	zstd    *zstd.Encoder
	scratch []byte // compressed
	sealed  []byte // for one blob
}

func newPacker(key *masterKey) (*packer, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault),
		zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	return &packer{key: key, zstd: enc}, err
}

// blob appends the sealed blob to dst, always compressed, as restic does: what
// was sealed as it came, and begins like JSON, would open as a lock, an index or
// a snapshot wherever somebody puts it, and others choose what a file holds.
func (p *packer) blob(dst, plain []byte, key blobKey) ([]byte, packedBlob) {
	b := packedBlob{blobKey: key, packed: len(plain) > 0, plain: uint32(len(plain))}
	p.scratch = p.zstd.EncodeAll(plain, p.scratch[:0])
	start := len(dst)
	dst = p.key.seal(dst, p.scratch)
	b.length = uint32(len(dst) - start)
	return dst, b
}

// file seals the JSON of an index, snapshot or lock.
func (p *packer) file(document []byte) ([]byte, error) {
	sealed := p.key.seal(nil, p.zstd.EncodeAll(document, []byte{compressedFile}))
	if n := max(len(document), len(sealed)); n > maxSmallFile {
		return nil, tooLarge("an index or snapshot", n, maxSmallFile, "bytes")
	}
	return sealed, nil
}

// compressedFile is the first byte of a sealed file that is compressed.
const compressedFile = 2

// unpacker opens what packer made. It may be used by several goroutines.
type unpacker struct {
	key  *masterKey
	pool sync.Pool // of *zstd.Decoder
}

func newUnpacker(key *masterKey) *unpacker { return &unpacker{key: key} }

// decode decompresses into at most limit bytes.
func (u *unpacker) decode(packed []byte, limit int) ([]byte, error) {
	dec, ok := u.pool.Get().(*zstd.Decoder)
	if !ok {
		var err error
		dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(maxBlobSize), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return nil, err
		}
	}
	defer u.pool.Put(dec)
	out, err := dec.DecodeAll(packed, make([]byte, 0, limit))
	if err != nil {
		return nil, corrupt("content does not decompress to its stated size")
	}
	return out, nil
}

// blob opens a sealed blob, in place, and compares it with its id.
func (u *unpacker) blob(sealed []byte, b packedBlob) ([]byte, error) {
	plain, err := u.key.open(sealed)
	if err != nil {
		return nil, err
	}
	if b.packed {
		if plain, err = u.decode(plain, int(b.plain)); err != nil {
			return nil, err
		}
	}
	if len(plain) != b.plainLength() {
		return nil, corrupt("a blob of another size than its index says")
	}
	return plain, checkHash(plain, b.id)
}

// file opens a sealed JSON file.
func (u *unpacker) file(sealed []byte) ([]byte, error) {
	plain, err := u.key.open(sealed)
	if err != nil {
		return nil, err
	}
	if len(plain) == 0 {
		return nil, corrupt("an empty file")
	}
	switch plain[0] {
	case '{', '[':
		return plain, nil
	case compressedFile:
		return u.inflate(plain[1:])
	}
	return nil, corrupt("a file of an unknown encoding")
}

// inflate decompresses a JSON file, whose size is stated by its own frame.
func (u *unpacker) inflate(packed []byte) ([]byte, error) {
	var header zstd.Header
	if err := header.Decode(packed); err != nil {
		return nil, corrupt("a file that does not decompress")
	}
	limit := uint64(maxSmallFile)
	if header.HasFCS {
		limit = header.FrameContentSize
	}
	if limit > maxSmallFile {
		return nil, corrupt("a file that decompresses to %d bytes", limit)
	}
	if header.HasFCS {
		return u.decode(packed, int(limit))
	}
	// Without a stated size, grow: most files are small.
	for size := 1 << 20; ; size *= 4 {
		out, err := u.decode(packed, min(size, maxSmallFile))
		if err == nil || size >= maxSmallFile {
			return out, err
		}
	}
}
