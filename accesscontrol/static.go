package accesscontrol

import (
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
)

// hierarchy is entities with their children, so that what stands below one of
// them is found without looking at all the others.
type hierarchy struct {
	entities cedarx.EntityMap
	children map[cedarx.EntityUID][]cedarx.EntityUID
}

func newHierarchy(entities cedarx.EntityMap) hierarchy {
	h := hierarchy{entities, map[cedarx.EntityUID][]cedarx.EntityUID{}}
	for uid, e := range entities {
		for parent := range e.Parents.All() {
			h.children[parent] = append(h.children[parent], uid)
		}
	}
	return h
}

// descendants lists the entities with everything that is in them, each once.
func descendants(of []cedarx.EntityUID, in ...hierarchy) []cedarx.EntityUID {
	seen := map[cedarx.EntityUID]bool{}
	out := make([]cedarx.EntityUID, 0, len(of))
	add := func(uids []cedarx.EntityUID) {
		for _, uid := range uids {
			if !seen[uid] {
				seen[uid] = true
				out = append(out, uid)
			}
		}
	}
	add(of)
	for next := 0; next < len(out); next++ {
		for _, h := range in {
			add(h.children[out[next]])
		}
	}
	return out
}

// bindEntities checks the entities of the config as those of a principal are
// checked. A fault names the place in the list and never the id: entities may
// be people.
func (s *snapshot) bindEntities(entities []Entity) (problems []Problem) {
	known := make(cedarx.EntityMap, len(entities))
	say := func(i int, fault string) {
		problems = append(problems, Problem{Text: fmt.Sprintf("Entities[%d]: %s", i, fault)})
	}
	for i, e := range entities {
		for _, t := range s.tables {
			if t.Name == "" && string(t.kind) == e.Type {
				say(i, "it is a record of type "+t.Resource+", which has no table: the record says what it is, at each call")
			}
		}
		if err := s.addEntity(known, "entity", e); err != nil {
			say(i, strings.TrimPrefix(err.Error(), ErrRequest.Error()+": "))
		}
	}
	for i, e := range entities {
		uid := cedarx.NewEntityUID(cedarx.EntityType(e.Type), e.ID)
		if slices.ContainsFunc(closure(known, uid), func(above cedarx.EntityUID) bool { return known[above].Parents.Contains(uid) }) ||
			known[uid].Parents.Contains(uid) {
			say(i, "it is in itself, by way of its parents")
		}
	}
	s.static = newHierarchy(known)
	return problems
}
