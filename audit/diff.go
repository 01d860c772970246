package audit

import (
	"maps"
	"slices"

	"github.com/crmguard/crmguard/audit/internal/values"
)

// Diff lists the fields that differ between two rows as changes about one
// person ("" for nobody), sorted by path. A nil map is a row that does not
// exist (insert, delete): its fields are [Absent]. Two Go types of one value are
// no change ("x" and a *string, nil and a sql.NullString that is not valid),
// but text and bytes are two, and so are 1, 1.0 and "1". A value that has no
// encoding counts as changed, so that recording reports it. [JSON] compares
// by what it says, its numbers by their exact values: 1 and 1.0 are one,
// 9007199254740993 and 9007199254740992 two; -0 has no encoding.
func Diff(who string, before, after map[string]any) []Change {
	paths := slices.AppendSeq(slices.Collect(maps.Keys(before)), maps.Keys(after))
	slices.Sort(paths)
	var out []Change
	for _, path := range slices.Compact(paths) {
		c := Change{Path: path, Who: who, Old: side(before, path), New: side(after, path)}
		if !values.Equal(c.Old, c.New) {
			out = append(out, c)
		}
	}
	return out
}

func side(row map[string]any, path string) any {
	if v, ok := row[path]; ok {
		return v
	}
	return Absent{}
}
