package tilehttp

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// An answer is in memory until its client has taken it, and a client may take its
// time. What all of them hold together is bounded: entry bundles are, of which one may
// have 16 MB; a hash tile has 8 KB and a checkpoint 64 at most, not more than the
// connection itself.

const (
	// mostEntry is what an entry takes in a bundle, behind its length of two bytes.
	mostEntry = 2 + 1<<16 - 1
	// mostHeld is room for eight of the largest bundles: the four that are read at a
	// time, and as many on their way.
	mostHeld = 8 * c2sp.TileWidth * mostEntry
	// unreadMost is how long a client may take for a part of a bundle, of 32 KB as
	// net/http copies them: about 1 KB a second is the slowest.
	unreadMost = 30 * time.Second
)

// mostOf is how much room a file is given before its size is known.
func mostOf(tile tlog.Tile) int64 {
	if tile.L >= 0 || tile.W == 0 {
		return 0
	}
	return int64(tile.W) * mostEntry
}

// room is an amount of bytes that is shared.
type room struct {
	mu    sync.Mutex
	left  int64
	freed chan struct{} // closed and made anew as some is given back
}

func newRoom(n int64) *room { return &room{left: n, freed: make(chan struct{})} }

// take waits until there is room for n bytes, as long as ctx lasts. It is in no order: a
// full bundle asks for the most that one may have, and small ones may pass it by.
func (r *room) take(ctx context.Context, n int64) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.mu.Lock()
		enough, freed := r.left >= n, r.freed
		if enough {
			r.left -= n
		}
		r.mu.Unlock()
		if enough {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
		}
	}
}

func (r *room) give(n int64) {
	if n == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left += n
	close(r.freed)
	r.freed = make(chan struct{})
}

// unread is a writer that gives up a client who takes too long for a part. Where the
// server has a limit of its own that one stands, and a writer that knows no deadlines
// is left to whoever made it.
func unread(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	if server, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok && server.WriteTimeout > 0 {
		return w
	}
	return &patient{w, http.NewResponseController(w)}
}

// patient sets a deadline for each part of an answer. It hides io.ReaderFrom, so that
// there are parts.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (p *patient) Write(part []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(unreadMost)) // the bound stands without it, too
	return p.ResponseWriter.Write(part)
}

func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }
