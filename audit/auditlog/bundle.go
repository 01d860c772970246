package auditlog

import (
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/audit/internal/merkle"
)

// bundle is 256 entries and the published tile of their hashes. It is read, then
// checked, for which nothing else is needed, so that several are checked at a
// time, and then taken up, in the order of the log.
type bundle struct {
	n     int64
	width int // entries that the signed size promises

	// What was read.
	data []byte
	name string
	err  error
	tile hashTile

	// What the check gave.
	hashes  []byte    // those to go on with, as far as any is known
	root    tlog.Hash // of the hashes, if they are 256
	read    int       // entries read and hashed
	parsed  int       // entries whose content was read, too
	found   []finding // in the order of the entries
	rest    int       // bytes after the last entry
	differs bool      // an entry and its hash do
	checked chan struct{}
}

// hashTile is a published hash tile as it was read.
type hashTile struct {
	data []byte
	name string
	err  error
}

// hashes are the first of a tile, nil where they cannot be read.
func (t *hashTile) hashes(width int) []byte {
	if t.err != nil || len(t.data) < width*tlog.HashSize {
		return nil
	}
	return t.data[:width*tlog.HashSize]
}

// finding is what has to be told of one entry.
type finding struct {
	index int64
	what  string // what is wrong; "" if nothing is
	hash  bool   // it differs from its hash
	key   *KeyChange
	beat  bool
	raw   []byte // for who listens
	leaf  *Leaf

	prunes   bool // an entry of kind prune, of entries
	prunedTo int64
}

// checker checks bundles, one at a time.
type checker struct {
	hasher     *merkle.Hasher
	reader     leafReader
	listened   bool // somebody wants every entry
	hashesOnly bool
}

// check reads the entries of a bundle. Where they are missing or damaged the hash
// tile stands in, so that one hole does not hide the rest.
func (c *checker) check(b *bundle) {
	b.hashes, b.found, b.read, b.parsed, b.rest, b.differs = b.hashes[:0], b.found[:0], 0, 0, 0, false
	known := b.tile.hashes(b.width)
	data, short := b.data, b.err != nil
	text := "" // the same bytes, as leaves are parsed
	if !short && !c.hashesOnly && !c.listened {
		text = string(data)
	}
	for i := range b.width {
		index := b.n*c2sp.TileWidth + int64(i)
		var hash tlog.Hash
		if known != nil {
			hash = tlog.Hash(known[i*tlog.HashSize:])
		}
		if !short {
			raw, rest, err := c2sp.ReadEntry(data)
			if err != nil {
				b.found, short = append(b.found, finding{index: index, what: "the bundle ends too early"}), true
			} else {
				end := len(b.data) - len(rest)
				data, hash = rest, c.entry(b, index, raw, part(text, end-len(raw), end), hash, known != nil)
			}
		}
		if short && known == nil {
			return
		}
		b.hashes = append(b.hashes, hash[:]...)
	}
	if !short {
		b.rest = len(data)
	}
	if b.width == c2sp.TileWidth {
		b.root = merkle.TileRoot(b.hashes)
	}
}

// part is a part of a text that there may not be.
func part(text string, from, to int) string {
	if text == "" {
		return ""
	}
	return text[from:to]
}

// entry checks one entry and returns the hash to go on with: the tile's, where
// they differ. Which of them was changed is settled when the bundle is taken up.
func (c *checker) entry(b *bundle, index int64, raw []byte, text string, known tlog.Hash, isKnown bool) tlog.Hash {
	h := c.hasher.Leaf(raw)
	b.read++
	if isKnown && known != h {
		b.found, b.differs = append(b.found, finding{index: index, what: "the entry does not match its hash", hash: true}), true
		return known
	}
	f := finding{index: index}
	switch {
	case c.hashesOnly && !tells(raw):
		if c.listened {
			f.raw = raw
			b.found = append(b.found, f)
		}
		return h
	case c.hashesOnly || c.listened:
		// Whoever keeps a part of this leaf keeps nothing of the others.
		text = string(raw)
	}
	b.parsed++
	if err := c.reader.read(text); err != nil {
		f.what = "the entry is no leaf: " + err.Error()
		b.found = append(b.found, f)
		return h
	}
	leaf := &c.reader.leaf
	switch leaf.Kind {
	case KindKey:
		f.key = &KeyChange{index, strings.Clone(leaf.Object.ID), leaf.Reason == ReasonRevoked}
	case KindBeat:
		f.beat = true
		if leaf.Size != index {
			f.what = fmt.Sprintf("the beat was made after %d entries", leaf.Size)
		}
	case KindPrune:
		what, to, ok := leaf.Pruned()
		f.prunes, f.prunedTo = ok && what == PruneEntries && to <= index, to
	}
	if c.listened {
		f.raw = raw
		if !c.hashesOnly {
			f.leaf = c.reader.taken()
		}
	}
	if f.key != nil || f.beat || f.prunes || c.listened {
		b.found = append(b.found, f)
	}
	return h
}

// tells says whether an entry may be one of those that are about the log itself, a
// change of key, a beat or the end of what retention took. It misses none: a leaf has one spelling. Some that
// are others it takes along; they are parsed.
func tells(raw []byte) bool {
	for {
		i := bytes.IndexByte(raw, 'k')
		if i < 0 {
			return false
		}
		raw = raw[i+1:]
		if kind, ok := bytes.CutPrefix(raw, []byte(`ind":"`)); ok && (bytes.HasPrefix(kind, []byte(KindKey+`"`)) || bytes.HasPrefix(kind, []byte(KindBeat+`"`)) || bytes.HasPrefix(kind, []byte(KindPrune+`"`))) {
			return true
		}
	}
}
