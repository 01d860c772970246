package encryption

import (
	"database/sql/driver"
	"fmt"
	"io"
	"log/slog"

	"github.com/crmguard/crmguard/encryption/sealedvalue"
)

// Sealed is the value of a sealed column on its way to or from the database.
// It fits database/sql, sqlc overrides and pgx (driver.Valuer, sql.Scanner, and
// what pgx calls a BytesScanner).
// A Sealed that could not be made fails when the statement is executed, so an
// unread error never becomes a NULL.
type Sealed struct {
	cell []byte // binary form; nil is NULL
	text bool
	err  error
}

// Value returns the stored form: bytes, text for text columns, or nil.
func (s Sealed) Value() (driver.Value, error) {
	switch {
	case s.err != nil:
		return nil, s.err
	case s.cell == nil:
		return nil, nil
	case s.text:
		return sealedvalue.FormatText(s.cell)
	}
	return s.cell, nil
}

// Scan takes bytes, the text form or NULL.
func (s *Sealed) Scan(src any) error {
	cell, text, err := sealedvalue.Stored(src)
	if err != nil {
		return err
	}
	*s = Sealed{cell: cell, text: text}
	return nil
}

// ScanBytes is Scan for pgx itself, without database/sql: the bytes are the
// driver's, nil for NULL.
func (s *Sealed) ScanBytes(src []byte) error {
	if src == nil {
		*s = Sealed{}
		return nil
	}
	return s.Scan(src)
}

// Bytes returns the binary form, nil for NULL: what a row seal covers.
func (s Sealed) Bytes() []byte { return s.cell }

// IsNull reports whether the column is NULL.
func (s Sealed) IsNull() bool { return s.cell == nil && s.err == nil }

// Err returns why the value could not be sealed.
func (s Sealed) Err() error { return s.err }

// String never shows the bytes.
func (s Sealed) String() string {
	switch {
	case s.err != nil:
		return "sealed(failed)"
	case s.cell == nil:
		return "sealed(null)"
	}
	return fmt.Sprintf("sealed(%d bytes)", len(s.cell))
}

// IndexValue is the value of an index column: an integer up to 63 bits, wider
// ones bytes, or NULL. Like Sealed it fails late rather than turning into NULL.
//
// It says which rows hold the same value, and with a guess which one: package
// fmt, log/slog and encoding/json show a mask. Value, Int64 and Bytes return it.
type IndexValue struct {
	// Behind pointers, since package fmt asks no methods of a field of the caller's
	// that is not exported, and to these two kinds, which it does not follow them to.
	narrow *int64
	wide   *string
	err    error
}

// Value returns int64, bytes or nil.
func (x IndexValue) Value() (driver.Value, error) {
	switch {
	case x.err != nil:
		return nil, x.err
	case x.wide != nil:
		return x.Bytes(), nil
	case x.narrow != nil:
		return *x.narrow, nil
	}
	return nil, nil
}

// Int64 returns the integer and whether there is one.
func (x IndexValue) Int64() (int64, bool) {
	if x.narrow == nil {
		return 0, false
	}
	return *x.narrow, true
}

// Bytes returns the bytes of a wide value, nil otherwise.
func (x IndexValue) Bytes() []byte {
	if x.wide == nil {
		return nil
	}
	return []byte(*x.wide)
}

// IsNull reports whether nothing is indexed.
func (x IndexValue) IsNull() bool { return x.narrow == nil && x.wide == nil && x.err == nil }

// Err returns why there is no value.
func (x IndexValue) Err() error { return x.err }

// String never shows the value.
func (x IndexValue) String() string {
	switch {
	case x.err != nil:
		return "index(failed)"
	case x.IsNull():
		return "index(null)"
	}
	return "index(masked)"
}

// Format is String for every verb of package fmt.
func (x IndexValue) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, x.String()) }

// LogValue is String for log/slog.
func (x IndexValue) LogValue() slog.Value { return slog.StringValue(x.String()) }

// MarshalText is String for encoding/json and others that write text. There is
// no way back: hand on what Value returns where the value is needed.
func (x IndexValue) MarshalText() ([]byte, error) { return []byte(x.String()), nil }
