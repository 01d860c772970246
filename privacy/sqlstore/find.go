package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// batch is how many values one statement compares a column with.
const batch = 500

// A seeker is a scope with what the application has searched for it.
type seeker struct {
	datastore.Scope
	searched map[*way][]string // keys of rows, of sealed columns
	shredded bool              // an identity cannot be opened any more
}

// A finding follows the edges of the map from persons to their rows, for several
// persons of one tenant at once: each table is asked once, for what any of its
// edges leads to, and again only where its rows lead to more of its own.
type finding struct {
	s        *Store
	q        sqldb.Querier
	tenant   string
	seekers  []seeker
	prepared *prepared
	pools    map[string]*pool
	asked    map[*way]int        // how many values of its source a way has asked for
	looked   map[*entity]bool    // for what the application has searched
	kept     map[string]*located // kept rows, by whose they are and what names them
	found    []*located
	seen     map[owned]*located
}

// An owned row is a row of one of the seekers.
type owned struct {
	scope int
	row   rowID
}

// errMixed says that the database took a value for one of several persons', and
// nobody can tell whose: they are found one by one.
var errMixed = errors.New("sqlstore: rows of several persons at once cannot be told apart")

// find locates the rows of all seekers. gone are rows that are there no more: rows
// that still name one of them count, too.
func (s *Store) find(ctx context.Context, q sqldb.Querier, seekers []seeker, p *prepared, gone []*located) (all []*located, err error) {
	byTenant := map[string][]int{}
	var tenants []string
	for i, k := range seekers {
		if k.Tenant == "" || k.Person == "" {
			return nil, datastore.ErrScope
		}
		if byTenant[k.Tenant] == nil {
			tenants = append(tenants, k.Tenant)
		}
		byTenant[k.Tenant] = append(byTenant[k.Tenant], i)
	}
	for _, tenant := range tenants {
		group := byTenant[tenant]
		found, err := s.findGroup(ctx, q, tenant, seekers, group, p, gone)
		if errors.Is(err, errMixed) {
			found = nil
			for _, one := range group {
				more, err := s.findGroup(ctx, q, tenant, seekers, []int{one}, p, gone)
				if err != nil {
					return nil, err
				}
				found = append(found, more...)
			}
			err = nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (s *Store) findGroup(ctx context.Context, q sqldb.Querier, tenant string, seekers []seeker, group []int, p *prepared, gone []*located) ([]*located, error) {
	own := make([]seeker, len(group))
	for i, at := range group {
		own[i] = seekers[at]
	}
	f := s.finding(q, tenant, own, p)
	for _, l := range gone {
		if i := slices.Index(group, l.scope); i >= 0 {
			if err := f.gives(l, i, true); err != nil {
				return nil, err
			}
		}
	}
	if err := f.follow(ctx); err != nil {
		return nil, err
	}
	if err := f.together(ctx); err != nil {
		return nil, err
	}
	if err := f.pointing(ctx); err != nil {
		return nil, err
	}
	if err := f.unambiguous(ctx); err != nil {
		return nil, err
	}
	for _, l := range f.found {
		l.scope = group[l.scope]
	}
	return f.found, nil
}

// finding begins with the persons and their identities.
func (s *Store) finding(q sqldb.Querier, tenant string, seekers []seeker, p *prepared) *finding {
	f := &finding{s: s, q: q, tenant: tenant, seekers: seekers, prepared: p, pools: map[string]*pool{}, asked: map[*way]int{}, looked: map[*entity]bool{}, kept: map[string]*located{}, seen: map[owned]*located{}}
	for i, k := range seekers {
		f.give(persons, k.Person, given{text: k.Person, scope: i})
		for kind, values := range k.Identities {
			for _, v := range values {
				f.give(identities(kind), v, given{text: v, scope: i})
			}
		}
	}
	return f
}

// gives hands what a row is named by to the edges of other tables.
func (f *finding) gives(l *located, scope int, orphan bool) error {
	for _, o := range l.e.outputs {
		parts, ok, err := l.tuple(o.columns)
		if err != nil {
			return dbError("find", l.e.Name, err)
		}
		if !ok {
			continue
		}
		f.give(o.source, textsOf(parts), given{row: l, scope: scope, orphan: orphan})
		if !orphan && l.fate.held {
			f.kept[fmt.Sprint(scope, " ", o.source, " ", textsOf(parts))] = l
		}
	}
	return nil
}

// keptWith keeps a row that would go, and that only kept rows lead to, as long as
// them: the lines of an invoice.
func (f *finding) keptWith(l *located) error {
	if l.stays() || l.e.Keep != nil || len(f.kept) == 0 {
		return nil
	}
	var by *located
	for i := range l.e.ways {
		w := &l.e.ways[i]
		scopes, err := f.over(l, w)
		if err != nil {
			return dbError("find", l.e.Name, err)
		}
		if !slices.Contains(scopes, l.scope) {
			continue
		}
		parts, _, _ := l.tuple(w.Columns) // over has read it
		if by = f.keptBy(l.scope, w.source, parts); by == nil {
			return nil
		}
	}
	if by != nil {
		l.fate, l.with, l.clean = &l.e.keptWith, by, true
	}
	return nil
}

// keptBy is the kept row that is named so: as over takes names for the same.
func (f *finding) keptBy(scope int, source string, parts []keyPart) *located {
	name := fmt.Sprint(scope, " ", source, " ", textsOf(parts))
	if l := f.kept[name]; l != nil {
		return l
	}
	for known, l := range f.kept {
		if alike(known, name) {
			return l
		}
	}
	return nil
}

// alike reports whether a database may have taken two texts for equal that bytes
// do not.
func alike(a, b string) bool {
	return strings.EqualFold(strings.TrimRight(a, " "), strings.TrimRight(b, " "))
}

// follow asks table by table until nothing new comes.
func (f *finding) follow(ctx context.Context) error {
	for more := true; more; {
		more = false
		for _, e := range f.s.entities {
			found, err := f.visit(ctx, e)
			if err != nil {
				return err
			}
			more = more || found
		}
	}
	return nil
}

// visit asks a table for the rows to which its edges lead by now.
func (f *finding) visit(ctx context.Context, e *entity) (found bool, err error) {
	questions, err := f.questions(e)
	if err != nil {
		return false, err
	}
	for _, c := range questions {
		rows, err := f.s.ask(ctx, f.q, e, c)
		if err != nil {
			return false, err
		}
		for _, l := range rows {
			fresh, err := f.own(ctx, l)
			if err != nil {
				return false, err
			}
			found = found || fresh
		}
	}
	return found, nil
}

// questions are the conditions for those rows: for what the application has
// searched, then for a batch of values of each edge at a time.
func (f *finding) questions(e *entity) (questions []condition, err error) {
	if questions, err = f.searched(e); err != nil {
		return nil, err
	}
	plain := len(questions)
	for _, w := range e.asking() {
		for at, chunk := range chunks(f.unasked(w), e.batch()) {
			c, ok := f.leads(e, w, chunk)
			if !ok {
				continue
			}
			if at += plain; at < len(questions) {
				questions[at] = either(questions[at], c)
			} else {
				questions = append(questions, c)
			}
		}
	}
	var asked []condition
	for _, c := range questions {
		if f.s.inTenant(&c, e, f.tenant) || e.Link == nil {
			asked = append(asked, c)
		}
	}
	return asked, nil
}

// asking are the ways that ask for values.
func (e *entity) asking() (ways []*way) {
	for i := range e.ways {
		ways = append(ways, &e.ways[i])
	}
	if e.Link != nil {
		ways = append(ways, &e.linked)
	}
	return ways
}

// unasked are the values for which a way has not asked yet.
func (f *finding) unasked(w *way) []given {
	p := f.pools[w.source]
	if p == nil || w.sealed {
		return nil
	}
	fresh := p.values[f.asked[w]:]
	f.asked[w] = len(p.values)
	return fresh
}

func chunks(values []given, n int) [][]given { return slices.Collect(slices.Chunk(values, n)) }

// batch is how many values each way of the table asks for in one statement: of
// SQLite's 32,766 placeholders a value takes six at most.
func (e *entity) batch() int {
	n := 1
	for _, w := range e.ways {
		n += len(w.fields)
	}
	return max(1, min(batch, 30_000/(6*n)))
}

// leads is the condition that an edge leads to one of the values. One tenant's
// database holds no persons and no identities of another.
func (f *finding) leads(e *entity, w *way, values []given) (c condition, ok bool) {
	s := f.s
	switch {
	case w == &e.linked:
		s.among(&c, s.at("l", e.Link.Table, e.Link.Person), ids(values))
	case w.Table == "" && e.Tenant == "" && s.cfg.Map.Tenant != f.tenant:
		return c, false
	case w.Identity != "":
		s.known(&c, w.fields[0], w.Identity, ids(values))
	case w.Table == "":
		s.among(&c, w.fields[0], ids(values))
	case len(w.fields) == 1:
		s.points(&c, w.fields[0], w.targets[0], first(values, w.to))
	default:
		var any []condition
		for _, v := range values {
			var each condition
			parts := v.parts(w.to)
			for i := range w.fields {
				s.points(&each, w.fields[i], w.targets[i], parts[i:i+1])
			}
			any = append(any, each)
		}
		c = either(any...)
	}
	s.when(&c, e, w)
	return c, true
}

// when asks that the edge is there.
func (s *Store) when(c *condition, e *entity, w *way) {
	for _, when := range w.When {
		s.is(c, s.at("t0", e.Name, when.Column), when.Is)
	}
}

// own notes whose a row is, and what it leads to.
func (f *finding) own(ctx context.Context, l *located) (fresh bool, err error) {
	whose, err := f.whose(l)
	if err != nil {
		return false, err
	}
	for i, scope := range whose {
		one := l
		if i+1 < len(whose) {
			read := *l
			one = &read
		}
		one.scope = scope
		id := owned{scope, l.id()}
		if known := f.seen[id]; known != nil {
			if known.stays() && !known.sameKey(l) {
				return false, &KeyError{l.e.Name} // the one would pass for the other
			}
			continue
		}
		if err := f.s.judge(ctx, one, f.seekers[scope].Scope, f.prepared); err != nil {
			return false, dbError("find", l.e.Name, err)
		}
		if err := f.keptWith(one); err != nil {
			return false, err
		}
		if one.stays() && !one.named() {
			return false, &KeyError{l.e.Name}
		}
		f.seen[id], f.found, fresh = one, append(f.found, one), true
		if one.others {
			continue // what hangs on the record is about the others, too
		}
		if err := f.gives(one, scope, false); err != nil {
			return false, err
		}
	}
	return fresh, nil
}

// whose are the seekers to whom a row leads. What the database took for equal
// and bytes do not is compared without regard to case.
func (f *finding) whose(l *located) (scopes []int, err error) {
	if l.asked {
		return []int{l.scope}, nil
	}
	if len(f.seekers) == 1 {
		return []int{0}, nil
	}
	if l.e.Link != nil {
		linked, _ := l.get(linkedRead)
		text, err := f.s.at("", l.e.Link.Table, l.e.Link.Person).spelled(linked)
		return f.pools[persons].whose[text], err
	}
	for i := range l.e.ways {
		more, err := f.over(l, &l.e.ways[i])
		if err != nil {
			return nil, err
		}
		for _, scope := range more {
			if !slices.Contains(scopes, scope) {
				scopes = append(scopes, scope)
			}
		}
	}
	if len(scopes) == 0 {
		return nil, errMixed
	}
	return scopes, nil
}

// over are the seekers to whom one way leads from the row.
func (f *finding) over(l *located, w *way) (scopes []int, err error) {
	p := f.pools[w.source]
	if p == nil || w.sealed {
		return nil, nil
	}
	if there, err := l.when(w); err != nil || !there {
		return nil, err
	}
	parts, ok, err := l.tuple(w.Columns)
	if err != nil || !ok {
		return nil, err
	}
	text := textsOf(parts)
	if exact := p.whose[text]; len(exact) > 0 || w.Names() {
		return exact, nil
	}
	for known, whose := range p.whose {
		if alike(known, text) {
			scopes = append(scopes, whose...)
		}
	}
	return scopes, nil
}
