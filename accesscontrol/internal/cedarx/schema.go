package cedarx

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// Kind is the kind of a schema type.
type Kind uint8

// The kinds of types.
const (
	String Kind = iota + 1
	Long
	Bool
	EntityRef
	Set
	RecordOf
	Extension
)

// Type is a type of the schema.
type Type struct {
	// Kind is the kind; the others stand as the kind needs them.
	Kind Kind
	// Entity is the type an EntityRef points to.
	Entity cedar.EntityType
	// Element is the type of the elements of a Set.
	Element *Type
	// Fields are the attributes of a RecordOf.
	Fields Attributes
	// Extension is datetime, decimal, duration or ipaddr.
	Extension string
}

// Attributes are attributes by name.
type Attributes map[string]Attribute

// Attribute is one attribute.
type Attribute struct {
	Type     Type
	Required bool
}

// Action is one action of the schema.
type Action struct {
	// UID is the action, Ancestors its groups, direct or not.
	UID       cedar.EntityUID
	Ancestors []cedar.EntityUID
	// Principals, Resources and Context are what it applies to.
	Principals, Resources []cedar.EntityType
	Context               Attributes
}

// Schema is a resolved schema with its validator.
type Schema struct {
	// Actions by their uid.
	Actions map[cedar.EntityUID]Action
	// Entities are the attributes of each entity type.
	Entities map[cedar.EntityType]Attributes
	// Tags are the types of the tags of those entity types that have any.
	Tags      map[cedar.EntityType]Type
	parents   map[cedar.EntityType][]cedar.EntityType
	validator *validate.Validator
}

// ParseSchema reads schema text and resolves it.
func ParseSchema(file string, text []byte) (*Schema, error) {
	var source schema.Schema
	source.SetFilename(file)
	if err := source.UnmarshalCedar(text); err != nil {
		return nil, err
	}
	r, err := source.Resolve()
	if err != nil {
		return nil, err
	}
	s := &Schema{
		Actions:   make(map[cedar.EntityUID]Action, len(r.Actions)),
		Entities:  make(map[cedar.EntityType]Attributes, len(r.Entities)),
		Tags:      make(map[cedar.EntityType]Type),
		parents:   make(map[cedar.EntityType][]cedar.EntityType),
		validator: validate.New(r, validate.WithStrict()),
	}
	for name, entity := range r.Entities {
		s.Entities[name] = attributes(entity.Shape)
		s.parents[name] = entity.ParentTypes
		if entity.Tags != nil {
			s.Tags[name] = typeOf(entity.Tags)
		}
	}
	for name := range r.Enums {
		s.Entities[name] = Attributes{}
	}
	for uid, action := range r.Actions {
		a := Action{UID: uid, Ancestors: ancestors(r, uid)}
		if action.AppliesTo != nil {
			a.Principals, a.Resources = action.AppliesTo.Principals, action.AppliesTo.Resources
			a.Context = attributes(action.AppliesTo.Context)
		}
		s.Actions[uid] = a
	}
	return s, nil
}

// ancestors ends: resolving a schema refuses cycles, and seen is kept anyway.
func ancestors(r *resolved.Schema, uid cedar.EntityUID) []cedar.EntityUID {
	var out []cedar.EntityUID
	next := []cedar.EntityUID{uid}
	for len(next) > 0 {
		current := next[0]
		next = next[1:]
		for parent := range r.Actions[current].Entity.Parents.All() {
			if !slices.Contains(out, parent) {
				out = append(out, parent)
				next = append(next, parent)
			}
		}
	}
	return out
}

func attributes(record resolved.RecordType) Attributes {
	out := make(Attributes, len(record))
	for name, a := range record {
		out[string(name)] = Attribute{Type: typeOf(a.Type), Required: !a.Optional}
	}
	return out
}

func typeOf(t resolved.IsType) Type {
	switch t := t.(type) {
	case resolved.StringType:
		return Type{Kind: String}
	case resolved.LongType:
		return Type{Kind: Long}
	case resolved.BoolType:
		return Type{Kind: Bool}
	case resolved.EntityType:
		return Type{Kind: EntityRef, Entity: cedar.EntityType(t)}
	case resolved.SetType:
		element := typeOf(t.Element)
		return Type{Kind: Set, Element: &element}
	case resolved.RecordType:
		return Type{Kind: RecordOf, Fields: attributes(t)}
	case resolved.ExtensionType:
		return Type{Kind: Extension, Extension: string(t)}
	default:
		return Type{}
	}
}

// MayBeIn says whether an entity of type child can have an ancestor of type
// parent.
func (s *Schema) MayBeIn(child, parent cedar.EntityType) bool {
	seen := map[cedar.EntityType]bool{}
	next := []cedar.EntityType{child}
	for len(next) > 0 {
		current := next[0]
		next = next[1:]
		for _, p := range s.parents[current] {
			if p == parent {
				return true
			}
			if !seen[p] {
				seen[p] = true
				next = append(next, p)
			}
		}
	}
	return false
}

// Validate checks a policy in strict mode and lists its faults, each once:
// the validator repeats a fault for every kind of request.
func (s *Schema) Validate(p *Policy) []string {
	err := s.validator.Policy("", p.raw)
	if err == nil {
		return nil
	}
	var out []string
	for _, e := range flatten(err) {
		if text := e.Error(); !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return out
}

func flatten(err error) []error {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return []error{err}
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, flatten(e)...)
	}
	return out
}

// ParseExtension reads the text of an extension value.
func ParseExtension(name, text string) (cedar.Value, error) {
	switch name {
	case "datetime":
		return types.ParseDatetime(text)
	case "decimal":
		return types.ParseDecimal(text)
	case "duration":
		return types.ParseDuration(text)
	case "ipaddr":
		return types.ParseIPAddr(text)
	default:
		return nil, fmt.Errorf("unknown extension %s", name)
	}
}
