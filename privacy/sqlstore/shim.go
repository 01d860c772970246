package sqlstore

import "github.com/crmguard/crmguard/privacy/datamap"

type ref struct{ Column, Table string }

func refOf(t datamap.Table) *ref {
	for _, e := range t.Edges {
		if e.Table != "" && e.Leads() {
			return &ref{e.Columns[0], e.Table}
		}
	}
	return nil
}

func pathOf(m *datamap.Map, t datamap.Table) []datamap.Table {
	path := []datamap.Table{t}
	for refOf(t) != nil && len(path) <= len(m.Tables) {
		next, ok := m.Table(refOf(t).Table)
		if !ok {
			break
		}
		path, t = append(path, next), next
	}
	return path
}
