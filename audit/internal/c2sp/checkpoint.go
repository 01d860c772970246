package c2sp

import (
	"bytes"
	"crypto/sha256"
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

// ErrShort says that a signed checkpoint ends before it can: a write was torn,
// or it was cut.
var ErrShort = errors.New("the checkpoint is empty or ends too early")

// ErrCrowded says that a checkpoint has more signatures than are looked at, so
// that nobody knows whether ours is among them.
var ErrCrowded = errors.New("the checkpoint has more signatures than are looked at")

// MaxNote bounds a checkpoint, for who reads one without its signature.
const MaxNote = 1_000_000

// maxSignatures is how many package note looks at.
const maxSignatures = 100

// ErrText says that a key signed a text that is no checkpoint of any log. It is
// the signer's fault, and nobody else's.
var ErrText = errors.New("signed, and no log can say this")

// MaxSize is the largest tree that package tlog can compute with: beyond it,
// its search for a power of two never ends.
const MaxSize = 1 << 62

// ParseCheckpoint reads the text of a checkpoint: origin, size, root, and any
// number of extension lines, which say nothing here. A size that no log can
// reach is malformed, and so is a root of no entries that is not the one they
// have: nothing that is read later would contradict it.
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
	if !ok || !isHash || n > MaxSize || n == 0 && root != sha256.Sum256(nil) {
		return "", tlog.Tree{}, errCheckpoint
	}
	return lines[0], tlog.Tree{N: n, Hash: root}, nil
}

// OpenCheckpoint reads a signed checkpoint of the log whose keys these are: their
// one name is the origin, and one of them is enough. A signature of another key and a checkpoint
// of another origin are a [note.UnverifiedNoteError], a signature that is
// wrong is a [note.InvalidSignatureError], what ends too early is [ErrShort],
// and what the key did sign and is no checkpoint [ErrText].
func OpenCheckpoint(signed []byte, keys ...note.Verifier) (tlog.Tree, error) {
	if short(signed) {
		return tlog.Tree{}, ErrShort
	}
	if crowded(signed) {
		return tlog.Tree{}, ErrCrowded
	}
	n, err := note.Open(signed, note.VerifierList(keys...))
	if err != nil {
		return tlog.Tree{}, err
	}
	origin, tree, err := ParseCheckpoint(n.Text)
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("%w: %w", ErrText, err)
	}
	if origin != keys[0].Name() {
		return tlog.Tree{}, fmt.Errorf("a checkpoint of another log: %w", &note.UnverifiedNoteError{Note: n})
	}
	return tree, nil
}

// SignedBy says whether this key signed a checkpoint, whoever else did.
func SignedBy(signed []byte, key note.Verifier) bool {
	_, err := note.Open(signed, note.VerifierList(key))
	return err == nil
}

// short says that a note lacks its end, as a write that was interrupted leaves
// it: without the line break behind the signatures, without signatures, or with
// NUL where a file system had the length and not yet the bytes.
func short(signed []byte) bool {
	return len(signed) == 0 || signed[len(signed)-1] != '\n' || !bytes.Contains(signed, []byte("\n\n"))
}

// crowded says that package note would refuse a checkpoint for the number of its
// signatures.
func crowded(signed []byte) bool {
	signatures := signed[bytes.LastIndex(signed, []byte("\n\n"))+2:]
	return bytes.Count(signatures, []byte("\n")) > maxSignatures
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
