package merkle

import (
	"crypto/sha256"
	"hash"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// Hasher computes leaf hashes, those of [tlog.RecordHash], one after another
// without allocating. Each goroutine has its own.
type Hasher struct {
	state hash.Hash
	sum   [tlog.HashSize]byte
}

// NewHasher makes a hasher.
func NewHasher() *Hasher { return &Hasher{state: sha256.New()} }

// leafPrefix stands before a leaf that is hashed, so that no leaf is a node.
var leafPrefix = []byte{0}

// Leaf is the hash of a leaf.
func (h *Hasher) Leaf(data []byte) tlog.Hash {
	h.state.Reset()
	_, _ = h.state.Write(leafPrefix) // a hash takes everything
	_, _ = h.state.Write(data)
	h.state.Sum(h.sum[:0])
	return h.sum
}

// TileRoot is the root of the subtree whose leaves, or subtrees one level below,
// are the 256 hashes of a full tile.
func TileRoot(tile []byte) tlog.Hash {
	var half [c2sp.TileWidth / 2]tlog.Hash
	for i := range half {
		two := tile[2*i*tlog.HashSize:]
		half[i] = tlog.NodeHash(tlog.Hash(two), tlog.Hash(two[tlog.HashSize:]))
	}
	for n := len(half) / 2; n > 0; n /= 2 {
		for i := range n {
			half[i] = tlog.NodeHash(half[2*i], half[2*i+1])
		}
	}
	return half[0]
}
