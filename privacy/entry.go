package privacy

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
)

// Labels of the keys that are derived from a ledger root.
const (
	labelMAC      = "crmguard/ledger/mac/v1"
	labelDigest   = "crmguard/ledger/digest/v1"
	labelPlan     = "crmguard/privacy/plan/v1"
	labelApproval = "crmguard/privacy/approval/v1"
)

// Operations of a ledger entry.
const (
	opIntent  = "intent"  // an erasure begins
	opDone    = "done"    // it was carried out and read back
	opPartial = "partial" // something was left
	opHold    = "hold"    // suspended
	opVoid    = "void"    // withdrawn
)

// entry is one line of the ledger. Tenant, person, aliases and refs are keyed
// digests; nothing in it can be read without the root.
type entry struct {
	Aliases []string `json:"aliases,omitempty"`
	At      string   `json:"at"`
	Cert    string   `json:"cert,omitempty"`
	KeyID   string   `json:"keyid"`
	MAC     string   `json:"mac,omitempty"`
	N       int64    `json:"n"`
	Op      string   `json:"op"`
	Person  string   `json:"person"`
	Plan    string   `json:"plan"`
	Prev    string   `json:"prev"`
	Refs    []string `json:"refs,omitempty"`
	Scope   string   `json:"scope"`
	Tenant  string   `json:"tenant"`
	V       int      `json:"v"`
}

// head is the position of a ledger: number and hash of its last entry.
type head struct {
	Hash string `json:"hash"`
	N    int64  `json:"n"`
}

func emptyHead() head { return head{Hash: b64(make([]byte, sha256.Size))} }

func (h head) bytes() ([]byte, error) { return canon.Marshal(h) }

func parseHead(data []byte) (head, error) {
	var h head
	if err := canon.Unmarshal(data, &h); err != nil {
		return head{}, fmt.Errorf("privacy: ledger head: %w", err)
	}
	if raw, err := unb64(h.Hash); err != nil || len(raw) != sha256.Size || h.N < 0 {
		return head{}, errors.New("privacy: ledger head: no number and SHA-256")
	}
	return h, nil
}

func b64(data []byte) string { return canon.FormatBytes(data) }

func unb64(text string) ([]byte, error) { return canon.ParseBytes(text) }

// digester is what the ledger needs of the installation's keys: for each root,
// newest first, its id and HMAC-SHA256(HKDF(root, LP(label)), data).
type digester func(ctx context.Context, label string, data []byte) (roots []uint32, digests [][]byte, err error)

// under returns the digest of data under one root; ok is false for a root
// that this installation does not have.
func (d digester) under(ctx context.Context, root uint32, label string, data []byte) (digest []byte, ok bool, err error) {
	roots, digests, err := d.all(ctx, label, data)
	if err != nil {
		return nil, false, err
	}
	i := slices.Index(roots, root)
	if i < 0 {
		return nil, false, nil
	}
	return digests[i], true, nil
}

func (d digester) all(ctx context.Context, label string, data []byte) ([]uint32, [][]byte, error) {
	roots, digests, err := d(ctx, label, data)
	if err != nil {
		return nil, nil, &keyError{err}
	}
	if len(roots) == 0 || len(roots) != len(digests) {
		return nil, nil, &keyError{errors.New("no roots")}
	}
	for _, digest := range digests {
		if len(digest) != sha256.Size {
			return nil, nil, &keyError{errors.New("a digest that is not 32 bytes")}
		}
	}
	return roots, digests, nil
}

// keyError says that the ledger keys did not answer, without their words.
type keyError struct{ err error }

func (e *keyError) Error() string { return "privacy: ledger keys: no answer" }
func (e *keyError) Unwrap() error { return e.err }

// tag is root ‖ digest: how plan and approval rows in the database are
// protected against whoever can write to it.
func (d digester) tag(ctx context.Context, label string, data []byte) ([]byte, error) {
	roots, digests, err := d.all(ctx, label, data)
	if err != nil {
		return nil, err
	}
	return append(strconv.AppendUint(nil, uint64(roots[0]), 10), "."+b64(digests[0])...), nil
}

func (d digester) verifyTag(ctx context.Context, label string, data, tag []byte) (bool, error) {
	id, text, _ := bytes.Cut(tag, []byte("."))
	root, err := strconv.ParseUint(string(id), 10, 32)
	if err != nil {
		return false, nil //nolint:nilerr // a tag that is none does not verify
	}
	want, ok, err := d.under(ctx, uint32(root), label, data)
	if err != nil || !ok {
		return false, err
	}
	got, err := unb64(string(text))
	return err == nil && hmac.Equal(got, want), nil
}

// Kinds of a digest.
const (
	kindTenant = "tenant"
	kindPerson = "person"
	kindRef    = "ref"
)

// digestInput is what a ledger digest is taken over.
func digestInput(kind, tenant string, id []byte) []byte {
	return frame.Join([]byte("crmguard/ledger/v1"), []byte(kind), []byte(tenant), id)
}

func personInput(tenant, person string) []byte {
	return digestInput(kindPerson, tenant, []byte(person))
}

func refInput(tenant, table, row string) []byte {
	return digestInput(kindRef, tenant, frame.Join(table, row))
}

// parseEntry reads one line without its newline and returns the entry and the
// bytes that its mac covers. It checks form only.
func parseEntry(line []byte) (entry, []byte, error) {
	var e entry
	if err := canon.Unmarshal(line, &e); err != nil {
		return entry{}, nil, err
	}
	switch {
	case e.V != 1:
		return entry{}, nil, errors.New("a version that this library does not know")
	case !slices.Contains([]string{opIntent, opDone, opPartial, opHold, opVoid}, e.Op):
		return entry{}, nil, errors.New("an operation that this library does not know")
	case e.N < 1 || e.Plan == "" || e.Person == "" || e.Tenant == "" || e.MAC == "":
		return entry{}, nil, errors.New("a member is missing")
	}
	if _, err := e.time(); err != nil {
		return entry{}, nil, errors.New("a time that is not RFC 3339 with six digits")
	}
	if _, err := e.root(); err != nil {
		return entry{}, nil, errors.New("a key id that is no number")
	}
	covered, err := withoutMAC(line)
	return e, covered, err
}

// withoutMAC drops the mac member of a canonical line and keeps every other
// member, known or not.
func withoutMAC(line []byte) ([]byte, error) {
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(line, &members); err != nil {
		return nil, errors.New("no JSON object")
	}
	delete(members, "mac")
	return canon.Marshal(members)
}

func (e entry) time() (time.Time, error) { return canon.ParseTime(e.At) }

func (e entry) root() (uint32, error) {
	id, err := strconv.ParseUint(e.KeyID, 10, 32)
	if err == nil && strconv.FormatUint(id, 10) != e.KeyID {
		return 0, errors.New("leading zeros")
	}
	return uint32(id), err
}

// sign completes the entry under its root and returns the line.
func (e entry) sign(ctx context.Context, digests digester) ([]byte, error) {
	e.MAC = ""
	covered, err := canon.Marshal(e)
	if err != nil {
		return nil, err
	}
	root, err := e.root()
	if err != nil {
		return nil, err
	}
	mac, ok, err := digests.under(ctx, root, labelMAC, covered)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, &keyError{errors.New("the root is gone")}
	}
	e.MAC = b64(mac)
	return canon.Marshal(e)
}

func lineHash(line []byte) string {
	sum := sha256.Sum256(line)
	return b64(sum[:])
}

func entryKeyID(root uint32) string { return strconv.FormatUint(uint64(root), 10) }
