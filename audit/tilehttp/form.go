package tilehttp

import (
	"errors"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

const (
	// checkpoint is the name of the signed tree head; it is no tile.
	checkpoint = "checkpoint"
	// maxCheckpoint is more than a checkpoint with a hundred cosignatures has.
	maxCheckpoint = 1 << 16
)

// errForm says that the source has something else under that name than a file
// of a log.
var errForm = errors.New("this is no such file of a log")

// form looks at what the source has under a name: a store may hold anything
// under it. Who reads the log checks that it is true.
func form(tile tlog.Tile, data []byte) error {
	ok := false
	switch {
	case tile.W == 0:
		ok = isCheckpoint(data)
	case tile.L < 0:
		ok = isBundle(data, tile.W)
	default:
		ok = len(data) == tile.W*tlog.HashSize
	}
	if !ok {
		return errForm
	}
	return nil
}

// isBundle says whether these are so many entries and nothing else.
func isBundle(data []byte, entries int) bool {
	for range entries {
		var err error
		if _, data, err = c2sp.ReadEntry(data); err != nil {
			return false
		}
	}
	return len(data) == 0
}

// isCheckpoint says whether this is a signed note with the text of a
// checkpoint, whoever signed it.
func isCheckpoint(data []byte) bool {
	if len(data) > maxCheckpoint {
		return false
	}
	_, err := note.Open(data, note.VerifierList())
	var unverified *note.UnverifiedNoteError
	if !errors.As(err, &unverified) {
		return false
	}
	_, _, err = c2sp.ParseCheckpoint(unverified.Note.Text)
	return err == nil
}
