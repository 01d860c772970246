package accesscontrol

import (
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/internal/value"
)

// facts are a principal that was checked against the schema.
type facts struct {
	tenant   string
	uid      cedarx.EntityUID
	groups   []cedarx.EntityUID
	entities cedarx.EntityMap // the principal and what it brings along
	context  map[string]any
}

// factsOf checks a principal. Whatever does not fit the schema is refused: the
// validation of the policies holds only for entities that do.
func (s *snapshot) factsOf(p Principal) (*facts, error) {
	if p.Tenant == "" {
		return nil, fmt.Errorf("%w: Principal.Tenant, the principal's", ErrTenant)
	}
	if err := checkID("principal", "", "tenant", p.Tenant); err != nil {
		return nil, err
	}
	kind := p.Type
	if kind == "" {
		kind = "User"
	}
	if err := s.contextNames(p.Context); err != nil {
		return nil, err
	}
	a := &facts{
		tenant: p.Tenant, uid: cedarx.NewEntityUID(cedarx.EntityType(kind), p.ID),
		entities: make(cedarx.EntityMap, 1+len(p.Entities)), context: kept(p.Context),
	}
	if err := s.addEntity(a.entities, "principal", Entity{Type: kind, ID: p.ID, Attrs: p.Attrs, Parents: p.Parents}); err != nil {
		return nil, err
	}
	for _, e := range p.Entities {
		if err := s.addEntity(a.entities, "entity", e); err != nil {
			return nil, err
		}
	}
	a.groups = closure(layered{a.entities, s.static.entities}, a.uid)
	return a, nil
}

func (s *snapshot) addEntity(to cedarx.EntityMap, part string, e Entity) error {
	refused := func(name, text string) error { return &RequestError{Part: part, Name: name, Text: text} }
	kind := cedarx.EntityType(e.Type)
	attrs, known := s.schema.Entities[kind]
	if !known {
		return refused(e.Type, "the schema has no such entity type")
	}
	if err := checkID(part, e.Type, "id", e.ID); err != nil {
		return err
	}
	record, name, err := attributesOf(attrs, e.Attrs)
	if err == nil && !plain(record) {
		name, err = e.Type, errText
	}
	if err != nil {
		return refused(name, fault(err))
	}
	parents := make([]cedarx.EntityUID, 0, len(e.Parents))
	for _, p := range e.Parents {
		if !s.schema.MayBeIn(kind, cedarx.EntityType(p.Type)) {
			return refused(p.Type, "the schema does not let "+e.Type+" be in it")
		}
		if err := checkID(part, p.Type, "id", p.ID); err != nil {
			return err
		}
		parents = append(parents, cedarx.NewEntityUID(cedarx.EntityType(p.Type), p.ID))
	}
	uid := cedarx.NewEntityUID(kind, e.ID)
	if _, twice := to[uid]; twice {
		return refused(e.Type, "the same entity is given twice")
	}
	entity := cedarx.Entity{UID: uid, Attributes: record, Parents: cedarx.Parents(parents...)}
	if static, known := s.static.entities[uid]; known && !static.Equal(entity) {
		return refused(e.Type, "Config.Entities has this entity otherwise; leave it out, or bring the same")
	}
	to[uid] = entity
	return nil
}

// contextNames refuses a name that no action declares: misspelt, it would
// leave a forbid without its ground.
func (s *snapshot) contextNames(context map[string]any) error {
	for name := range context {
		declared := false
		for _, action := range s.actions {
			_, known := action.Context[name]
			declared = declared || known
		}
		if !declared {
			return &RequestError{Part: "context", Name: name, Text: "no action declares it"}
		}
	}
	return nil
}

// question is one action on one table by one actor.
type question struct {
	*facts
	action  cedarx.Action
	table   *table
	context cedarx.Record
}

func (s *snapshot) question(a *facts, actionID, record string) (*question, error) {
	action, known := s.actions[actionID]
	if !known {
		return nil, &RequestError{Part: "action", Name: actionID, Text: noAction(s.schema, actionID)}
	}
	t, err := s.bound(record)
	switch {
	case err != nil:
		return nil, err
	case !slices.Contains(action.Resources, t.kind):
		return nil, &RequestError{Part: "action", Name: actionID, Text: "does not apply to records of type " + record}
	case !slices.Contains(action.Principals, a.uid.Type):
		return nil, &RequestError{Part: "action", Name: actionID, Text: "does not apply to principals of type " + string(a.uid.Type)}
	}
	context, name, err := s.contextOf(action, a.context)
	if err == nil && !plain(context) {
		err = errText
	}
	if err != nil {
		return nil, &RequestError{Part: "context", Name: name, Text: fault(err)}
	}
	return &question{facts: a, action: action, table: t, context: context}, nil
}

// contextOf is the context of an action, as far as some policy reads it. Of all
// else counts only whether it is there: the principal is kept without its values,
// so that a bad one of an earlier question would fail this one.
func (s *snapshot) contextOf(action cedarx.Action, given map[string]any) (context cedarx.Record, name string, err error) {
	attrs, values := cedarx.Attributes{}, map[string]any{}
	for name, attr := range action.Context {
		v, is := given[name]
		if s.contextRead[name] {
			attrs[name] = attr
			if is {
				values[name] = v
			}
			continue
		}
		if read, err := value.Of(v); attr.Required && err == nil && read.IsNull() {
			return cedarx.Record{}, name, errMissing
		}
	}
	return attributesOf(attrs, values)
}

// env is what conditions that do not look at the record are evaluated in.
func (s *snapshot) env(q *question) *cedarx.Env {
	return &cedarx.Env{
		Entities: layered{q.entities, s.static.entities, s.actionEntities}, Principal: q.uid, Action: q.action.UID, Context: q.context,
	}
}

// layered looks an entity up in several maps, first come first served.
type layered []cedarx.EntityMap

// Get finds an entity.
func (l layered) Get(uid cedarx.EntityUID) (cedarx.Entity, bool) {
	for _, m := range l {
		if e, known := m[uid]; known {
			return e, true
		}
	}
	return cedarx.Entity{}, false
}
