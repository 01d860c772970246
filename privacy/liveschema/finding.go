package liveschema

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/health"
)

// ErrUnfit is wrapped by the error of [Findings.Err].
var ErrUnfit = errors.New("liveschema: the schema and the data map do not fit")

// Level says how bad a finding is.
type Level = health.Level

// The levels of a finding.
const (
	Notice = health.Notice // somebody should know
	Alarm  = health.Alarm  // an erasure would fail, or what is said of it would not be true
)

// Kind says what was found.
type Kind string

// The kinds. Each has one remedy, see [Finding.Remedy].
const (
	UnclassifiedTable  Kind = "unclassified table"       // in the database, not in the map
	UnclassifiedColumn Kind = "unclassified column"      // in the database, not in the map
	MissingTable       Kind = "missing table"            // in the map, not in the database
	MissingColumn      Kind = "missing column"           // in the map, not in the database
	NoCategory         Kind = "no category"              // nobody has decided about the column yet
	NoPurpose          Kind = "no purpose"               // personal data, used for nothing that is stated
	NoBasis            Kind = "no legal basis"           // personal data, used without a stated right to
	UnindexedEdge      Kind = "edge without index"       // finding a person scans the table
	UnindexedIdentity  Kind = "identity without index"   // finding a person by an e-mail address scans the table
	UndeclaredEdge     Kind = "undeclared edge"          // a foreign key to a table of persons that the map does not follow
	EdgeTypes          Kind = "edge of two types"        // no index is used, or the database refuses to compare
	NoID               Kind = "no id"                    // the column of an edge holds several, or none that an id could be: rows are not found
	AmbiguousEdge      Kind = "edge to no unique key"    // it may lead to rows of others under the same value
	BlockedDeletion    Kind = "blocked deletion"         // a foreign key refuses that rows go which the map deletes
	CascadeIntoKept    Kind = "cascade into kept"        // a foreign key deletes rows that stay, or empties what an obligation needs of them
	CascadeIntoOthers  Kind = "cascade into others"      // a foreign key deletes rows that may be other people's
	DeferredConstraint Kind = "deferred constraint"      // checked at COMMIT only
	NotNull            Kind = "null not allowed"         // the map empties a column that must not be empty
	NotUnique          Kind = "equal values not allowed" // the map writes one value into a column of which each must differ
	MayCollide         Kind = "equal values may come"    // a redactor may write one value twice into such a column
	CheckConstraint    Kind = "check constraint"         // whether it allows what the map writes shows at planning
	WrongType          Kind = "wrong type"               // the column cannot hold what the map writes
	GeneratedColumn    Kind = "generated column"         // the database makes its values
	LooseComparison    Kind = "loose comparison"         // the column takes ids for one that differ in bytes
	NoUniqueKey        Kind = "no unique key"            // Key names more than one row
	ReusedNumbers      Kind = "reused numbers"           // SQLite gives the number of a row that went to a new one
	TriggerFires       Kind = "trigger"                  // it may copy what goes
	NoTransactions     Kind = "no transactions"          // half an erasure could stay
	HistoryKept        Kind = "history kept"             // the table keeps what is erased
	RowsHidden         Kind = "rows hidden"              // row level security: what is not seen stays
	NotATable          Kind = "not a table"              // a view, or a table of another server
	WordsKept          Kind = "words kept"               // a full-text index keeps words of rows that went
	OwnRows            Kind = "rows of its own"          // of a table that inherits, to which no edge leads: an erasure looks for the rows of each by itself
	LargeObject        Kind = "large object"             // the row holds its number, and it stays
	RenewedTime        Kind = "time of a change"         // the column becomes the time of each change
	HoldsCopy          Kind = "holds a copy"             // a materialized view keeps what is erased until it is refreshed
)

// Finding is one thing that was found. It names tables and columns, never a
// value.
type Finding struct {
	Kind   Kind
	Level  Level
	Table  string
	Column string // several are parted by commas; "" where the finding is about the table
	Detail string // what else is part of it: a constraint, an index, a trigger, another table
	Remedy string // what to do
}

// String is the finding as one line.
func (f Finding) String() string {
	line := f.Level.String() + ": " + f.what()
	if f.Remedy != "" {
		line += ": " + f.Remedy
	}
	return line
}

// what is the finding without level and remedy.
func (f Finding) what() string {
	line := string(f.Kind) + " " + f.Table
	if f.Column != "" {
		line += "." + f.Column
	}
	if f.Detail != "" {
		line += " (" + f.Detail + ")"
	}
	return line
}

