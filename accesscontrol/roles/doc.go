// Package roles is role-based access control without a line of Cedar: a literal
// says what roles may do, tables who holds them, package accesscontrol answers.
//
//	crm := map[string]roles.Role{
//		"rep":     roles.Can("deal.read", "deal.update").Own("owner_id"),  // 本人
//		"manager": roles.Can("deal.read").Unit("unit_id").Inherits("rep"), // 本部门
//		"auditor": roles.Can("deal.read"),                                 // 全公司
//	}
//	set := must(roles.New(roles.Model{Roles: crm, Tables: []accesscontrol.Table{{
//		Resource: "deal", Entity: "Deal", Name: "deals", Key: "id", Tenant: "tenant",
//		Columns: []accesscontrol.Column{{Attr: "owner_id", Required: true}, {Attr: "unit_id", Required: true}},
//	}}}))
//	policy := must(accesscontrol.Load(ctx, set.Config()))
//	check(roles.Install(ctx, db)) // as the owner of the tables
//	store := must(roles.Open(ctx, db, set, roles.Options{}))
//	// once a tenant, by a command on the server: a second time it is Held
//	check(store.Bootstrap(ctx, roles.Assignment{Tenant: "main", Principal: "ann", Role: "manager", Scope: roles.InUnit("south"), MayGive: true}))
//	ann := must(store.Principal(ctx, "main", "ann")) // once a request
//	where := must(policy.Filter(ctx, ann, "deal.read", "deal"))
//
// must and check stand for what is done about an error, and the example
// FirstLines has what stands around them.
//
// # How it works
//
// A role is actions, each with a reach: which records. The reaches are the usual
// ones of a CRM, a method each: all (全公司), [Role.Own] (本人), [Role.Reports]
// for owner and managers (本人及下属), [Role.Unit] (本部门), [Role.Units]
// (本部门及下级), [Role.Team] (团队), [Role.Territory] (区域). The last four look
// at what the assignment names: somebody is manager in one unit and rep in
// another, and neither right reaches where the other does. [Set.Config] writes
// all of it as Cedar and schema, so there is one engine, the text can be printed
// and reviewed, and policies of your own stand beside it: relations such as an
// account of mine or a list that I follow are among those (example
// Set.Config (Beside)). The id of a policy names role, action and reach, and with
// it every explanation: "rep/deal.read/own.owner_id".
//
// # Promises
//
//   - Nobody gives what they do not have: [Store.Assign] takes a giver who holds
//     the role now with MayGive, for that scope or one above, for at least as
//     long. Only [Store.Bootstrap], for the operator, needs no giver.
//   - [Store.Revoke] takes with a role all that was given on with it, at any depth.
//   - Of the roles of a set in [Model.Exclusive] nobody holds two: inherited ones
//     count, and those of another scope or time. Changes of one tenant run one
//     after the other, so two at once do not break together what neither breaks.
//   - What is held now is said by the clock of the database; that of the process
//     may be years off. (SQLite has none of its own: there it is the host's.)
//   - A change holds from the next [Store.Principal] of the same store on, in
//     other processes after [Options.MaxAge], 5 seconds unless you say otherwise.
//     So it does for an Actor of [Store.For] that is held meanwhile, which asks
//     no database until then. One that Policy.For has taken of a Principal goes
//     on for its Hold.
//   - A change that stands still holds up other changes of the tenant, until their
//     context ends, and no question. (SQLite has one writer; questions go on there
//     where its journal is a write-ahead log.)
//   - Tenants never meet: an equal id, role or unit of another one is another.
//     Ids are compared byte for byte.
//   - A role without its unit gives nothing, and a scope that a role does not
//     look at is refused. A row that names an unknown role gives nothing.
//   - With a [Tagger], whoever can write into the tables and has no key can give
//     nobody a role, lengthen none and widen none: such a row is [ErrForged].
//
// # Not promised
//
//   - Anything against who writes into the tables where there is no Tagger. With
//     one, such a person can still remove rows, put back a row that stood before
//     and was revoked, and stop answers about a person by a forged row, and changes
//     of a tenant by a forged role of it. Give the
//     tables to the application's role alone ([Grants]: it changes no row), and
//     keep the audit trail of assignments elsewhere.
//   - That tables which were put back to an older state are told from those of
//     today: their rows and tags are genuine. A process whose [Store.Status] saw
//     more changes says so; one that was started since cannot. The value of
//     accesscontrol.roles.changes only rises: let your monitoring watch it.
//   - That a giver still has what they gave: taking away cascades; a role that
//     ends by itself ends what was given on, as nothing may outlast it.
//   - A log: [Store.Revoke] and [Store.Dismiss] return what they took for the
//     audit trail, and rows that are over stay until [Store.Prune].
//   - That a set which comes into [Model.Exclusive] later takes anything away:
//     [Store.Conflicts] says who holds two of it.
//   - Dynamic separation of duty, approval, and rights for single records.
//   - That By is who they say: hand in the id of the session.
//
// # First call
//
// [New] and accesscontrol.Load at start; [Install] as the owner of the tables, or
// the [Migrations]; [Open]; [Store.Bootstrap] once a tenant, by a command on the
// server. Then [Store.Assign], [Store.Revoke], and [Store.Principal] once a
// request, whose answer goes into Check, Filter or For; [Store.For] where an Actor
// outlives a request, and [Store.Principals] for "who can see this record". Where
// roles come from a token or a directory, [Set.Principal] needs no tables.
//
// # Concurrency
//
// A [Set] and a [Store] are safe for concurrent use, a store with other processes
// as well. [Model.Below] is called outside of transactions. A tagger that asks
// the same database needs a connection beside the one that a change holds. No
// goroutine is started.
//
// # Errors
//
//	ErrModel        permanent  *ModelError lists what is wrong with the literal
//	ErrRefused      permanent  a rule forbids it: *RefusedError says which
//	ErrRequest      permanent  a field breaks the rule for ids, or is missing
//	ErrNotHeld      permanent  nothing like it was there to be taken away
//	ErrForged       permanent  a row was written past this package; remove it
//	ErrSchema       permanent  call Install, or apply Migrations
//	ErrStandby      temporary  connect to the primary
//	ErrRowSecurity  permanent  use a role that sees all rows
//
// All others are what the database, the keys or Below answered. No error holds
// an id of a person.
//
// # Observation
//
// [Store.Status] answers findings, all of them each time; where something is not
// well, a line for each tenant, or role, stands behind the sum, for ten at most:
//
//	accesscontrol.roles.held        assignments  of any tenant, now
//	accesscontrol.roles.forged      rows         alarm: they do not bear their tag; notice: there is no Tagger
//	accesscontrol.roles.undefined   assignments  alarm: of a role that neither the model nor the tenant has
//	accesscontrol.roles.shadowed    roles        alarm: of a tenant, and the model has one of that name by now
//	accesscontrol.roles.conflicts   principals   alarm: they hold roles that exclude each other
//	accesscontrol.roles.baseless    assignments  notice: who gave them no longer holds what they gave
//	accesscontrol.roles.expired     assignments  notice: over for more than 90 days
//	accesscontrol.roles.changes     changes      since the tables are there, the last one at Since; alarm: they were put back
//	accesscontrol.roles.clock       s            alarm: five minutes between the clocks of database and process, or behind the last change
//	accesscontrol.roles.durability  settings     of the database that lose what was committed
//	accesscontrol.roles.replica     sources      notice: the database follows another one (MariaDB)
//
// The names are kept like API.
//
// # Format and compatibility
//
// Tables and tags: formats.md, section 15. The generated Cedar may change between
// versions, its meaning may not. Stability: settling; tables may change until
// v0.1.0.
package roles
