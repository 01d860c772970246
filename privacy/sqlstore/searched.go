package sqlstore

import "slices"

// searched are the rows that the application has found in sealed columns.
func (f *finding) searched(e *entity) (questions []condition, err error) {
	if f.looked[e] {
		return nil, nil
	}
	for i := range e.ways {
		more, err := f.sealed(e, &e.ways[i])
		if err != nil {
			return nil, err
		}
		questions = append(questions, more...)
	}
	f.looked[e] = true
	return questions, nil
}

// sealed are the questions for the rows that the application has found by one edge.
func (f *finding) sealed(e *entity, w *way) (questions []condition, err error) {
	if e.Tenant == "" && f.s.cfg.Map.Tenant != f.tenant {
		return nil, nil
	}
	for i, k := range f.seekers {
		for chunk := range slices.Chunk(k.searched[w], batch) {
			c, err := f.s.named(e, chunk)
			if err != nil {
				return nil, err
			}
			f.s.when(&c, e, w)
			c.scope = i + 1
			questions = append(questions, c)
		}
	}
	return questions, nil
}
