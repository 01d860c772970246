package accesscontrol

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// checkSets compares the tables behind the sets of a table with the live ones.
// Their columns may be NULL or not: NULL is no element.
func (t *table) checkSets(ctx context.Context, dialect sqldb.Dialect, db sqldb.Querier) (problems []string, err error) {
	for _, attr := range slices.Sorted(maps.Keys(t.sets)) {
		before := "" // the collation of what the next step matches
		for i, step := range t.sets[attr].tables {
			live, err := readTable(ctx, dialect, db, step.name)
			if err != nil {
				return nil, fmt.Errorf("accesscontrol: check schema of table %s: %w", step.name, err)
			}
			columns := slices.Clone(step.columns)
			for i, c := range columns {
				columns[i].required = live.columns[c.Name].required
			}
			if columns[0].attr != keyAttr { // which is looked at with its table
				for _, text := range differences(dialect.Kind, live, columns) {
					problems = append(problems, "table "+step.name+": "+text)
				}
			}
			links := []string{before}
			for _, c := range columns[:min(2, len(columns))] { // Match and Value
				links = append(links, live.columns[c.Name].collation)
			}
			if i > 0 && differ(links[0], links[1]) || step.tree && differ(links[1], links[2]) {
				problems = append(problems, fmt.Sprintf("table %s: column %s of %s has not the collation of what it is compared with, and would be compared by no index, or not at all: give both one collation", step.name, columns[0].Name, attr))
			}
			before = links[len(links)-1]
		}
	}
	return problems, nil
}

// differ says whether two collations are not one. What has none, 0 in
// PostgreSQL, is no text, or compared by its bytes.
func differ(a, b string) bool {
	none := []string{"", "0"}
	return a != b && !slices.Contains(none, a) && !slices.Contains(none, b)
}

// fromTable is the bound table, with the column where the steps begin.
func fromTable(t *table, source Set) stepTable {
	from := linkColumn("From of "+source.Attr, source.From, cedarx.Type{Kind: cedarx.EntityRef}, "Set.FromAs", source.FromAs)
	if source.From == "" {
		from.attr, from.Name = keyAttr, t.Key
	}
	return stepTable{name: t.Name, columns: []column{from}}
}
