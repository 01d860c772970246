package accesscontrol

import (
	"context"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// The endings of the two kinds of text.
const (
	policySuffix = ".cedar"
	schemaSuffix = ".cedarschema"
)

// Config is what [Load] and [Policy.Reload] need. Files or Texts hold the
// policy; Tables says what the records of the policy are called in calls and
// where they stand in the database.
type Config struct {
	// Files is read whole, sub-folders included: every *.cedar file is policy
	// text, the one *.cedarschema file is the schema. Other files are ignored.
	Files fs.FS
	// Texts maps a file name to its text, beside Files or instead of them.
	Texts map[string]string
	// Tables binds Cedar entity types to names in calls and to SQL.
	Tables []Table
	// Entities are known to every principal without being brought along: the
	// tree of units, teams, territories. They are those of all tenants: what
	// two tenants may call by the same id is brought by the principal. An
	// entity that stands here may be brought only as it stands here. They
	// change with [Policy.Reload], and do not enter [Policy.Hash].
	Entities []Entity
	// Find fetches the record for [Policy.Allower], which is given only a type
	// and an id, with the tenant that the record truly belongs to; an error of
	// it refuses. Nil means that Allower refuses every resource with an id.
	Find func(ctx context.Context, tenant, kind, id string) (Resource, error)
	// Hold is for how long an [Actor] answers; zero is [DefaultHold]. It bounds
	// for how long a right lives on that was taken from a principal meanwhile;
	// after a sleep of the machine it may be 10 ms of running time longer.
	Hold time.Duration
	// Observe gets the measurements named in the package comment; nil is
	// silence.
	Observe func(ctx context.Context, name string, value float64, attrs ...slog.Attr)
}

// Table binds one Cedar entity type.
type Table struct {
	// Resource is the name in calls, such as "contact".
	Resource string
	// Entity is the Cedar entity type, such as "Contact" or "CRM::Contact".
	Entity string
	// Name is the SQL table, "contacts", or "crm.contacts" with its schema, or
	// its database on MySQL and SQLite. Empty means that records of this type
	// are only checked, never filtered: then policies about them may use all of
	// Cedar.
	Name string
	// Key is the column of the record's id, and KeyAs its type where that is
	// not text: Integer or UUID.
	Key   string
	KeyAs ColumnType
	// Tenant is the column of the tenant, or OnlyTenant is the one tenant to
	// whom the whole table belongs. Exactly one of the two stands. TenantAs is
	// the column's type where that is not text: Integer or UUID.
	Tenant     string
	TenantAs   ColumnType
	OnlyTenant string
	// Columns binds the attributes and declares the fields: a field that stands
	// here is readable with the record unless a group holds it, and any other
	// is hidden. A required attribute has a column; an optional one that has
	// none may not stand in a condition. Where there is no table, all
	// attributes of the schema are fields.
	Columns []Column
	// Sets binds the attributes whose elements stand in other tables. Each is a
	// field, too.
	Sets []Set
	// Read, Create, Update and Delete name the actions that [Policy.Fields]
	// and [Policy.CheckChange] ask about. An empty one is refused when needed.
	Read, Create, Update, Delete string
	// Groups are fields that take an action of their own to be read.
	Groups []Group
}

// Column binds one attribute, or one field that policies never see.
type Column struct {
	// Attr is the attribute in the schema and the name of the field.
	Attr string
	// Name is the SQL column; empty means the same as Attr.
	Name string
	// Required says that the column is NOT NULL. It must agree with the
	// schema: a required attribute has a NOT NULL column, an optional one has
	// not. [Policy.CheckSchema] compares it with the live table.
	Required bool
	// Opaque says that the column holds sealed bytes. A policy that reads it
	// is refused: comparing ciphertext is false without an error.
	Opaque bool
	// Mask is what is shown of the field where a [Group] keeps it from being
	// read; empty: nothing, it is hidden. A sealed column is *** in SQL: [Columns]
	// cannot open it.
	Mask Mask
	// As is the type of the column where it is not the usual one.
	As ColumnType
	// Like says that conditions may ask whether the text is like a pattern. It is
	// declared because no index finds what a leading * stands for: a list by it
	// reads every row of the tenant that nothing else leaves out.
	Like bool
	// Join says that policies may read the attributes of the record that this
	// column refers to by its Key: resource.account.owner. A filter joins that
	// record's table, behind the same fence of the tenant; a check wants the
	// record in [Resource.Related]. The attribute is an entity that another Table
	// binds, or this one. Records behind a record may be read in turn, up to
	// [MaxJoins].
	Join bool
}

// Group is a set of fields that take one more action to be read, such as
// "contact.read.pii" for e-mail and phone. A field of more than one group takes
// the actions of each.
type Group struct {
	// Name is for people and reports.
	Name string
	// Action is asked beside the table's Read action.
	Action string
	// Masked is asked, beside the table's Read action, where Action is denied:
	// permitted, the fields that have a [Mask] are shown under it. Empty, Read
	// suffices for that.
	Masked string
	// Update is what a change of the fields takes beside the action that changes
	// the record. Empty, that one suffices, and that the field may be read.
	Update string
	// Fields are names of fields that Columns declares.
	Fields []string
}

// Replaced is the config with its policies replaced by one text. Schema and
// tables stay. It serves tests and shadow runs.
func (c Config) Replaced(policies string) Config {
	texts := map[string]string{"replaced.cedar": policies}
	for name, body := range c.Texts {
		if strings.HasSuffix(name, schemaSuffix) {
			texts[name] = body
		}
	}
	c.Texts = texts
	if c.Files != nil {
		c.Files = schemaOnly{c.Files}
	}
	return c
}

// schemaOnly shows the folders and schemas of a file system.
type schemaOnly struct{ fs.FS }

// ReadDir lists what is not policy text.
func (s schemaOnly) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(s.FS, name)
	return slices.DeleteFunc(slices.Clone(entries), func(e fs.DirEntry) bool {
		return !e.IsDir() && strings.HasSuffix(e.Name(), policySuffix)
	}), err
}
