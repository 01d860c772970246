package privacy_test

import (
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
)

// whole is the map with every other table of the database, as one that holds
// nothing about persons.
func (s *system) whole(m *datamap.Map) *datamap.Map {
	s.t.Helper()
	if s.on.Kind != sqldb.SQLite { // whose databases hold what the map names
		return m
	}
	all := &datamap.Map{Tenant: m.Tenant, Tables: slices.Clone(m.Tables)}
	linked := func(name string) bool {
		return slices.ContainsFunc(m.Tables, func(t datamap.Table) bool { return t.Link != nil && t.Link.Table == name })
	}
	rows, err := s.db.QueryContext(s.t.Context(), `SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c
		WHERE m.type = 'table' AND m.name NOT LIKE 'crmguard%' AND m.name NOT LIKE 'sqlite%' ORDER BY m.name, c.cid`)
	require.NoError(s.t, err)
	defer func() { require.NoError(s.t, rows.Close()) }()
	for rows.Next() {
		var table, column string
		require.NoError(s.t, rows.Scan(&table, &column))
		if _, mapped := m.Table(table); mapped || linked(table) {
			continue
		}
		if last := &all.Tables[len(all.Tables)-1]; last.Name != table {
			all.Tables = append(all.Tables, datamap.Table{Name: table})
		}
		last := &all.Tables[len(all.Tables)-1]
		last.Columns = append(last.Columns, datamap.Column{Name: column})
	}
	require.NoError(s.t, rows.Err())
	return all
}
