package backup

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The greatest that a writer closes stays below what a reader takes.
func TestWritersStayBelowTheLimitsOfReaders(t *testing.T) {
	blob := packedBlob{offset: 1<<32 - 1, length: maxBlobSize, plain: maxBlobSize, packed: true}
	header := packHeaderSize([]packedBlob{blob}) - overhead - 4
	require.LessOrEqual(t, maxPackBlobs*header+overhead, int64(maxPackHeader))
	require.LessOrEqual(t, packTarget+maxBlobSize+maxPackBlobs*header+overhead+4, int64(maxPackFile))
	one, err := encodeIndex([]indexedPack{{blobs: []packedBlob{blob}}})
	require.NoError(t, err)
	require.LessOrEqual(t, (maxIndexBlobs+maxPackBlobs)*len(one), maxSmallFile)
}

// A blob of the greatest size opens, compressed and not; one byte more is not
// written.
func TestTheGreatestBlobOpens(t *testing.T) {
	key := testKey(t)
	p, err := newPacker(key)
	require.NoError(t, err)
	plain := make([]byte, maxPlainBlob)
	sealed, b := p.blob(nil, plain, blobKey{id: hashOf(plain)})
	require.True(t, b.packed)
	require.NoError(t, b.check())
	_, err = newUnpacker(key).blob(sealed, b)
	require.NoError(t, err)
	raw := packedBlob{length: maxPlainBlob + overhead}
	require.NoError(t, raw.check(), "in case it does not compress")
	pipe := &pipeline{ctx: t.Context()}
	_, err = pipe.save(p, append(plain, 0), true)
	require.ErrorIs(t, err, ErrLimit)
}

// An index or snapshot that the reader would not take is not sealed.
func TestTheGreatestFileOpens(t *testing.T) {
	key := testKey(t)
	p, err := newPacker(key)
	require.NoError(t, err)
	document := []byte(`{"a":"` + strings.Repeat("a", maxSmallFile-8) + `"}`)
	sealed, err := p.file(document)
	require.NoError(t, err)
	_, err = newUnpacker(key).file(sealed)
	require.NoError(t, err)
	_, err = p.file(append(document, ' '))
	require.ErrorIs(t, err, ErrLimit)
}
