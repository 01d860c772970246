// Package tilehttp serves a published audit log over HTTP, as C2SP tlog-tiles
// says: /checkpoint, /tile/<level>/…, /tile/entries/… For many processes without
// a folder that all of them see, audit.Trail itself is the source: it has the
// log from the database.
//
// # Promises
//
// Nothing but the published log is reachable: each file under its one name, and
// only where what the source has is of that file's form and size. What another
// spelling of a path names is not there. GET and HEAD only; nothing that the
// source's errors say is answered. Full tiles may be kept by a client for ever,
// partial ones for a minute, the checkpoint is asked for each time. At most
// four files are read from the source at a time, so that whoever reads the log
// leaves the application its connections; who waits longer than half a minute is
// told to come again. Entry bundles that are read or on their way take up 128 MB at
// most, whoever does not read what they asked for: beyond, bundles wait, and
// checkpoints and hashes do not: in no order, so that small ones pass large ones. A client
// that does not take a part of a bundle, 32 KB at most, within half a minute loses the
// connection, where the server around it has no WriteTimeout.
//
// # Not promised
//
// Who may read. A log holds no personal values, but who works when, at what: put
// the handler behind the application's login. For the same reason no shared
// cache may keep what is answered (Cache-Control: private). Compression, and
// limits to how long a client may take as a whole, belong to the server around it
// (http.Server's timeouts).
//
// # Which call first
//
// [Handler], under a prefix by http.StripPrefix.
//
// # Concurrency
//
// The handler is safe for concurrent use if its source is. No goroutine is
// started.
//
// # Errors
//
// None come out of here: a client sees 404, 405, 500 or 503 and no more. To see
// what a source answers, put a [Source] around it.
//
// # Format and compatibility
//
// C2SP tlog-tiles v1 with entry bundles. Settling: the Go API may change until
// v0.1.0.
package tilehttp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// Source has the files of a published log; audit.Trail is one.
type Source interface {
	// Published returns a file of the published log by its name, such as
	// "checkpoint" or "tile/0/000", or an error that is fs.ErrNotExist. It
	// returns when ctx ends.
	Published(ctx context.Context, name string) ([]byte, error)
}

const (
	// atOnce is how many files are read from the source at a time.
	atOnce = 4
	// patience is how long a request waits for its turn and the source.
	patience = 30 * time.Second
)

// Handler serves the files of a published log.
func Handler(source Source) http.Handler {
	return &handler{source: source, turns: make(chan struct{}, atOnce), room: newRoom(mostHeld)}
}

type handler struct {
	source Source
	turns  chan struct{} // taken by who reads from the source
	room   *room         // taken by bundles
}

// ServeHTTP answers with one file.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed)
		return
	}
	// What is escaped needs no escaping in a name of the log: it is another name.
	name := strings.TrimPrefix(r.URL.EscapedPath(), "/")
	tile, isTile := c2sp.ParseTilePath(name)
	if !isTile && name != checkpoint {
		refuse(w, http.StatusNotFound)
		return
	}
	data, held, err := h.read(r.Context(), name, tile)
	defer func() { h.room.give(held) }()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		refuse(w, http.StatusNotFound)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable)
	case err != nil:
		refuse(w, http.StatusInternalServerError)
	default:
		if held > 0 {
			w = unread(w, r)
		}
		answer(w, r, tile, data)
	}
}

// read waits for room and its turn, and asks the source. It says how much of the room
// what it read takes: whoever called gives it back.
func (h *handler) read(ctx context.Context, name string, tile tlog.Tile) (data []byte, held int64, err error) {
	if h.source == nil {
		return nil, 0, errNoSource
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// Before its turn: who waits for room keeps nobody from a checkpoint.
	most := mostOf(tile)
	if err := h.room.take(ctx, most); err != nil {
		return nil, 0, err
	}
	defer func() { h.room.give(most - held) }()
	select {
	case h.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	defer func() { <-h.turns }()
	if data, err = h.source.Published(ctx, name); err == nil {
		err = form(tile, data)
	}
	if err != nil {
		return nil, 0, err
	}
	return data, min(int64(len(data)), most), nil
}

var errNoSource = errors.New("tilehttp: no source")

// answer writes a file that is there; what a client has already is not sent.
func answer(w http.ResponseWriter, r *http.Request, tile tlog.Tile, data []byte) {
	kind, keep := "application/octet-stream", "private, max-age=31536000, immutable"
	switch tile.W {
	case 0:
		kind, keep = "text/plain; charset=utf-8", "private, no-cache"
	case c2sp.TileWidth:
	default:
		keep = "private, max-age=60" // it never changes, and is of no use for long
	}
	digest := sha256.Sum256(data)
	header := w.Header()
	header.Set("Content-Type", kind)
	header.Set("Cache-Control", keep)
	header.Set("ETag", `"`+hex.EncodeToString(digest[:16])+`"`)
	header.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// refuse says what the code means and no more. What is not there now may be
// there in a moment.
func refuse(w http.ResponseWriter, code int) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, http.StatusText(code), code)
}
