package sqlstore

// leadsOn reports whether a row that was found before leads to somebody now: it
// names a person, or a row that was not found before, or one of those that leads
// on. As no search finds it any more, that is somebody else. there are the rows
// that were found before; passed ends circles of them.
func leadsOn(l *located, there map[rowID]*located, passed map[*located]bool) (bool, error) {
	passed[l] = true
	for i := range l.e.ways {
		w := &l.e.ways[i]
		is, err := l.when(w)
		if err != nil {
			return false, err
		}
		if !is || w.Identity != "" { // an address is nobody by itself
			continue
		}
		parts, names, err := l.tuple(w.Columns)
		if err != nil {
			return false, err
		}
		if !names {
			continue
		}
		to, err := ofThese(there, w, textsOf(parts))
		if err != nil || to == nil {
			return err == nil, err
		}
		if passed[to] {
			continue
		}
		if on, err := leadsOn(to, there, passed); err != nil || on {
			return on, err
		}
	}
	return false, nil
}

// ofThese is the row that an edge names with a text, nil where it is none of these.
func ofThese(rows map[rowID]*located, w *way, text string) (*located, error) {
	for _, l := range rows {
		if l.e.Name != w.Table {
			continue
		}
		parts, ok, err := l.tuple(w.Target(l.e.Table))
		if err != nil || ok && textsOf(parts) == text {
			return l, err
		}
	}
	return nil, nil //nolint:nilnil // none
}
