package sqlstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/privacy/datastore"
)

// pointing finds the rows of others that point to a person, or to a row that does
// not stay as it is.
func (f *finding) pointing(ctx context.Context) error {
	targets, err := f.targets()
	if err != nil {
		return err
	}
	for _, e := range f.s.entities {
		for i := range e.cuts {
			if err := f.cut(ctx, e, &e.cuts[i], targets[e.cuts[i].source]); err != nil {
				return err
			}
		}
	}
	return nil
}

// targets are what such rows point to, by the source of the edge.
func (f *finding) targets() (map[string][]given, error) {
	targets := map[string][]given{}
	for _, l := range f.found {
		if l.row.Class != datastore.Kept && !l.others && f.seekers[l.scope].Covers(l.row) {
			for _, o := range l.e.outputs {
				parts, ok, err := l.tuple(f.s, o.columns)
				if err != nil {
					return nil, dbError("find", l.e.Name, err)
				}
				if ok {
					targets[o.source] = append(targets[o.source], given{parts, textsOf(parts), l.scope, false})
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
			scopes := []int{max(l.asked-1, 0)}
			if len(f.seekers) > 1 && l.asked == 0 {
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
				if one.row.Class = datastore.Deleted; one.stays() {
					one.row.Class, one.row.Others = datastore.Redacted, true
				}
				if own := f.seen[fmt.Sprint(scope, " ", l.id())]; own != nil {
					own.row.Clean, one.hidden = false, true
				}
				f.found = append(f.found, &one)
			}
		}
	}
	return nil
}
