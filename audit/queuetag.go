package audit

import "github.com/crmguard/crmguard/audit/internal/tags"

// The tag of a row that waits says that a process with the keys of this log
// wrote it, this leaf with these openings for this tenant. The openings count by
// their digest: whoever may write the table can exchange nothing of a row.

// queueTag appends the tag of a waiting row.
func queueTag(dst []byte, k *macKey, name, tenant string, sealed, leaf []byte) []byte {
	return k.tag(dst, tags.Queue(nil, name, tenant, sealed), leaf)
}

// checkQueueTag looks at the tag of a waiting row.
func checkQueueTag(keys []macKey, name, tenant string, sealed, leaf, tag []byte) tagVerdict {
	return checkTag(keys, tag, tags.Queue(nil, name, tenant, sealed), leaf)
}
