package encryption

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// uniqueBits is the least width of an index for a UNIQUE constraint: no two values
// of a table are ever equal in it by chance.
const uniqueBits = 128

// ErrExists says that a UNIQUE constraint on an index column refused a value that
// is there already, in the spelling of the index's normaliser.
var ErrExists = errors.New("encryption: value exists")

// Exists says what the error of an INSERT or UPDATE means: where a UNIQUE
// constraint on the column of an index of this table refused it, the answer is
// ErrExists with table and index, and without the values that databases and
// drivers quote; any other error, and nil, comes back as it is. Nothing is read.
//
// The constraint is known by its name where the database tells no column: it must
// be named as the index column, or hold its name between underscores, as the
// databases name it by themselves (contacts_email_idx_key).
func (t *SealedTable) Exists(err error) error {
	refused, ok := errors.AsType[*sqldb.DriverError](sqldb.Safe(err))
	if !ok || !slices.Contains([]string{"23505", "mysql 1062", "mysql 1586", "sqlite 1555", "sqlite 2067"}, refused.Code) {
		return err
	}
	for _, index := range t.indexes {
		if refused.Column == index.Column || namesColumn(refused.Constraint, index.Column) {
			return &KeyError{Op: "another row has it in", Table: t.def.Name, Column: index.Name, Err: fmt.Errorf("%w: %w", ErrExists, refused)}
		}
	}
	return err
}

func namesColumn(constraint, column string) bool {
	return constraint != "" && strings.Contains("_"+strings.NewReplacer(".", "_", " ", "_", ",", "_").Replace(constraint)+"_", "_"+column+"_")
}
