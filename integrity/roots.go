package integrity

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/ids"
)

// Buckets is the number of buckets that the rows of a table are spread over.
const Buckets = 256

// Roots say what a table held when it was swept: for each bucket the number
// of rows and a keyed tag over their keys, versions and seals. They hold no
// data and no hash of data. Keep them, and their head somewhere else.
type Roots struct {
	tenant, table string
	buckets       [Buckets]bucketRoot
	text          []byte // as written, or as read
}

type bucketRoot struct {
	rows int64
	tag  []byte
}

// BucketDiff is a bucket that does not hold what it held.
type BucketDiff struct {
	// Bucket is its number, see [BucketOf].
	Bucket int
	// Rows and Other count its rows in the roots and in the other ones.
	Rows, Other int64
}

// BucketOf is the bucket of a row: a list of legitimately changed keys says
// which buckets may differ.
func BucketOf(tenant, table, key string) int {
	sum := sha256.Sum256(frame.Join("crmguard/roots/bucket/v1", tenant, table, key))
	return int(sum[0])
}

// Tenant is whose rows these are.
func (r *Roots) Tenant() string {
	if r == nil {
		return ""
	}
	return r.tenant
}

// Table is where they stand.
func (r *Roots) Table() string {
	if r == nil {
		return ""
	}
	return r.table
}

// Rows counts them.
func (r *Roots) Rows() int64 {
	if r == nil {
		return 0
	}
	var n int64
	for i := range r.buckets {
		n += r.buckets[i].rows
	}
	return n
}

// Diff lists the buckets that differ from those of other. Both must have been
// made by a sweep or read, and be of the same tenant and table. Tags under different keys cannot be compared; that is
// an error, and [SweepOptions.Against] is the way.
func (r *Roots) Diff(other *Roots) ([]BucketDiff, error) {
	if err := errors.Join(r.check(), other.check()); err != nil {
		return nil, err
	}
	if r.tenant != other.tenant || r.table != other.table {
		return nil, fmt.Errorf("%w: not of the same tenant and table", ErrRoots)
	}
	var out []BucketDiff
	for i := range r.buckets {
		a, b := r.buckets[i], other.buckets[i]
		if !bytes.Equal(keyID(a.tag), keyID(b.tag)) {
			return nil, fmt.Errorf("%w: made under another key; sweep with Against", ErrRoots)
		}
		if a.rows != b.rows || !bytes.Equal(a.tag, b.tag) {
			out = append(out, BucketDiff{Bucket: i, Rows: a.rows, Other: b.rows})
		}
	}
	return out, nil
}

// keyID is the prefix of a Tink tag: 0x01 and the id of the key.
func keyID(tag []byte) []byte {
	if len(tag) == 37 && tag[0] == 1 {
		return tag[:5]
	}
	return nil
}

// check refuses roots that hold nothing, such as those of a sweep that ended
// early: a head over nothing must not be anchored.
func (r *Roots) check() error {
	if r == nil || len(r.text) == 0 {
		return fmt.Errorf("%w: no roots (a sweep that ended early has none)", ErrRoots)
	}
	return nil
}

// Head is a digest of the roots, 32 bytes, to be anchored where an attacker on
// the database cannot write, such as the beat of the audit trail. It is a hash
// over keyed tags, so it says nothing about the rows. Roots that neither a
// sweep made nor [ParseRoots] read have none: nil.
func (r *Roots) Head() []byte {
	head, _ := JointHead(r) // one is never twice; without roots the head is nil
	return head
}

// JointHead is one head for the roots of several tables, in any order. No
// roots, nil among them, or two of one tenant and table are an error.
func JointHead(roots ...*Roots) ([]byte, error) {
	if len(roots) == 0 {
		return nil, fmt.Errorf("%w: none given", ErrRoots)
	}
	for _, r := range roots {
		if err := r.check(); err != nil {
			return nil, err
		}
	}
	sorted := slices.SortedFunc(slices.Values(roots), compareRoots)
	in := frame.Append(nil, "crmguard/roots/head/v1")
	in = binary.BigEndian.AppendUint32(in, uint32(len(sorted)))
	for i, r := range sorted {
		if i > 0 && compareRoots(sorted[i-1], r) == 0 {
			return nil, fmt.Errorf("%w: two of one tenant and table", ErrRoots)
		}
		in = frame.Append(in, r.text)
	}
	sum := sha256.Sum256(in)
	return sum[:], nil
}

func compareRoots(a, b *Roots) int {
	return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.table, b.table))
}

type rootsJSON struct {
	Buckets []bucketJSON `json:"buckets"`
	Table   string       `json:"table"`
	Tenant  string       `json:"tenant"`
	V       int          `json:"v"`
}

type bucketJSON struct {
	Rows int64  `json:"rows"`
	Tag  string `json:"tag"`
}

// MarshalText returns the roots as one line of RFC 8785 JSON. Roots that were
// read come out as they came in.
func (r *Roots) MarshalText() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	return slices.Clone(r.text), nil
}

func newRoots(tenant, table string, buckets [Buckets]bucketRoot) (*Roots, error) {
	doc := rootsJSON{Buckets: make([]bucketJSON, Buckets), Table: table, Tenant: tenant, V: 1}
	for i, b := range buckets {
		doc.Buckets[i] = bucketJSON{Rows: b.rows, Tag: canon.FormatBytes(b.tag)}
	}
	text, err := canon.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRoots, err)
	}
	return &Roots{tenant: tenant, table: table, buckets: buckets, text: text}, nil
}

const maxRoots = 1 << 20

// ParseRoots reads what [Roots.MarshalText] wrote, members of later versions
// included. It checks the form only: compare the head with the anchored one.
func ParseRoots(data []byte) (*Roots, error) {
	if len(data) > maxRoots {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrRoots, maxRoots)
	}
	var doc rootsJSON
	if err := canon.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRoots, err)
	}
	if doc.V != 1 {
		return nil, fmt.Errorf("%w: version %d", ErrRoots, doc.V)
	}
	if ids.Check("tenant", doc.Tenant) != nil || ids.Check("table", doc.Table) != nil || len(doc.Buckets) != Buckets {
		return nil, fmt.Errorf("%w: tenant, table or number of buckets", ErrRoots)
	}
	r := &Roots{tenant: doc.Tenant, table: doc.Table, text: slices.Clone(data)}
	for i, b := range doc.Buckets {
		tag, err := canon.ParseBytes(b.Tag)
		if err != nil || len(tag) == 0 || b.Rows < 0 {
			return nil, fmt.Errorf("%w: bucket %d", ErrRoots, i)
		}
		r.buckets[i] = bucketRoot{rows: b.Rows, tag: tag}
	}
	return r, nil
}
