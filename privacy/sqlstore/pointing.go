package sqlstore

import (
	"context"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/privacy/datastore"
)

// pointing finds the rows of others that point to a person, or to a row that does
// not stay as it is: where they go themselves, what points to them, too.
func (f *finding) pointing(ctx context.Context) error {
	targets, err := f.targets()
	passed := map[owned]bool{} // ends circles
	for first := true; err == nil && (first || len(targets) > 0); first = false {
		from := len(f.found)
		for _, e := range f.s.entities {
			for i := range e.cuts {
				w := &e.cuts[i]
				if !first && len(targets[w.source]) == 0 {
					continue
				}
				if err := f.cut(ctx, e, w, targets[w.source]); err != nil {
					return err
				}
			}
		}
		targets, err = f.goWith(f.found[from:], passed)
	}
	return err
}

// goWith are what points to rows of others that go, by the source of the edge.
func (f *finding) goWith(rows []*located, passed map[owned]bool) (map[string][]given, error) {
	targets := map[string][]given{}
	for _, l := range rows {
		if l.stays() || !l.covers(f.seekers[l.scope].Scope) || passed[owned{l.scope, l.id()}] {
			continue
		}
		passed[owned{l.scope, l.id()}] = true
		if err := f.gives(l, l.scope, true); err != nil {
			return nil, err
		}
		for _, o := range l.e.outputs {
			if f.s.cutsOver(o.source) {
				targets[o.source] = append(targets[o.source], given{row: l, scope: l.scope})
			}
		}
	}
	return targets, nil
}

// targets are what such rows point to, by the source of the edge.
func (f *finding) targets() (map[string][]given, error) {
	targets := map[string][]given{}
	for _, l := range f.found {
		if l.fate.class != datastore.Kept && !l.others && l.covers(f.seekers[l.scope].Scope) {
			for _, o := range l.e.outputs {
				if !f.s.cutsOver(o.source) {
					continue
				}
				_, ok, err := l.tuple(o.columns)
				if err != nil {
					return nil, dbError("find", l.e.Name, err)
				}
				if ok {
					targets[o.source] = append(targets[o.source], given{row: l, scope: l.scope})
				}
			}
		}
	}
	for source, p := range f.pools {
		if !strings.HasPrefix(source, "rows ") {
			targets[source] = p.values
			continue
		}
		for _, v := range p.values {
			if v.orphan {
				targets[source] = append(targets[source], v)
			}
		}
	}
	return targets, nil
}

// cutsOver reports whether rows of others point by values of the source.
func (s *Store) cutsOver(source string) bool {
	return slices.ContainsFunc(s.entities, func(e *entity) bool {
		return slices.ContainsFunc(e.cuts, func(w way) bool { return w.source == source })
	})
}

// pointers are the conditions for the rows that point to one of the values.
func (f *finding) pointers(e *entity, w *way, values []given) ([]condition, error) {
	questions, err := f.sealed(e, w)
	if err != nil {
		return nil, err
	}
	for _, chunk := range chunks(values, batch) {
		if c, ok := f.leads(e, w, chunk); ok && !w.sealed {
			questions = append(questions, c)
		}
	}
	for i := range questions {
		if w.sealed { // what was searched before may be emptied by now
			questions[i].add(w.fields[0].name + " IS NOT NULL")
		}
		f.s.inTenant(&questions[i], e, f.tenant)
	}
	return questions, nil
}

func (f *finding) cut(ctx context.Context, e *entity, w *way, values []given) error {
	questions, err := f.pointers(e, w, values)
	if err != nil {
		return err
	}
	for _, c := range questions {
		rows, err := f.s.ask(ctx, f.q, e, c)
		if err != nil {
			return err
		}
		for _, l := range rows {
			scopes := []int{l.scope}
			if len(f.seekers) > 1 && !l.asked {
				if scopes, err = f.over(l, w); err != nil {
					return dbError("find", e.Name, err)
				}
				if len(scopes) == 0 {
					return errMixed
				}
			}
			for _, scope := range scopes {
				one := *l
				one.scope, one.cut, one.over, one.hidden = scope, w, w.Table != "", w.merged
				if own := f.seen[owned{scope, l.id()}]; own != nil {
					own.clean, one.hidden = false, true
				}
				f.found = append(f.found, &one)
			}
		}
	}
	return nil
}
