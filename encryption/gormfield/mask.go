package gormfield

import (
	"database/sql/driver"
	"fmt"
	"log/slog"

	"gorm.io/gorm"

	"github.com/crmguard/crmguard/encryption"
)

// GORM's log asks an argument for its Value, which is the plaintext of those that
// an adoption hands out: they mask themselves for everybody else. So once a
// statement has run, they stand in it as something that is no Valuer, which the
// pool takes back where a subquery of it runs later.

// maskedArg is an argument that masks itself.
type maskedArg interface {
	driver.Valuer
	fmt.Formatter
	slog.LogValuer
}

// masked prints itself as its argument does. It is no Valuer and no Stringer, so
// that no driver takes it for a value.
type masked struct{ arg *maskedArg }

// Format is that of the argument.
func (m masked) Format(f fmt.State, verb rune) { (*m.arg).Format(f, verb) }

// maskArgs masks the arguments of a statement that was built.
func maskArgs(stmt *gorm.Statement) {
	for i, v := range stmt.Vars {
		if _, index := v.(encryption.IndexValue); index {
			continue // which is no plaintext
		}
		if arg, ok := v.(maskedArg); ok {
			stmt.Vars[i] = masked{&arg}
		}
	}
}

// unmasked are arguments as the driver takes them.
func unmasked(args []any) []any {
	for i, v := range args {
		if m, ok := v.(masked); ok {
			args = append([]any(nil), args...)
			for j := i; j < len(args); j++ {
				if m, ok = args[j].(masked); ok {
					args[j] = *m.arg
				}
			}
			return args
		}
	}
	return args
}
