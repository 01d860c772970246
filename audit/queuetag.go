package audit

import (
	"crypto/sha256"

	"github.com/crmguard/crmguard/internal/frame"
)

// The tag of a row that waits says that a process with the keys of this log
// wrote it, this leaf with these openings for this tenant. The openings count by
// their digest: whoever may write the table can exchange nothing of a row.

// queueHead is what stands before the leaf under the tag of a waiting row.
func queueHead(dst []byte, name, tenant string, sealed []byte) []byte {
	digest := sha256.Sum256(sealed)
	dst = frame.Append(dst, "crmguard/audit/queue/v2")
	dst = frame.Append(dst, name)
	dst = frame.Append(dst, tenant)
	return frame.Append(dst, digest[:])
}

// queueTag appends the tag of a waiting row.
func queueTag(dst []byte, k *macKey, name, tenant string, sealed, leaf []byte) []byte {
	return k.tag(dst, queueHead(nil, name, tenant, sealed), leaf)
}

// checkQueueTag looks at the tag of a waiting row.
func checkQueueTag(keys []macKey, name, tenant string, sealed, leaf, tag []byte) tagVerdict {
	return checkTag(keys, tag, queueHead(nil, name, tenant, sealed), leaf)
}
