// Package accesscontrol decides who may do what, from one policy written in
// Cedar (https://www.cedarpolicy.com), and gives four answers from it: the
// decision about one record, the reason, the SQL condition that selects the
// permitted rows of a table, and the fields of a record that may be read, seen
// under a mask, or changed.
// Package roles, below it, writes the Cedar of the usual roles and keeps who
// holds them: begin there.
//
// The first lines; must stands for what is done about an error, and the example
// FirstLines has what stands around them:
//
//	policy := must(accesscontrol.Load(ctx, accesscontrol.Config{
//		Texts: map[string]string{ // or Files, an embed.FS
//			"crm.cedarschema": `entity User; entity Contact = { owner: User }; action "contact.read" appliesTo { principal: User, resource: Contact };`,
//			"crm.cedar":       `@id("own") permit (principal, action == Action::"contact.read", resource) when { resource.owner == principal };`,
//		},
//		Tables: []accesscontrol.Table{{
//			Resource: "contact", Entity: "Contact", Name: "contacts", Key: "id", Tenant: "tenant",
//			Columns: []accesscontrol.Column{{Attr: "owner", Required: true}},
//		}},
//	}))
//	ann := accesscontrol.Principal{Type: "User", ID: "ann", Tenant: "main"}
//	session := must(policy.For(ann))                   // for one request of hers
//	err := session.Check(ctx, "contact.read", contact) // nil, or why not
//	where := must(session.Filter(ctx, "contact.read", "contact"))
//	condition, args := where.Postgres("c", 1) // or SQLite, MySQL, Gorm
//
// # Promises
//
//   - The condition of [Actor.Filter] selects exactly the rows for which
//     [Actor.Check] answers nil: both are readings of one condition, and so are
//     [Actor.Fields], [Actor.Columns] and [Actor.CheckChange]. It is a plain part of a WHERE,
//     which leaves the indexes to the database; [Where.Value] is never NULL, so
//     its negation selects exactly the others. A condition that cannot be
//     written in SQL is an error of [Load] that names policy and position;
//     nothing is ever filtered after the query.
//   - A policy sees the record that is asked about, the principal with what it
//     brings along, the context, and the records that a [Column] with Join refers
//     to, as resource.account.owner. One that reads another record of a bound
//     type is refused.
//   - Where a record that is referred to is not there, or another tenant's, it has
//     no attributes: what reads them has failed, in a check and in SQL. A check to
//     which it was not brought in [Resource.Related] is an error.
//   - Texts are equal where their bytes are, whatever the collation of a column:
//     tenant "t" is not "T", nor "t ".
//   - Nothing but names of the binding, fixed words and placeholders stands in
//     the SQL text. Values are bind arguments, always.
//   - Only policies that pass Cedar's strict validation load. Every policy has
//     an @id, and no id stands twice.
//   - Without a permit the answer is no. A forbid that cannot be evaluated
//     denies, in a check and in SQL. Whatever cannot be answered is an error,
//     and only nil is a yes.
//   - The tenant is compared outside the policies, and no policy can lift that.
//     [Policy.Allower] guesses no tenant: a resource with an id is judged as the
//     record that [Config.Find] answers, or refused.
//   - The elements of a [Set] are those that the rows of its tables give, each
//     table behind the fence of the tenant: two tenants with equal ids never
//     meet. contains, containsAny, containsAll, isEmpty and in mean in SQL what
//     they mean in Cedar; other questions about it are refused at [Load].
//   - Sealed columns cannot stand in a condition: comparing ciphertext would
//     be false without an error, and a forbid would not forbid.
//   - A change of policy holds from the next call on, for an [Actor] that is
//     held, too. So does a change of the principal's rights where the principal
//     is handed in at each call; an Actor knows them as they were when it was
//     taken, for [Config.Hold] at most, and one of [Policy.Follow] as its source
//     has them at each call. No decision is kept: what is kept is
//     found only by a principal who is the same in all that was handed in.
//   - A field is readable where the binding declares it, and nowhere else.
//     Policies say of each field and record whether it is hidden, masked,
//     readable or writable, and a changed field that is not writable refuses the
//     change. A [Mask] shows the same text of the same value in [Actor.Redact]
//     and in the SQL of [Actor.Columns], which has the database hide and mask
//     row by row.
//   - A field that [Actor.CheckUse] lets people sort, filter or count by is
//     hidden in no row that they see; [Actor.FilterUsing] selects the rows that
//     show it.
//   - What a check costs does not grow with the number of policies, only with
//     those about this principal and this action. A second check of the same
//     principal allocates nothing.
//
// SECURITY.md, "Known faults", lists what is known to break these promises
// today.
//
// # Not promised
//
//   - That the principal is who they claim to be, or that the attributes and
//     groups given here are true. They are taken from the application.
//   - Agreement between filter and checks on tables that [Policy.CheckSchema]
//     refuses: a nullable column where the schema requires a value, a
//     collation of PostgreSQL that takes different texts for equal.
//   - Agreement where a [Timestamp] column holds infinity, or a time before the
//     year 1 or after 9999, or a [Date] column what is no date; of masks, where a
//     text of SQLite is not UTF-8, or where a driver makes another day of one that
//     is none, as that of MySQL does.
//   - Agreement where a text of SQLite holds NUL and a policy asks what it is
//     like: in a filter it is like nothing, and unlike nothing.
//   - That nothing changes between a check and a later write. Repeat the
//     filter in the UPDATE or DELETE.
//   - That a field does not leak where people sort, filter, group, search or
//     count by it and [Actor.CheckUse] was not asked before; nor what a mask
//     leaves: a domain of one's own is a name.
//   - Secrecy of reasons: they hold no personal data, and tell that a record is
//     there. Show an outsider what [Actor.Outside] answers, or [Reason.Outside]
//     of records that they may see. Package httpguard does.
//   - Arithmetic on columns, sets in a column, decimals, attributes of
//     entities that no table binds, and tags are not translated. On records
//     without a table all of Cedar works.
//   - That a statement changes or deletes the right rows of MySQL or MariaDB where
//     its filter reads their own table again, through a Join or Set to it: MySQL
//     refuses it, and MariaDB sees its own changes while it looks. Select the ids
//     first, FOR UPDATE.
//
// # First calls
//
// [Load] once at start, [Policy.CheckSchema] after migrations. It asks of a
// table that it is STRICT on SQLite, that columns have the types below, and NOT
// NULL where the schema requires a value. Then [Policy.For] where a request
// begins, [Actor.Check] before a change, [Actor.Filter] in every list,
// [Actor.Redact] before showing a record, or [Actor.Columns] beside the filter,
// [Actor.CheckUse] before sorting by what somebody names, [Actor.CheckChange]
// before storing one. [Actor.Fields] says what a form may show and change, and
// [Actor.Decide] is for the curious. An Actor that is held for longer than a
// request is one of [Policy.Follow], or of a store of package roles. Each of them
// is a method of Policy, too, for a single question. [Actor.Page] gives a list in
// parts that stay whole while rows come and go; the example Actor.Page (List) is a
// whole one. One row that stands in the table needs no Resource: a SELECT by its
// id that repeats the filter finds it where it may be seen. What every principal
// sees, such as the tree of units, stands in [Config.Entities].
//
// Before a policy decides, a [Shadow] runs it beside the code that does; before
// it is changed, [Diff] and [DiffRows] say whose answers change. Those who review
// rights ask [Policy.WhoCan] of a record and [Policy.WhatCan] of a person.
//
// # Concurrency
//
// A [Policy] may be used by any number of goroutines while [Policy.Reload]
// replaces its set: each call works on one whole set, readers never wait. So may
// an [Actor]. A [Where] is a value. No goroutine is started but by [Shadow.Check],
// of which [ShadowLimit] may outlive their call. Between calls a
// Policy keeps up to 1,024 principals with what the policies leave of them.
//
// # Columns
//
// What a column may be, the usual type first; in brackets, what [Column.As] says
// of it. [Policy.CheckSchema] names any other, and what to do with it.
//
//	             PostgreSQL              MariaDB, MySQL             SQLite (STRICT)
//	String,      text, varchar           VARCHAR, VARBINARY, CHAR,  TEXT
//	entity       uuid [UUID]             TEXT, ENUM
//	             an enum [Enum]          UUID of MariaDB [UUID]
//	             bigint ... [Integer]    BIGINT ... [Integer]       INTEGER [Integer]
//	Long         bigint ... smallint     BIGINT ... TINYINT         INTEGER
//	Bool         boolean                 BOOLEAN, BIT(1)            INTEGER
//	             smallint ... [Integer]
//	datetime     timestamptz [Timestamp] DATETIME in UTC [Timestamp]
//	             date [Date]             DATE [Date]                TEXT [Date]
//
// An attribute of type Set stands in rows of other tables: see [Set].
//
// # Errors
//
//	ErrDenied    permanent  the answer is no; errors.As finds the *Denied,
//	                        which has the reason
//	ErrRequest   permanent  the question is wrong: unknown action, missing
//	                        attribute, wrong type; a fault of the caller
//	ErrTenant    permanent  a tenant is missing; also ErrRequest
//	ErrStale     permanent  the Actor is older than Config.Hold: read the
//	                        principal anew, and take another one
//	ErrNotLoaded permanent  take the Policy that Load returned
//	ErrCursor    permanent  a cursor is none of this list and order: begin anew;
//	                        also ErrRequest
//	ErrTooLarge  permanent  the principal brings along more than MaxValues values;
//	                        use a group or an attribute instead of a list
//	ErrPolicy    permanent  the policy set was refused; *PolicyError lists why;
//	                        the set before it stays in force
//	ErrSchema    permanent  live tables differ from the binding; *SchemaError
//	                        lists where; migrate, or correct the binding
//	other        temporary  the context ended, the files cannot be read, the
//	                        database failed
//
// # Observation
//
// [Config.Observe] gets accesscontrol.check (1 allowed, 0 denied; action,
// resource, reason), accesscontrol.filter (number of bind values; action,
// record) and accesscontrol.reload (number of policies; policyset). The names
// are kept like API, and none of the attributes is about a person.
//
// [Policy.Status] answers findings, all of them each time; where a type or an
// action is not well, a line with its name stands behind the sum, for ten at
// most:
//
//	accesscontrol.policy               policies  in force, with the hash as subject, and since when
//	accesscontrol.reload.refused       reloads   alarm: an older set is in force than was wanted
//	accesscontrol.schema               tables    bound to SQL; notice: not compared with the database; alarm: they differ
//	accesscontrol.types.unbound        types     notice: the schema has actions on records that no Table binds
//	accesscontrol.actions.unpermitted  actions   notice: bound by a Table, and no permit is about them
//
// # Format and compatibility
//
// Policies and schema are Cedar text, *.cedar and *.cedarschema, and work with
// any Cedar engine; the tenant rule and failing forbids are ours and stricter.
// [Policy.Hash] may change until v0.1.0, as everything here, and not after.
// The SQL of a filter may change between versions of the library, its meaning
// may not. Stability: settling.
package accesscontrol
