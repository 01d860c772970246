package accesscontrol

// names finds the column of an attribute by its name, which is done for each
// attribute of each record that is asked about. Names of one length are few,
// and looking at each of them is faster than a map. It never changes.
type names struct {
	byLength [][]*column
	all      map[string]*column // for lengths that many names have
}

const fewNames = 8

func newNames(columns map[string]*column) names {
	out := names{all: columns}
	for name, col := range columns {
		for len(out.byLength) <= len(name) {
			out.byLength = append(out.byLength, nil)
		}
		out.byLength[len(name)] = append(out.byLength[len(name)], col)
	}
	return out
}

// find gives the column, nil where there is none of the name.
func (n *names) find(name string) *column {
	if len(name) >= len(n.byLength) {
		return nil
	}
	same := n.byLength[len(name)]
	if len(same) > fewNames {
		return n.all[name]
	}
	for _, col := range same {
		if col.attr == name {
			return col
		}
	}
	return nil
}
