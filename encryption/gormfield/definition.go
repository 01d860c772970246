package gormfield

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/crmguard/crmguard/encryption"
)

// sealedTable is a definition, by the names that SQL text has for it: folded,
// without schema and quotes.
type sealedTable struct {
	table   *encryption.SealedTable
	def     encryption.Table
	name    string                        // in the database
	columns map[string]*encryption.Column // sealed columns
	indexes map[string]*encryption.Column // index column -> the column it indexes
	owner   string                        // "" where nothing is bound to an owner
	tenant  string                        // "" where the table holds one tenant
	keys    []string
	byRow   bool // a column is bound to its row
	order   []string
	streams map[string]bool // columns of streams, each bound to owner and row
	// unopened: this process has read a value that does not open, and that somebody
	// may be about to save as an empty one
	unopened atomic.Bool
}

func newSealedTable(table *encryption.SealedTable, def encryption.Table) *sealedTable {
	t := &sealedTable{
		table: table, def: def, name: bare(def.SQL), tenant: bare(def.Tenant),
		streams: map[string]bool{}, columns: map[string]*encryption.Column{}, indexes: map[string]*encryption.Column{},
	}
	if def.SQL == "" {
		t.name = bare(def.Name)
	}
	key := def.Key
	if key == "" {
		key = "id"
	}
	for part := range strings.SplitSeq(key, ",") {
		t.keys = append(t.keys, bare(part))
	}
	owner := bare(def.Owner)
	if owner == "" {
		owner = "person"
	}
	t.def.Columns = append([]encryption.Column(nil), def.Columns...)
	for i := range t.def.Columns {
		col := &t.def.Columns[i]
		if col.SQL == "" {
			col.SQL = col.Name
		}
		if col.Level == 0 {
			col.Level = def.Level
		}
		if col.Level == 0 {
			col.Level = encryption.LevelOwner
		}
		if col.Level != encryption.LevelTenant || col.Stream {
			t.owner = owner
		}
		if col.Stream {
			t.streams[bare(col.SQL)] = true
			continue
		}
		t.byRow = t.byRow || col.Level == encryption.LevelRow
		t.columns[bare(col.SQL)] = col
		t.order = append(t.order, bare(col.SQL))
		if col.Find != "" {
			t.indexes[bare(col.SQL)+"_idx"] = col
		}
		for _, index := range col.Index {
			t.indexes[bare(index.Column)] = col
		}
	}
	return t
}

// streamSays is what is wrong about a value for the column of a stream.
const streamSays = "it holds a stream, which SealStream seals past GORM"

// fail is an error about a column of the table.
func (t *sealedTable) fail(column, op string, err error) error {
	return &FieldError{Op: op, Table: t.def.Name, Column: column, Err: err}
}

// binds are the columns that say what the sealed values of a row are bound to.
func (t *sealedTable) binds() []string {
	var out []string
	if t.owner != "" {
		out = append(out, t.owner)
	}
	if t.tenant != "" {
		out = append(out, t.tenant)
	}
	return out
}

// keysByRow are the columns of the key where sealed values or streams are bound to it.
func (t *sealedTable) keysByRow() []string {
	if !t.byRow && len(t.streams) == 0 {
		return nil
	}
	return slices.Clone(t.keys)
}

// bound are the columns that a row keeps while sealed values of it stay.
func (t *sealedTable) bound() []string { return append(t.binds(), t.keysByRow()...) }

// whole says whether these are all sealed values that a row has. What it has in
// streams is not GORM's to reseal, so such a row has never all of them.
func (t *sealedTable) whole(columns []string) bool {
	return len(columns) == len(t.columns) && len(t.streams) == 0
}

// bare is the last part of a name, without quotes, folded: what two spellings
// of one column have in common.
func bare(name string) string {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		name = name[i+1:]
	}
	return strings.ToLower(strings.Trim(name, " \t\r\n\"`[]"))
}
