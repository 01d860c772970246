package adoption

import (
	"errors"
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// The errors that callers decide by. The package comment says what to do.
var (
	// ErrDefinition says that the adoption is not declared so, or otherwise than
	// the database has it recorded.
	ErrDefinition = errors.New("adoption: definition")
	// ErrStage says that the call does not belong to the stage of the tenant, or
	// that this release does not know the stage.
	ErrStage = errors.New("adoption: stage")
	// ErrNotReady says what stands in the way of a move; it is a *NotReadyError.
	ErrNotReady = errors.New("adoption: not ready to move")
	// ErrLease says that a Writer or a Condition is older than the lease of the stage:
	// take a new one.
	ErrLease = errors.New("adoption: lease of the stage has passed: take a new Writer or Condition")
	// ErrInClear says that a value stands in the clear only where Clear has found none
	// left: whoever wrote it knows nothing of the adoption, and nobody reads it. Seal
	// it through the application, or move back to ReadSealed, where it counts.
	ErrInClear = errors.New("adoption: a value in the clear where Clear has left none: nobody of this application wrote it")
	// ErrMoved says that somebody else moved the tenant, or began another job of
	// the same kind, meanwhile: look at the stage and call again.
	ErrMoved = errors.New("adoption: the stage was moved meanwhile: call again")
)

// ErrSchema is returned by Open when the tables of the stages are older than the
// library needs: call Install, or apply Migrations.
type ErrSchema = sqldb.SchemaError //nolint:errname // every storing package calls it so

// ErrStandby says that the connection leads to a standby or read-only replica,
// whose stage may be an older one: connect to the primary.
var ErrStandby = sqldb.ErrStandby

// NotReadyError says what stands in the way of a move, and the remedy.
type NotReadyError struct {
	From, To Stage
	Why      string   // in words
	Rows     int64    // how many rows it is about; 0 where it is not about rows
	SQL      []string // statements that the owner of the table executes, in this order

	// Obstacles are all that stands in the way, each with its own remedy.
	Obstacles []Obstacle
}

// Error names the reason and the remedy.
func (e *NotReadyError) Error() string {
	text := fmt.Sprintf("%v from %s to %s: %s", ErrNotReady, e.From, e.To, e.Why)
	if e.From == e.To {
		text = fmt.Sprintf("adoption: not ready to clear at %s: %s", e.From, e.Why)
	}
	if len(e.SQL) > 0 {
		text += "\n\t" + strings.Join(e.SQL, ";\n\t") + ";"
	}
	return text
}

// Unwrap returns ErrNotReady.
func (e *NotReadyError) Unwrap() error { return ErrNotReady }
