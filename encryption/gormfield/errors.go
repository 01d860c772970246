package gormfield

import (
	"errors"
	"strings"
)

// The sentinels: what errors.Is finds in every error of this package.
// Those of package encryption (ErrErased, ErrStore, ...) come through besides.
var (
	// ErrUnsealed: a sealed field came to a statement that the plugin has not
	// seen. Nothing was written. Call db.Use with the Plugin.
	ErrUnsealed = errors.New("gormfield: a sealed field came to a statement without the plugin: call db.Use")
	// ErrUnopened: a sealed cell came to a field past the plugin, or from
	// [ByHand]. Read it through GORM, or scan it into an encryption.Sealed.
	ErrUnopened = errors.New("gormfield: a sealed cell came to a field without the plugin")
	// ErrOwner: whose key it is, or which row, is not known: the model or the
	// result lacks the column that the error names, or the statement would take
	// sealed values away from the owner, the tenant or the row that they are
	// bound to.
	ErrOwner = errors.New("gormfield: the owner, tenant or row of a sealed value is missing or would change")
	// ErrSearch: a sealed column stands in a condition, an order, a group or an
	// expression, where every row holds other bytes. Use [Plugin.Lookup].
	ErrSearch = errors.New("gormfield: a sealed column cannot be searched, sorted or computed with: use Lookup, on its blind index")
	// ErrRaw: raw SQL writes to a sealed table, or reads it in a way that cannot
	// be followed. Use the methods of GORM, or [ByHand].
	ErrRaw = errors.New("gormfield: raw SQL on a sealed table")
	// ErrModel: a model and the definition of its table disagree.
	ErrModel = errors.New("gormfield: the model does not fit the definition of its table")
	// ErrPool: the key store waits for the only connection of a pool, which the
	// statement itself holds. Nothing was written. Call [Plugin.Ensure] before the
	// transaction, or give the pool a second connection.
	ErrPool = errors.New("gormfield: the key store waits for the connection that this statement holds: call Ensure before the transaction, or give the pool a second connection")
	// ErrLost: a statement would put nothing in the place of a value that did not
	// open when it was read. Leave the column out, or set it alone by Update.
	ErrLost = errors.New("gormfield: a value that does not open would be lost: leave the column out (Omit), or set it alone by Update")
	// ErrUnguarded: the database would take a value in the clear for a sealed
	// column. Execute what [Plugin.GuardSQL] returns, as the owner of the table.
	ErrUnguarded = errors.New("gormfield: the database takes values in the clear for a sealed column: execute what GuardSQL returns")
	// ErrValue: a value for a sealed column is no text and no bytes, or is an
	// expression that the database would compute.
	ErrValue = errors.New("gormfield: a sealed column takes text or bytes")
)

// FieldError says where it happened. It never holds a value.
type FieldError struct {
	Op     string // what was tried, or what is missing
	Table  string // the table, as the definition names it
	Column string // SQL name of the column, "" where it is about the table
	Err    error  // a sentinel, or what package encryption said
}

// Error joins the parts.
func (e *FieldError) Error() string {
	var b strings.Builder
	b.WriteString("gormfield: ")
	b.WriteString(e.Table)
	if e.Column != "" {
		b.WriteString("." + e.Column)
	}
	b.WriteString(": ")
	if e.Op != "" {
		b.WriteString(e.Op + ": ")
	}
	b.WriteString(strings.TrimPrefix(e.Err.Error(), "gormfield: "))
	return b.String()
}

// Unwrap returns the reason.
func (e *FieldError) Unwrap() error { return e.Err }
