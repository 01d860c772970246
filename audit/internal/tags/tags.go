// Package tags says what the tags of rows are over. It promises that these bytes are
// those of formats.md for ever, and that none can be read as those of another row: each
// part stands behind its length, or has a fixed one.
package tags

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/crmguard/crmguard/internal/frame"
)

// Queue is what stands before the leaf under the tag of a waiting row.
func Queue(dst []byte, name, tenant string, sealed []byte) []byte {
	digest := sha256.Sum256(sealed)
	dst = frame.Append(dst, "crmguard/audit/queue/v2")
	dst = frame.Append(dst, name)
	dst = frame.Append(dst, tenant)
	return frame.Append(dst, digest[:])
}

// Aside is what the tag of a row of what was set aside is over.
func Aside(id, body []byte, why string, at int64) []byte {
	digest := sha256.Sum256(body)
	dst := frame.Append(frame.Append(nil, id), digest[:])
	return binary.BigEndian.AppendUint64(frame.Append(dst, why), uint64(at))
}

// Surrogate is what the tag of the row of a surrogate is over. Only a live row says
// whose it is: of others the column is not believed, whatever stands there.
func Surrogate(tenant string, surrogate [16]byte, state byte, into []byte, person string) []byte {
	dst := frame.Append(make([]byte, 0, 64+len(tenant)+len(into)+len(person)), tenant)
	dst = append(frame.Append(dst, surrogate[:]), state)
	return frame.Append(frame.Append(dst, into), person)
}
