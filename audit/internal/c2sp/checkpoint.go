package c2sp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// FormatCheckpoint is the text of a checkpoint, for signing as a note.
func FormatCheckpoint(origin string, tree tlog.Tree) string {
	return fmt.Sprintf("%s\n%d\n%s\n", origin, tree.N, tree.Hash)
}

var errCheckpoint = errors.New("malformed checkpoint")

// MaxSize is the largest tree that package tlog can compute with: beyond it,
// its search for a power of two never ends.
const MaxSize = 1 << 62

// ParseCheckpoint reads the text of a checkpoint: origin, size, root, and any
// number of extension lines, which say nothing here. A size that no log can
// reach is malformed.
func ParseCheckpoint(text string) (origin string, tree tlog.Tree, err error) {
	body, ended := strings.CutSuffix(text, "\n")
	lines := strings.Split(body, "\n")
	if !ended || len(lines) < 3 {
		return "", tlog.Tree{}, errCheckpoint
	}
	if slices.Contains(lines, "") {
		return "", tlog.Tree{}, errCheckpoint
	}
	n, ok := parseInt(lines[1])
	root, isHash := parseHash(lines[2])
	if !ok || !isHash || n > MaxSize {
		return "", tlog.Tree{}, errCheckpoint
	}
	return lines[0], tlog.Tree{N: n, Hash: root}, nil
}

// OpenCheckpoint reads a signed checkpoint of the log whose key this is: the
// name of the key is the origin. A signature of another key and a checkpoint
// of another origin are a [note.UnverifiedNoteError], a signature that is
// wrong is a [note.InvalidSignatureError].
func OpenCheckpoint(signed []byte, key note.Verifier) (tlog.Tree, error) {
	n, err := note.Open(signed, note.VerifierList(key))
	if err != nil {
		return tlog.Tree{}, err
	}
	origin, tree, err := ParseCheckpoint(n.Text)
	if err != nil {
		return tlog.Tree{}, err
	}
	if origin != key.Name() {
		return tlog.Tree{}, fmt.Errorf("a checkpoint of another log: %w", &note.UnverifiedNoteError{Note: n})
	}
	return tree, nil
}

// parseInt reads a number that is written in the one usual way.
func parseInt(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 0 && s == strconv.FormatInt(n, 10)
}

// parseHash reads a hash that is written in the one usual way: the decoder
// alone would pass over line breaks and stray bits.
func parseHash(s string) (h tlog.Hash, ok bool) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != tlog.HashSize {
		return h, false
	}
	h = tlog.Hash(b)
	return h, h.String() == s
}
