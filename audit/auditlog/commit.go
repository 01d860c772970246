package auditlog

import (
	"crypto/hmac"
	"crypto/sha256"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
)

// The sides of a commitment.
const (
	SideOld  byte = 0
	SideNew  byte = 1
	SideName byte = 2 // the name of a field that does not stand in the log; its value is the name
)

// salt derives the salt of one field side from the seed of (event, owner).
func salt(seed *[32]byte, path string, side byte) []byte {
	mac := hmac.New(sha256.New, seed[:])
	mac.Write(append(frame.Join("crmguard/audit/salt/v1", path), side))
	return mac.Sum(nil)
}

// commitment hides a value in the log: without the seed nobody can guess it,
// with the seed nobody can open it to another value.
func commitment(seed *[32]byte, event [16]byte, f *Field) [32]byte {
	buf := frame.Append(make([]byte, 0, 256), "crmguard/audit/commit/v1")
	buf = append(buf, salt(seed, f.Path, f.Side)...)
	buf = frame.Append(buf, event[:])
	buf = frame.Append(buf, f.Path)
	buf = append(buf, f.Side)
	return sha256.Sum256(f.Value.Append(buf))
}

// Commit is the commitment to a field of an opening, as it stands in the leaf of
// an event.
func (o *Opening) Commit(event [16]byte, f Field) string {
	c := commitment(&o.Seed, event, &f)
	return canon.FormatBytes(c[:])
}