// Findings are all that was found, alarms first.
type Findings []Finding

// Alarms are the findings that an erasure must not be carried out with.
func (f Findings) Alarms() Findings {
	return slices.DeleteFunc(slices.Clone(f), func(one Finding) bool { return one.Level < Alarm })
}

// maxLines bounds how many findings an error names.
const maxLines = 20

// Err is nil where there is no alarm, and otherwise an error that wraps
// [ErrUnfit] and names the first of them.
func (f Findings) Err() error {
	alarms := f.Alarms()
	if len(alarms) == 0 {
		return nil
	}
	var lines []string
	for _, one := range alarms[:min(len(alarms), maxLines)] {
		lines = append(lines, one.what()+": "+one.Remedy)
	}
	if more := len(alarms) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("%w: %s", ErrUnfit, strings.Join(lines, "; "))
}

func compare(a, b Finding) int {
	return cmp.Or(-cmp.Compare(a.Level, b.Level), cmp.Compare(a.what(), b.what()))
}

// remedy says what to do about a kind of finding.
func remedy(kind Kind) string {
	return map[Kind]string{
		UnclassifiedTable:  "list it in the map, with Key and Columns alone where it holds nothing about persons",
		UnclassifiedColumn: "list it in the map, without Category where it says nothing about persons",
		MissingTable:       "take it out of the map, or write its schema before its name",
		MissingColumn:      "take it out of the map",
		NoCategory:         "say what it holds, or take Category away where it is nothing about persons",
		NoPurpose:          "say Purpose, of datamap.Purposes",
		NoBasis:            "say Basis, of datamap.Bases",
		UnindexedEdge:      "create an index that begins with these columns",
		UnindexedIdentity:  `create an index on (lower(column COLLATE "C")): e-mail addresses are compared without regard to case`,
		UndeclaredEdge:     "say Edges of the table, with Unlink where its rows are not the person's own",
		EdgeTypes:          "give both columns one type, where the rows of one table only stand in it",
		AmbiguousEdge:      "create a unique index on the columns that the edge names, and name a tenant where keys are unique within one only; until then an erasure that meets such a value is refused",
		BlockedDeletion:    "say an Edge of the table, with Unlink null where its rows stay, or null for the column; where rows are kept with the id, drop the foreign key",
		CascadeIntoKept:    "make the foreign key NO ACTION or SET NULL, and say Unlink null in the map",
		CascadeIntoOthers:  "say an Edge over these columns, with Unlink null where the rows are other people's",
		DeferredConstraint: "nothing, where planning an erasure succeeds: it checks at once",
		NotNull:            "allow NULL, or redact the column",
		NotUnique:          "redact to a text with {row}, pseudonymise, or say null",
		MayCollide:         "pseudonymise, or say null",
		CheckConstraint:    "nothing, where planning an erasure succeeds: it tries",
		WrongType:          "say To with a value of the column's type that fits into it, or null",
		GeneratedColumn:    "leave Category out: it changes with the columns that it is made from",
		LooseComparison:    "nothing: the library compares bytes besides; better give ids a binary collation",
		NoUniqueKey:        "create a unique index on the columns of Key, or name others",
		ReusedNumbers:      "make the column AUTOINCREMENT, so that nobody gets the number of an erased person",
		TriggerFires:       "see what it writes: a table that it fills belongs into the map",
		NoTransactions:     "convert the table to an engine that has transactions, such as InnoDB",
		HistoryKept:        "drop the system versioning of the table",
		RowsHidden:         "use an account for which row level security is bypassed",
		NotATable:          "name the tables behind it in the map",
		NoID:               "lead over a column with one id in each row, such as a table with a row for each person",
		WordsKept:          "let an FTS5 forget: INSERT INTO it (it, rank) VALUES ('secure-delete', 1), and let triggers of the table tell it of each row that goes; on MariaDB call OPTIMIZE TABLE with innodb_optimize_fulltext_only",
		OwnRows:            "say in the map how its own rows lead to persons, as for any table",
		LargeObject:        "keep the bytes in the row (bytea), or let a trigger unlink the object, and leave Category out",
		RenewedTime:        "name a column that keeps its first value: this one is newer than an erasure behind any change",
		HoldsCopy:          "let a datastore.Func of the desk refresh it",
	}[kind]
}
