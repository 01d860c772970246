package backup

import (
	"encoding/binary"
	"math"
)

// A pack is blob ‖ blob ‖ … ‖ sealed header ‖ length of the sealed header in
// 4 little-endian bytes. The header lists the blobs in order; offsets follow
// from their lengths.
const (
	rawEntry    = 1 + 4 + 32
	packedEntry = rawEntry + 4
)

// Types of a header entry; the second bit says compressed.
const (
	entryTree   = 1
	entryPacked = 2
)

// blobKey names a blob: file content and folder listings are kept apart.
type blobKey struct {
	id   blobID
	tree bool
}

// packedBlob is one entry of a pack header.
type packedBlob struct {
	blobKey
	offset uint32
	length uint32 // sealed
	plain  uint32 // length before compression; 0 when stored raw
	packed bool
}

// plainLength is the length of the blob's content.
func (b packedBlob) plainLength() int {
	if b.packed {
		return int(b.plain)
	}
	return int(b.length) - overhead
}

// appendPackHeader seals the header of the blobs and appends it with its
// length.
func appendPackHeader(dst []byte, blobs []packedBlob, key *masterKey) []byte {
	header := make([]byte, 0, len(blobs)*packedEntry)
	for _, b := range blobs {
		kind := byte(0)
		if b.tree {
			kind |= entryTree
		}
		if b.packed {
			kind |= entryPacked
		}
		header = binary.LittleEndian.AppendUint32(append(header, kind), b.length)
		if b.packed {
			header = binary.LittleEndian.AppendUint32(header, b.plain)
		}
		header = append(header, b.id[:]...)
	}
	start := len(dst)
	dst = key.seal(dst, header)
	return binary.LittleEndian.AppendUint32(dst, uint32(len(dst)-start))
}

// packHeaderSize is the length of trailer and header for the blobs.
func packHeaderSize(blobs []packedBlob) int64 {
	size := int64(overhead + 4)
	for _, b := range blobs {
		size += rawEntry
		if b.packed {
			size += packedEntry - rawEntry
		}
	}
	return size
}

// sealedHeaderLength reads the last four bytes of a pack of the given size.
func sealedHeaderLength(trailer []byte, size int64) (int64, error) {
	if len(trailer) != 4 {
		return 0, corrupt("a pack without trailer")
	}
	n := int64(binary.LittleEndian.Uint32(trailer))
	if n < overhead+rawEntry || n > maxPackHeader || n+4 > size {
		return 0, corrupt("a pack header of %d bytes", n)
	}
	return n, nil
}

// decodePackHeader reads an opened header of a pack whose blobs take
// blobBytes. Blobs stand without gaps from the start of the pack to the
// header.
func decodePackHeader(header []byte, blobBytes int64) ([]packedBlob, error) {
	blobs := make([]packedBlob, 0, len(header)/rawEntry)
	var offset int64
	for len(header) > 0 {
		kind := header[0]
		b := packedBlob{offset: uint32(offset), packed: kind&entryPacked != 0}
		size := rawEntry
		if b.packed {
			size = packedEntry
		}
		if kind > entryTree|entryPacked || len(header) < size {
			return nil, corrupt("a pack header with an unknown or cut entry")
		}
		b.tree = kind&entryTree != 0
		b.length = binary.LittleEndian.Uint32(header[1:])
		if b.packed {
			b.plain = binary.LittleEndian.Uint32(header[5:])
		}
		b.id = blobID(header[size-32 : size])
		if err := b.check(); err != nil {
			return nil, err
		}
		offset += int64(b.length)
		if offset > blobBytes || offset > math.MaxUint32 {
			return nil, corrupt("a pack header that promises more than the pack holds")
		}
		blobs = append(blobs, b)
		header = header[size:]
	}
	if offset != blobBytes {
		return nil, corrupt("a pack with bytes that belong to no blob")
	}
	return blobs, nil
}

// check bounds the sizes that an entry states, before anything is allocated.
func (b packedBlob) check() error {
	if b.length < overhead || b.length > maxBlobSize || b.plain > maxBlobSize || (b.packed && b.plain == 0) {
		return corrupt("a blob of impossible size")
	}
	return nil
}

// openPack reads header and trailer of a whole pack.
func openPack(pack []byte, key *masterKey) ([]packedBlob, error) {
	if len(pack) < 4 {
		return nil, corrupt("a pack of %d bytes", len(pack))
	}
	n, err := sealedHeaderLength(pack[len(pack)-4:], int64(len(pack)))
	if err != nil {
		return nil, err
	}
	start := int64(len(pack)) - 4 - n
	header, err := key.open(append([]byte(nil), pack[start:len(pack)-4]...))
	if err != nil {
		return nil, err
	}
	return decodePackHeader(header, start)
}
