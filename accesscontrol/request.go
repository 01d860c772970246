package accesscontrol

// Principal is who acts, for one tenant, as the application knows them now.
// Nothing is kept between calls, so a role that is taken away is gone with the
// next call.
type Principal struct {
	// Tenant is for whom they act; empty is refused.
	Tenant string
	// Type is the Cedar entity type; empty means "User".
	Type string
	// ID is the opaque id.
	ID string
	// Attrs are the attributes of the schema, in the Go types of the
	// application: text, numbers, booleans, times, UUIDs, slices of them, Ref,
	// []Ref, map[string]any, named types, pointers, sql.Null* and any other
	// driver.Valuer. Text and integers stand for a reference where the schema
	// says so, "5" and 5.0 for an integer, 0 and 1 for a boolean. NULL, whatever
	// it is spelled with, is an attribute that is not there. A name that the
	// schema does not know is refused, and so is a value that is not exactly
	// what the schema says.
	Attrs map[string]any
	// Parents are the groups: roles, teams, units, direct or not.
	Parents []Ref
	// Entities are further entities that policies reach from the principal,
	// such as the team with its region, or the units below a unit.
	Entities []Entity
	// Context is what policies see as context: purpose, time, network. A name
	// that no action declares is refused; one that another action declares is
	// left out, and of one that no policy reads counts only that it is there.
	Context map[string]any
}

// Ref names an entity.
type Ref struct {
	// Type is the Cedar entity type.
	Type string
	// ID is the opaque id.
	ID string
}

// Entity is an entity that policies reach from the principal.
type Entity struct {
	// Type and ID name it.
	Type, ID string
	// Attrs and Parents are as in [Principal].
	Attrs   map[string]any
	Parents []Ref
}

// Resource is what is acted upon.
type Resource struct {
	// Type is the Resource name of a [Table], such as "contact".
	Type string
	// ID is the opaque id; integers as decimal text.
	ID string
	// Tenant is to whom it belongs; another tenant's record is denied whatever
	// the policies say.
	Tenant string
	// Attrs are the attributes by name, as in [Principal] and as a Scan gives
	// them; missing and NULL are one. NULL is nil, nil bytes, a nil pointer, a
	// sql.Null* that is not valid; empty text is not. (Of a sql.RawBytes nobody
	// can tell: most drivers leave it nil for empty text. Scan into an any.)
	// Fields of opaque columns may stand here and are not looked at, except by
	// [Policy.CheckChange]. A name that neither schema nor binding knows is
	// refused.
	Attrs map[string]any
	// Related are the records that this one refers to, by the attribute that
	// does, with their own Related in turn. Those have to be here that the
	// policies about the action read through a [Column] that is a Join, and whose
	// attribute is not NULL; others may be. A zero Resource says that the record
	// was looked for and is not there. One of another tenant than the principal's
	// counts as not there.
	Related map[string]Resource
}

// Request is the long form of a check.
type Request struct {
	// Principal acts.
	Principal Principal
	// Action is the id of a Cedar action, such as "contact.update", behind its
	// namespace where it stands in two, as in "CRM::read".
	Action string
	// Resource is acted upon.
	Resource Resource
}

// Decision is the outcome of [Policy.Decide].
type Decision struct {
	// Allowed is the answer.
	Allowed bool
	// Reason says why not; empty when allowed.
	Reason Reason
	// Policies are the ids that determined it, sorted: permits when allowed,
	// forbids when forbidden, erroring forbids when one could not be
	// evaluated.
	Policies []string
	// Failed are the ids of all policies that could not be evaluated, sorted.
	// A failed permit does not permit; a failed forbid denies.
	Failed []string
	// Nearest is the permit that came nearest when no permit applied, with the
	// first condition that was not met. Literals are left out.
	Nearest Nearest
	// PolicySet is the hash of the policy set that decided.
	PolicySet string
}

// Nearest names a permit that nearly applied.
type Nearest struct {
	// Policy is its id, empty when no permit is about this principal and action.
	Policy string
	// Condition is the first condition that was not met, such as
	// `resource.owner == principal`, with every literal as `…`.
	Condition string
}
