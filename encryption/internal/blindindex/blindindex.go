// Package blindindex is what a blind index is made of: the rules that make two
// spellings one, the key of a version, the MAC that is stored, and what the states
// of a version mean for a search. It sees neither SQL nor a vault; which versions
// there are, and where their values stand, is the business of package encryption.
package blindindex

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/normalise"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/frame"
)

const (
	// FindBits is the width of Column.Find: two of 77,000 different values are equal
	// by chance, with even odds.
	FindBits = 32
	// UniqueBits is the least width of an index for a UNIQUE constraint: no two values
	// of a table are ever equal in it by chance.
	UniqueBits = 128
)

// CheckBits says what is wrong with a width, "" where nothing is.
func CheckBits(bits int, unique bool) string {
	switch {
	case unique && bits < UniqueBits:
		return "a unique index has 128 bits or more: in a narrower one different values collide, and the second would be refused"
	case bits < 8 || bits > 256 || bits > 63 && bits%8 != 0:
		return "bits are 8 to 63, or 64 to 256 in multiples of 8"
	}
	return ""
}

// Key derives the key of one index version; as is the name of its rule.
func Key(root []byte, tenant, table, index string, version uint32, as string, bits int) ([]byte, error) {
	info := frame.Join(format.IndexDomain, tenant, table, index)
	info = binary.BigEndian.AppendUint32(info, version)
	info = frame.Append(info, as)
	info = binary.BigEndian.AppendUint16(info, uint16(bits))
	return format.Derive(root, info)
}

// Version is one version of an index in one tenant.
type Version struct {
	MAC   *MAC // nil when retired
	State keystore.IndexState

	rule    Rule
	address bool // the rule is one of those that PlainAddress knows
}

// NewVersion returns the version that a row of the key store has, with the rule of
// its name and the root that the row names.
func NewVersion(row keystore.IndexRow, rule Rule, root []byte) (Version, error) {
	key, err := Key(root, row.Tenant, row.Table, row.Index, row.Version, row.Normaliser, row.Bits)
	if err != nil {
		return Version{}, err
	}
	address := row.Normaliser == normalise.Email1 || row.Normaliser == normalise.Email2
	return Version{MAC: New(key, row.Bits), State: row.State, rule: rule, address: address}, nil
}

// Value computes what the version holds for an opened value: nothing where that
// normalises to empty or the version is retired. An error is the rule's.
func (x *Version) Value(value string) (Value, error) {
	if x.MAC == nil {
		return Value{}, nil
	}
	if x.address {
		if v, ok := x.MAC.PlainAddress(value); ok {
			return v, nil
		}
	}
	normal, err := x.rule(value)
	if err != nil || normal == "" {
		return Value{}, err
	}
	return x.MAC.Value(normal), nil
}

// Lacks says what versions in these states lack before one of them is searched.
func Lacks(states []keystore.IndexState) string {
	switch {
	case slices.Contains(states, keystore.IndexFenced):
		return "rows without it may exist: call RebuildIndexes"
	case slices.Contains(states, keystore.IndexBuilding), slices.Contains(states, keystore.IndexFencing):
		return "rows without it may exist, and a release that writes more of them: when that one is gone, call FenceOldWriters and then RebuildIndexes"
	}
	return "it is retired, and no other version is declared"
}

// Family is the name of a rule without its version.
func Family(as string) string {
	family, _, _ := strings.Cut(as, "/")
	return family
}

// Names says whether the name of a constraint names the column: it is named as the
// column, or holds its name between underscores, as the databases name one by
// themselves.
func Names(constraint, column string) bool {
	return constraint != "" && strings.Contains("_"+strings.NewReplacer(".", "_", " ", "_", ",", "_").Replace(constraint)+"_", "_"+column+"_")
}
