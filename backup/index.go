package backup

import (
	"encoding/json"
	"math"
)

// indexJSON is index/…: which blob is where.
type indexJSON struct {
	Supersedes []blobID   `json:"supersedes,omitempty"`
	Packs      []packJSON `json:"packs"`
}

type packJSON struct {
	ID    blobID     `json:"id"`
	Blobs []blobJSON `json:"blobs"`
}

type blobJSON struct {
	ID     blobID `json:"id"`
	Type   string `json:"type"`
	Offset uint32 `json:"offset"`
	Length uint32 `json:"length"`
	Plain  uint32 `json:"uncompressed_length,omitempty"`
}

// indexedPack is one pack and its blobs, as an index tells.
type indexedPack struct {
	id    blobID
	blobs []packedBlob
}

// size is how long the pack file must be.
func (p indexedPack) size() int64 {
	size := packHeaderSize(p.blobs)
	for _, b := range p.blobs {
		size += int64(b.length)
	}
	return size
}

func encodeIndex(packs []indexedPack) ([]byte, error) {
	out := indexJSON{Packs: make([]packJSON, 0, len(packs))}
	for _, p := range packs {
		pj := packJSON{ID: p.id, Blobs: make([]blobJSON, 0, len(p.blobs))}
		for _, b := range p.blobs {
			bj := blobJSON{ID: b.id, Type: "data", Offset: b.offset, Length: b.length}
			if b.tree {
				bj.Type = "tree"
			}
			if b.packed {
				bj.Plain = b.plain
			}
			pj.Blobs = append(pj.Blobs, bj)
		}
		out.Packs = append(out.Packs, pj)
	}
	return json.Marshal(out)
}

func decodeIndex(document []byte) ([]indexedPack, error) {
	var in indexJSON
	if err := json.Unmarshal(document, &in); err != nil || in.Packs == nil {
		return nil, corrupt("an index of another shape")
	}
	packs := make([]indexedPack, 0, len(in.Packs))
	for _, pj := range in.Packs {
		p := indexedPack{id: pj.ID, blobs: make([]packedBlob, 0, len(pj.Blobs))}
		for _, bj := range pj.Blobs {
			b := packedBlob{
				blobKey: blobKey{id: bj.ID, tree: bj.Type == "tree"},
				offset:  bj.Offset, length: bj.Length, plain: bj.Plain, packed: bj.Plain != 0,
			}
			if bj.Type != "tree" && bj.Type != "data" {
				return nil, corrupt("an index with an unknown type of blob")
			}
			if uint64(b.offset)+uint64(b.length) > math.MaxUint32 {
				return nil, corrupt("an index with a blob outside its pack")
			}
			if err := b.check(); err != nil {
				return nil, err
			}
			p.blobs = append(p.blobs, b)
		}
		packs = append(packs, p)
	}
	return packs, nil
}

// blobIndex finds blobs. It is not changed once built.
type blobIndex struct {
	files   map[blobID]int64 // the index files it was read from
	damaged []error          // those of them that could not be read
	packs   []blobID
	sizes   map[blobID]int64 // how long each pack file must be
	blobs   map[blobKey]place
	more    map[blobKey][]place // of blobs that stand in several packs
}

// place is where a blob is; packs are counted to keep it small.
type place struct {
	pack                  uint32
	offset, length, plain uint32
}

func newBlobIndex(files map[blobID]int64) *blobIndex {
	return &blobIndex{files: files, sizes: map[blobID]int64{}, blobs: map[blobKey]place{}, more: map[blobKey][]place{}}
}

// add takes in one pack.
func (x *blobIndex) add(p indexedPack) {
	n := uint32(len(x.packs))
	x.packs = append(x.packs, p.id)
	x.sizes[p.id] = max(x.sizes[p.id], p.size())
	for _, b := range p.blobs {
		at := place{pack: n, offset: b.offset, length: b.length, plain: b.plain}
		if _, ok := x.blobs[b.blobKey]; ok {
			x.more[b.blobKey] = append(x.more[b.blobKey], at)
		} else {
			x.blobs[b.blobKey] = at
		}
	}
}

func (x *blobIndex) has(key blobKey) bool {
	_, ok := x.blobs[key]
	return ok
}

func (x *blobIndex) names(pack blobID) bool {
	_, ok := x.sizes[pack]
	return ok
}

// missing returns the packs that are not among files in full length.
func (x *blobIndex) missing(files map[blobID]int64) []blobID {
	var packs []blobID
	for pack, want := range x.sizes {
		if size, ok := files[pack]; !ok || size != want {
			packs = append(packs, pack)
		}
	}
	return packs
}

// located is a blob in a pack.
type located struct {
	pack blobID
	packedBlob
}

// find returns every place of a blob; none when no index names it.
func (x *blobIndex) find(key blobKey) []located {
	at, ok := x.blobs[key]
	if !ok {
		return nil
	}
	var found []located
	for _, at := range append([]place{at}, x.more[key]...) {
		b := packedBlob{blobKey: key, offset: at.offset, length: at.length, plain: at.plain, packed: at.plain != 0}
		found = append(found, located{pack: x.packs[at.pack], packedBlob: b})
	}
	return found
}

// without returns the blobs that stand in at least one pack that is not lost.
func (x *blobIndex) without(lost map[blobID]bool) *blobIndex {
	if len(lost) == 0 {
		return x
	}
	out := newBlobIndex(x.files)
	out.damaged, out.packs, out.sizes = x.damaged, x.packs, x.sizes
	for key, at := range x.blobs {
		for _, at := range append([]place{at}, x.more[key]...) {
			if !lost[x.packs[at.pack]] {
				out.blobs[key] = at
				break
			}
		}
	}
	return out
}
