package accesscontrol

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// checkSets compares the tables behind the sets of a table with the live ones.
// Their columns may be NULL or not: NULL is no element.
func (t *table) checkSets(ctx context.Context, dialect sqldb.Dialect, db sqldb.Querier) (problems []string, err error) {
	for _, attr := range slices.Sorted(maps.Keys(t.sets)) {
		s := t.sets[attr]
		tables := s.tables
		if s.source.From != "" {
			from := column{Column: sqlcond.Column{Name: s.source.From, Storage: storages[s.source.FromAs].storage}, attr: "From of " + attr, typ: tables[0].columns[0].typ, field: "Set.FromAs"}
			tables = slices.Insert(slices.Clone(tables), 0, stepTable{t.Name, []column{from}})
		}
		for _, step := range tables {
			live, err := readTable(ctx, dialect, db, step.name)
			if err != nil {
				return nil, fmt.Errorf("accesscontrol: check schema of table %s: %w", step.name, err)
			}
			columns := slices.Clone(step.columns)
			for i, c := range columns {
				columns[i].required = live.columns[c.Name].required
			}
			for _, text := range differences(dialect.Kind, live, columns) {
				problems = append(problems, "table "+step.name+": "+text)
			}
		}
	}
	return problems, nil
}
