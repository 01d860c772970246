package erasurelog

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
)

// Labels of the keys that are derived from a ledger root.
const (
	labelMAC    = "crmguard/ledger/mac/v1"
	labelDigest = "crmguard/ledger/digest/v1"
	labelNote   = "crmguard/ledger/note-key/v1"
)

// Kinds of what is digested. A tenant's id is the tenant itself, a row's is
// [RowID].
const (
	KindTenant    = "tenant"
	KindPerson    = "person"
	KindRef       = "ref"
	KindPrincipal = "principal"
)

// RowID is the id of a row for [Log.Digest] and [Log.Keys] of [KindRef].
func RowID(table, row string) []byte { return frame.Join(table, row) }

// Digest returns the keyed digest of an id under the newest root, for an Entry
// with that Root. Digests of one entry are under one root: where it changes
// between two calls, begin anew.
func (l *Log) Digest(ctx context.Context, kind, tenant string, id []byte) (root uint32, digest string, err error) {
	roots, digests, err := l.digests.all(ctx, labelDigest, digestInput(kind, tenant, id))
	if err != nil {
		return 0, "", err
	}
	return roots[0], canon.FormatBytes(digests[0]), nil
}

// NewEntry returns an entry about a person, with the digests of tenant and person
// and their root. What else it says is filled in with digests of that root.
func (l *Log) NewEntry(ctx context.Context, op Op, plan, tenant, person string) (Entry, error) {
	for range attempts {
		root, of, err := l.Digest(ctx, KindTenant, tenant, []byte(tenant))
		if err != nil {
			return Entry{}, err
		}
		same, about, err := l.Digest(ctx, KindPerson, tenant, []byte(person))
		if err != nil {
			return Entry{}, err
		}
		if same == root { // no new root came between
			return Entry{Op: op, Plan: plan, Root: root, Tenant: of, Person: about}, nil
		}
	}
	return Entry{}, &keyError{errors.New("the newest root is another one each time")}
}

// Keys returns "root/digest" of an id under every root, newest first: by these
// [State.Person] looks up.
func (l *Log) Keys(ctx context.Context, kind, tenant string, id []byte) ([]string, error) {
	roots, digests, err := l.digests.all(ctx, labelDigest, digestInput(kind, tenant, id))
	if err != nil {
		return nil, err
	}
	keys := make([]string, len(roots))
	for i, root := range roots {
		keys[i] = key(root, canon.FormatBytes(digests[i]))
	}
	return keys, nil
}

// Tag returns root.digest of data under the newest root and a label of the
// caller's: how rows in a database are protected against whoever can write to
// it. The ledger's own labels are refused ([ErrConfig]): what is under them are
// keys of notes, and digests that lines and persons are known by.
func (l *Log) Tag(ctx context.Context, label string, data []byte) ([]byte, error) {
	if err := foreignLabel(label); err != nil {
		return nil, err
	}
	roots, digests, err := l.digests.all(ctx, label, data)
	if err != nil {
		return nil, err
	}
	return []byte(rootText(roots[0]) + "." + canon.FormatBytes(digests[0])), nil
}

// VerifyTag says whether a tag is that of data, under whichever root.
func (l *Log) VerifyTag(ctx context.Context, label string, data, tag []byte) (bool, error) {
	if err := foreignLabel(label); err != nil {
		return false, err
	}
	id, text, _ := bytes.Cut(tag, []byte("."))
	root, err := parseRoot(string(id))
	if err != nil {
		return false, nil //nolint:nilerr // a tag that is none does not verify
	}
	want, ok, err := l.digests.under(ctx, root, label, data)
	if err != nil || !ok {
		return false, err
	}
	got, err := canon.ParseBytes(string(text))
	return err == nil && hmac.Equal(got, want), nil
}

func foreignLabel(label string) error {
	if slices.Contains([]string{labelMAC, labelDigest, labelNote}, label) {
		return configError("the label of a tag is one of the ledger's own")
	}
	return nil
}

// digestInput is what a ledger digest is taken over.
func digestInput[T ~string | ~[]byte](kind, tenant string, id T) []byte {
	const format = "crmguard/ledger/v1"
	input := make([]byte, 0, frame.Size(format)+frame.Size(kind)+frame.Size(tenant)+frame.Size(id))
	return frame.Append(frame.Append(frame.Append(frame.Append(input, format), kind), tenant), id)
}

func key(root uint32, digest string) string { return rootText(root) + "/" + digest }

func rootText(root uint32) string { return strconv.FormatUint(uint64(root), 10) }

func parseRoot(text string) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	if err == nil && rootText(uint32(id)) != text {
		return 0, errors.New("leading zeros")
	}
	return uint32(id), err
}

// digester checks what the keys answer.
type digester Digests

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
	for i, digest := range digests {
		if len(digest) != sha256.Size {
			return nil, nil, &keyError{errors.New("a digest that is not 32 bytes")}
		}
		if slices.Contains(roots[:i], roots[i]) {
			return nil, nil, &keyError{errors.New("two roots with one id")}
		}
	}
	return roots, digests, nil
}

// rootsNow tells apart the roots that authenticate the ledger at this moment:
// entries that were verified with others are verified again, or refused.
func (l *Log) rootsNow(ctx context.Context) ([]byte, error) {
	ids, digests, err := l.digests.all(ctx, labelMAC, frame.Join("crmguard/ledger/roots/v1"))
	if err != nil {
		return nil, err
	}
	var list [][]byte
	for i, id := range ids {
		list = append(list, []byte(rootText(id)), digests[i])
	}
	return frame.Join(list...), nil
}

// keyError says that the ledger keys did not answer, without their words.
type keyError struct{ err error }

func (e *keyError) Error() string        { return ErrKeys.Error() }
func (e *keyError) Is(target error) bool { return target == ErrKeys }
func (e *keyError) Unwrap() error        { return e.err }

// configError is about what a caller set.
func configError(text string) error { return fmt.Errorf("%w: %s", ErrConfig, text) }
