package backup

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"

	chunkers "github.com/PlakarKorp/go-cdc-chunkers"
	_ "github.com/PlakarKorp/go-cdc-chunkers/chunkers/fastcdc" // registers the algorithm
)

// The chunker is part of the format: all writers of a repository must cut
// alike or they store everything twice.
const (
	chunkerName   = "fastcdc-v1.0.0"
	chunkerMin    = 512 << 10
	chunkerNormal = 1 << 20
	chunkerMax    = 8 << 20
	chunkerBuffer = chunkerMax + 4<<20
	maxWorkers    = 8
)

// pipeline turns streams into packs: one goroutine reads and cuts, several
// hash, deduplicate, compress and seal, and packs go to all stores.
type pipeline struct {
	ctx    context.Context //nolint:containedctx // lives for one run, ends with it
	cancel context.CancelCauseFunc
	fan    *fanout
	master *masterKey
	known  []*blobIndex // of each store: a blob is known when all are sure to have it
	chunk  *chunkers.Chunker
	source *failReader

	tasks   chan task
	free    chan []byte
	workers sync.WaitGroup
	own     *packer // of the goroutine that calls

	mu    sync.Mutex // guards what follows
	added map[blobKey]struct{}
	data  packBuilder
	trees packBuilder
	packs []indexedPack

	writing sync.Mutex // one pack is written at a time: it bounds memory
}

// task is one chunk on its way to a worker.
type task struct {
	plain []byte
	id    *blobID
	done  *sync.WaitGroup
}

// packBuilder is a pack that is being filled.
type packBuilder struct {
	buf   []byte
	blobs []packedBlob
}

// failReader keeps an error that the chunker would take for the end.
type failReader struct {
	r   io.Reader
	err error
}

