package audit

import "github.com/crmguard/crmguard/internal/frame"

// The states of a surrogate. The sequencer drops openings by them, so each row
// bears a tag: whoever may write the table could otherwise have the service
// destroy what it should keep.
const (
	surrogateLive     = 0
	surrogateErased   = 1
	surrogateUnmapped = 2 // whose it is is not known since a restore
	surrogateErasing  = 3
)

func surrogateHead(tenant string, surrogate [16]byte, state byte, into []byte) []byte {
	dst := frame.Append(make([]byte, 0, 64+len(tenant)+len(into)), tenant)
	dst = append(frame.Append(dst, surrogate[:]), state)
	return frame.Append(dst, into)
}

// surrogateTag is the tag of the row of a surrogate; into is the surrogate that
// it was merged into, empty where it was not.
func surrogateTag(k *macKey, tenant string, surrogate [16]byte, state byte, into []byte) []byte {
	return k.tag(nil, surrogateHead(tenant, surrogate, state, into), nil)
}

// tagIfKnown is the tag, and none where the keys of the tenant do not answer:
// [Trail.CatchUp] tags such rows when they do.
func tagIfKnown(keys []macKey, tenant string, surrogate [16]byte, state byte, into []byte) []byte {
	if len(keys) == 0 {
		return []byte{}
	}
	return surrogateTag(&keys[0], tenant, surrogate, state, into)
}

// checkSurrogateTag looks at the tag of the row of a surrogate.
func checkSurrogateTag(keys []macKey, tenant string, surrogate [16]byte, state byte, into, tag []byte) tagVerdict {
	return checkTag(keys, tag, surrogateHead(tenant, surrogate, state, into), nil)
}
