package sqlstore

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/privacy/datamap"
)

// Kinds of a finding.
const (
	UnclassifiedTable  = "unclassified table"  // in the database, not in the map
	UnclassifiedColumn = "unclassified column" // in the database, not in the map
	MissingTable       = "missing table"       // in the map, not in the database
	MissingColumn      = "missing column"      // in the map, not in the database
	EdgeWithoutIndex   = "edge without index"  // finding a person scans the table
	OpenEdge           = "undeclared edge"     // a foreign key to a table of persons that the map does not follow
	CascadeIntoKept    = "cascade into kept"   // a foreign key that would delete rows which the map keeps, or empty what an obligation needs of them
)

// Finding is one difference between the map and the live schema.
type Finding struct {
	Kind   string
	Table  string
	Column string
}

// String is the finding as one line.
func (f Finding) String() string {
	if f.Column == "" {
		return f.Kind + " " + f.Table
	}
	return f.Kind + " " + f.Table + "." + f.Column
}

// CheckSchema compares the map with the live schema. In a test of the
// application it must find nothing, so that no new column is forgotten.
// Tables of crmguard itself are left out; that of a migration tool
// (goose_db_version, schema_migrations) is a Table of the map with Key and
// Columns alone. On PostgreSQL all schemas of the
// database are looked at, with partitioned tables as one and materialized views
// as tables, for they hold copies; on MariaDB and MySQL the database in use and
// those that the map names. What the account may not see is not found: ask with
// the one that owns the tables.
func CheckSchema(ctx context.Context, handle *sql.DB, m *datamap.Map) ([]Finding, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	db, err := ask(ctx, handle)
	if err != nil {
		return nil, err
	}
	live, err := liveSchema(ctx, db, m)
	if err != nil {
		return nil, err
	}
	var findings []Finding
	links := map[string][]string{}
	for _, t := range m.Tables {
		findings = append(findings, compare(t, live[t.Name])...)
		if j := t.Link; j != nil {
			links[j.Table] = []string{j.Record, j.Person}
		}
	}
	for name, l := range live {
		_, mapped := m.Table(name)
		link, isLink := links[name]
		switch {
		case isLink:
			findings = append(findings, l.link(name, link)...)
		case !mapped:
			findings = append(findings, Finding{UnclassifiedTable, name, ""})
		}
	}
	findings = append(findings, openEdges(m, live)...)
	edges, err := cascades(ctx, db, m)
	if err != nil {
		return nil, err
	}
	for _, l := range losses(m, edges) {
		findings = append(findings, Finding{CascadeIntoKept, l.kept, l.column})
	}
	slices.SortFunc(findings, func(a, b Finding) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(findings), nil
}

// compare finds what is classified on one side only.
func compare(t datamap.Table, l *liveTable) []Finding {
	if l == nil {
		return []Finding{{MissingTable, t.Name, ""}}
	}
	classified := slices.Clone(t.Key)
	for _, name := range []string{t.Tenant, t.Person, t.Created} {
		if name != "" {
			classified = append(classified, name)
		}
	}
	edges := []string{}
	if t.Person != "" {
		edges = append(edges, t.Person)
	}
	if t.Ref != nil {
		classified, edges = append(classified, t.Ref.Column), append(edges, t.Ref.Column)
	}
	if t.Link != nil && t.Link.Owner != "" {
		classified = append(classified, t.Link.Owner)
	}
	if t.Keep != nil {
		classified = append(classified, t.Keep.From)
	}
	for _, c := range t.Columns {
		classified = append(classified, c.Name)
	}
	slices.Sort(classified)
	classified = slices.Compact(classified)
	var findings []Finding
	for _, c := range l.columns {
		if !slices.Contains(classified, c) {
			findings = append(findings, Finding{UnclassifiedColumn, t.Name, c})
		}
	}
	for _, c := range classified {
		if !slices.Contains(l.columns, c) {
			findings = append(findings, Finding{MissingColumn, t.Name, c})
		}
	}
	return append(findings, l.unindexed(t.Name, edges)...)
}

func (l *liveTable) unindexed(table string, edges []string) []Finding {
	var findings []Finding
	for _, c := range edges {
		if slices.Contains(l.columns, c) && !l.indexed[c] {
			findings = append(findings, Finding{EdgeWithoutIndex, table, c})
		}
	}
	return findings
}

// link checks a link table: its two columns, both leading an index.
func (l *liveTable) link(table string, columns []string) []Finding {
	var findings []Finding
	for _, c := range l.columns {
		if !slices.Contains(columns, c) {
			findings = append(findings, Finding{UnclassifiedColumn, table, c})
		}
	}
	for _, c := range columns {
		if !slices.Contains(l.columns, c) {
			findings = append(findings, Finding{MissingColumn, table, c})
		}
	}
	return append(findings, l.unindexed(table, columns)...)
}

// openEdges proposes foreign keys to tables of persons that no edge follows.
func openEdges(m *datamap.Map, live map[string]*liveTable) []Finding {
	var findings []Finding
	for _, t := range m.Tables {
		l := live[t.Name]
		if l == nil || t.Reaches() {
			continue
		}
		for from, to := range l.foreign {
			if target, ok := m.Table(to); ok && target.Reaches() {
				findings = append(findings, Finding{OpenEdge, t.Name, from})
			}
		}
	}
	return findings
}