func (f *failReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

func newPipeline(ctx context.Context, fan *fanout, master *masterKey, known []*blobIndex) (*pipeline, error) {
	key, err := master.chunkerKey()
	if err != nil {
		return nil, err
	}
	source := &failReader{}
	options := &chunkers.ChunkerOpts{MinSize: chunkerMin, NormalSize: chunkerNormal, MaxSize: chunkerMax, Key: key}
	chunk, err := chunkers.NewChunkerBuffer(chunkerName, source, options, make([]byte, chunkerBuffer))
	if err != nil {
		return nil, err
	}
	own, err := newPacker(master)
	if err != nil {
		return nil, err
	}
	n := min(runtime.GOMAXPROCS(0), maxWorkers)
	p := &pipeline{
		fan: fan, master: master, known: known, chunk: chunk, source: source, own: own,
		tasks: make(chan task), free: make(chan []byte, n+2), added: map[blobKey]struct{}{},
	}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	for range n {
		worker, err := newPacker(master)
		if err != nil {
			p.close()
			return nil, err
		}
		p.workers.Go(func() { p.work(worker) })
	}
	return p, nil
}

// close ends the workers. It may be called once.
func (p *pipeline) close() {
	close(p.tasks)
	p.workers.Wait()
	p.cancel(nil)
}

// stream cuts r and returns a slot for each chunk's id, filled once done has
// counted down.
func (p *pipeline) stream(r io.Reader, done *sync.WaitGroup) ([]*blobID, error) {
	p.source.r, p.source.err = r, nil
	p.chunk.Reset(p.source)
	ids := []*blobID{}
	for {
		chunk, err := p.chunk.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if p.source.err != nil {
			return nil, p.source.err
		}
		if len(chunk) > 0 {
			id := new(blobID)
			ids = append(ids, id)
			if err := p.send(task{plain: append(p.buffer(), chunk...), id: id, done: done}); err != nil {
				return nil, err
			}
		}
		if err != nil {
			return ids, nil
		}
	}
}

func (p *pipeline) buffer() []byte {
	select {
	case b := <-p.free:
		return b[:0]
	default:
		return nil
	}
}

func (p *pipeline) send(t task) error {
	t.done.Add(1)
	select {
	case p.tasks <- t:
		return nil
	case <-p.ctx.Done():
		t.done.Done()
		return context.Cause(p.ctx)
	}
}

func (p *pipeline) work(packer *packer) {
	for t := range p.tasks {
		id, err := p.save(packer, t.plain, false)
		if err != nil {
			p.cancel(err)
		}
		*t.id = id
		select {
		case p.free <- t.plain:
		default:
		}
		t.done.Done()
	}
}

// save stores a blob unless the repository has it.
func (p *pipeline) save(packer *packer, plain []byte, tree bool) (blobID, error) {
	if len(plain) > maxPlainBlob {
		return blobID{}, tooLarge("a folder listing", len(plain), maxPlainBlob, "bytes")
	}
	key := blobKey{id: sha256.Sum256(plain), tree: tree}
	if err := context.Cause(p.ctx); err != nil {
		return key.id, err
	}
	if !p.claim(key) {
		return key.id, nil
	}
	sealed, b := packer.blob(packer.sealed[:0], plain, key)
	packer.sealed = sealed
	full := p.place(sealed, b)
	if full == nil {
		return key.id, nil
	}
	return key.id, p.writePack(full)
}

// claim says whether the caller is the first to bring this blob.
func (p *pipeline) claim(key blobKey) bool {
	unknown := func(x *blobIndex) bool { return !x.has(key) }
	if len(p.known) > 0 && !slices.ContainsFunc(p.known, unknown) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.added[key]; ok {
		return false
	}
	p.added[key] = struct{}{}
	return true
}

// place appends to the open pack of its kind and returns the pack when full.
func (p *pipeline) place(sealed []byte, b packedBlob) *packBuilder {
	p.mu.Lock()
	defer p.mu.Unlock()
	builder := &p.data
	if b.tree {
		builder = &p.trees
	}
	b.offset = uint32(len(builder.buf))
	builder.buf = append(builder.buf, sealed...)
	builder.blobs = append(builder.blobs, b)
	if len(builder.buf) < packTarget && len(builder.blobs) < maxPackBlobs {
		return nil
	}
	full := *builder
	*builder = packBuilder{}
	return &full
}

// writePack closes a pack, proves its header and writes it to all stores.
func (p *pipeline) writePack(b *packBuilder) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	pack := appendPackHeader(b.buf, b.blobs, p.master)
	got, err := openPack(pack, p.master)
	if err != nil {
		return err
	}
	if len(got) != len(b.blobs) {
		return corrupt("a pack header that lost entries")
	}
	for i := range got {
		if got[i] != b.blobs[i] {
			return corrupt("a pack header that differs from its pack")
		}
	}
	written := indexedPack{id: hashOf(pack), blobs: b.blobs}
	if err := p.fan.putPack(p.ctx, written, pack); err != nil {
		return err
	}
	p.mu.Lock()
	p.packs = append(p.packs, written)
	p.mu.Unlock()
	return nil
}

// saveTree stores a folder listing.
func (p *pipeline) saveTree(nodes map[string]*node) (blobID, error) {
	document, err := encodeTree(nodes)
	if err != nil {
		return blobID{}, err
	}
	return p.save(p.own, document, true)
}

// finish writes the packs that are still open and the index of all. The
// workers have nothing left to do.
func (p *pipeline) finish() error {
	if err := context.Cause(p.ctx); err != nil {
		return err
	}
	for _, b := range []*packBuilder{&p.data, &p.trees} {
		if len(b.blobs) > 0 {
			if err := p.writePack(b); err != nil {
				return err
			}
		}
	}
	for start := 0; start < len(p.packs); {
		end, blobs := start, 0
		for end < len(p.packs) && blobs < maxIndexBlobs {
			blobs += len(p.packs[end].blobs)
			end++
		}
		document, err := encodeIndex(p.packs[start:end])
		if err != nil {
			return err
		}
		sealed, err := p.own.file(document)
		if err != nil {
			return err
		}
		if _, err := p.fan.commit(p.ctx, indexFolder, sealed, p.packs[start:end]); err != nil {
			return err
		}
		start = end
	}
	return nil
}
