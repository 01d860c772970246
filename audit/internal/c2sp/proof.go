package c2sp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const proofHeader = "c2sp.org/tlog-proof@v1\n"

// A proof in a tree of MaxSize has 62 hashes. Behind them stands a checkpoint; the
// rest is for a line of extra data.
const (
	maxHashes = 62
	maxProof  = 4 * MaxNote
)

// ErrRecord says that a proof is well formed and signed, and does not prove
// this record.
var ErrRecord = errors.New("the proof is of another record")

var errProof = errors.New("malformed tlog proof")

// FormatProof writes that a record is entry number index of a signed tree.
func FormatProof(index int64, hashes tlog.RecordProof, signed []byte) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%sindex %d\n", proofHeader, index)
	for _, h := range hashes {
		fmt.Fprintf(&b, "%s\n", h)
	}
	fmt.Fprintf(&b, "\n%s", signed)
	return []byte(b.String())
}

// VerifyProof checks that the record is in the tree that the proof carries,
// and that one of these keys signed the tree, which it returns. Its errors are those of
// [OpenCheckpoint], ErrRecord, and others for bytes of another format.
func VerifyProof(keys []note.Verifier, record tlog.Hash, proof []byte) (tlog.Tree, error) {
	if len(proof) > maxProof {
		return tlog.Tree{}, errProof
	}
	index, hashes, signed, err := parseProof(string(proof))
	if err != nil {
		return tlog.Tree{}, err
	}
	tree, err := OpenCheckpoint([]byte(signed), keys...)
	if err != nil {
		return tlog.Tree{}, err
	}
	if tlog.CheckRecord(hashes, tree.N, tree.Hash, index, record) != nil {
		return tlog.Tree{}, ErrRecord
	}
	return tree, nil
}

// parseProof takes a proof apart. A line of extra data, which nothing signs, is
// part of the format; it is read and says nothing here.
func parseProof(proof string) (index int64, hashes tlog.RecordProof, signed string, err error) {
	head, signed, found := strings.Cut(proof, "\n\n")
	rest, isProof := strings.CutPrefix(head, proofHeader)
	if extra, more, has := strings.Cut(rest, "\n"); has && strings.HasPrefix(extra, "extra ") {
		data := strings.TrimPrefix(extra, "extra ")
		_, err := base64.StdEncoding.DecodeString(data)
		isProof, rest = isProof && err == nil, more
	}
	rest, isIndex := strings.CutPrefix(rest, "index ")
	lines := strings.SplitN(rest, "\n", maxHashes+3)
	index, isNumber := parseInt(lines[0])
	ok := found && isProof && isIndex && isNumber
	if len(lines)-1 > maxHashes {
		return 0, nil, "", errProof
	}
	for _, line := range lines[1:] {
		h, isHash := parseHash(line)
		ok, hashes = ok && isHash, append(hashes, h)
	}
	if !ok {
		return 0, nil, "", errProof
	}
	return index, hashes, signed, nil
}
