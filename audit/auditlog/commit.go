package auditlog

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
)

// The sides of a commitment.
const (
	SideOld  byte = 0
	SideNew  byte = 1
	SideName byte = 2 // the name of a field that does not stand in the log; its value is the name
)

// Committer makes the commitments of one opening, as they stand in the leaf of an
// event.
type Committer struct {
	salts hash.Hash
	event [16]byte
	data  []byte
}

// Committer returns that of an event.
func (o *Opening) Committer(event [16]byte) Committer {
	return Committer{salts: hmac.New(sha256.New, o.Seed[:]), event: event, data: make([]byte, 0, 256)}
}

// Commit is the commitment to a field. It hides the value in the log: without the
// seed nobody can guess it, with the seed nobody can open it to another value.
func (c *Committer) Commit(f *Field) string {
	sum := c.commitment(f)
	return canon.FormatBytes(sum[:])
}

// salt is the MAC whose sum is the salt of one side of one field.
func (c *Committer) salt(f *Field) hash.Hash {
	c.data = append(frame.Append(frame.Append(c.data[:0], "crmguard/audit/salt/v1"), f.Path), f.Side)
	c.salts.Reset()
	c.salts.Write(c.data)
	return c.salts
}

func (c *Committer) commitment(f *Field) [32]byte {
	salt := c.salt(f)
	c.data = salt.Sum(frame.Append(c.data[:0], commitLabel))
	c.data = appendCommitted(c.data, c.event, f)
	return sha256.Sum256(c.data)
}

const commitLabel = "crmguard/audit/commit/v1"

// appendCommitted appends what stands behind the salt.
func appendCommitted(dst []byte, event [16]byte, f *Field) []byte {
	dst = frame.Append(dst, event[:])
	dst = append(frame.Append(dst, f.Path), f.Side)
	return f.Value.Append(dst)
}

// Commit is the commitment to one field of an opening.
func (o *Opening) Commit(event [16]byte, f Field) string {
	c := o.Committer(event)
	return c.Commit(&f)
}
