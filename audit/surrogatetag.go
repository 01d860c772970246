package audit

import "github.com/crmguard/crmguard/audit/internal/tags"

// The states of a surrogate. The sequencer drops openings by them, and an erasure
// goes by whose a surrogate is, so each row bears a tag over both: whoever may write
// the table could otherwise have the service destroy what it should keep.
const (
	surrogateLive     = 0
	surrogateErased   = 1
	surrogateUnmapped = 2 // whose it is is not known since a restore
	surrogateErasing  = 3
)

// surrogateTag is the tag of the row of a surrogate; into is the surrogate that it
// was merged into, empty where it was not, and person whose it is, empty where the
// state is another one than live.
func surrogateTag(k *macKey, tenant string, surrogate [16]byte, state byte, into []byte, person string) []byte {
	return k.tag(nil, tags.Surrogate(tenant, surrogate, state, into, person), nil)
}

// tagIfKnown is the tag of a row whose person is not known, and none where the keys
// of the tenant do not answer: [Trail.CatchUp] tags such rows when they do.
func tagIfKnown(keys []macKey, tenant string, surrogate [16]byte, state byte) []byte {
	if len(keys) == 0 {
		return []byte{}
	}
	return surrogateTag(&keys[0], tenant, surrogate, state, nil, "")
}

// checkSurrogateTag looks at the tag of the row of a surrogate.
func checkSurrogateTag(keys []macKey, tenant string, surrogate [16]byte, state byte, into []byte, person string, tag []byte) tagVerdict {
	return checkTag(keys, tag, tags.Surrogate(tenant, surrogate, state, into, person), nil)
}
