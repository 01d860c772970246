// Package rowjob does the work of package encryption over whole tables of an
// application: it reads rows in pages of a key, opens and seals their cells, swaps
// what still holds the bytes that were read, reads back what was written, and
// counts what stands there. What it does not get done with a row, it names.
//
// It knows a table as a [Table] describes it, and of a vault only the key ring, its
// configuration and a few funcs. It makes no promises of its own: those of the
// methods of encryption.SealedTable and encryption.Vault are its promises.
package rowjob

import (
	"context"
	"database/sql"
	"slices"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// Vault is what the jobs need of a vault.
type Vault struct {
	Ring   *keyring.Ring
	Config keyring.Config       // complete
	Met    func(dbs ...*sql.DB) // a database that was handed to a job
}

// Table is a declared table, complete.
type Table struct {
	Vault   *Vault // whose table it is; what follows is as Table of package encryption has it
	Name    string // logical
	SQL     string
	Key     string
	Owner   string
	Shared  bool
	Tenant  string
	Columns []Column
	Indexes []Index

	// IndexValues returns what computes the values of indexes, by position, as a
	// column stores them: nil, int64 or bytes.
	IndexValues func(ctx context.Context, tenant string) (func(i int, value string) (any, error), error)
	// Fenced lists the index versions that are searched once a pass over all rows
	// has found nothing to correct, and when keys came back last; Promote says that it
	// has, and answers keyring.ErrStale where keys have come back since.
	Fenced  func(ctx context.Context, tenant string) (fenced []keystore.IndexRow, returned int64, err error)
	Promote func(ctx context.Context, tenant string, fenced []keystore.IndexRow, returned int64) error
	// RecordWriter returns what seals a row for a record owner.
	RecordWriter func(ctx context.Context, tenant, owner, row string) (Writer, error)
}

// Writer seals a row: what it answers is what a column stores.
type Writer interface {
	Sealed(column string, value []byte) (any, error)
	Index(column, value string) (any, error)
}

// Column is a sealed column.
type Column struct {
	Name   string // logical
	SQL    string
	Level  byte
	Text   bool
	Pad    int
	Stream bool
}

// Index is a version of an index.
type Index struct {
	Column  string // in SQL
	Name    string // logical
	Version uint32
	Of      int // position of the sealed column
	Bits    int // up to 63 a number, wider ones bytes
}

// at finds a column by its logical name.
func (t *Table) at(column string) (int, bool) {
	i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == column })
	return i, i >= 0
}

// detail adds table and column to an error, without changing its sentinel.
func (t *Table) detail(err error, column string) error { return keyring.Where(err, t.Name, column) }
