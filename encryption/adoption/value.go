package adoption

import (
	"database/sql/driver"
	"fmt"
	"io"
	"log/slog"
)

// Value goes into a statement in the place of a column, in the clear, sealed or of
// an index: what the stage writes there, which may be NULL. It fails when the
// statement is executed rather than turning into NULL, and prints itself masked.
type Value struct {
	value func() (driver.Value, error) // behind a func: package fmt follows none
}

func failed(err error) Value { return Value{func() (driver.Value, error) { return nil, err }} }

// Value returns what the driver writes.
func (v Value) Value() (driver.Value, error) {
	if v.value == nil {
		return nil, nil
	}
	return v.value()
}

// Err returns why there is no value.
func (v Value) Err() error {
	_, err := v.Value()
	return err
}

// IsNull reports whether NULL is written.
func (v Value) IsNull() bool {
	value, err := v.Value()
	return err == nil && value == nil
}

// String never shows the value.
func (v Value) String() string {
	switch {
	case v.Err() != nil:
		return "value(failed)"
	case v.IsNull():
		return "value(null)"
	}
	return "value(masked)"
}

// Format is String for every verb of package fmt.
func (v Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, v.String()) }

// LogValue is String for log/slog.
func (v Value) LogValue() slog.Value { return slog.StringValue(v.String()) }

// MarshalText is String for encoding/json and others that write text.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }
