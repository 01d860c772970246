package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// A class lets pass what is nobody's fault who records, and only while they wait.
func TestWhatMayBeLost(t *testing.T) {
	own := errors.New("the disk is full")
	require.True(t, mayBeLost(t.Context(), own))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.False(t, mayBeLost(ended, own), "whoever waits no longer decides for themselves")
	for _, err := range []error{
		context.Canceled, context.DeadlineExceeded, ErrInvalid, ErrTooLarge, &ConflictError{ID: "x"}, &NotPreparedError{Persons: 1}, ErrOrigin,
	} {
		require.False(t, mayBeLost(t.Context(), fmt.Errorf("wrapped: %w", err)), "%v", err)
	}
}

// An action that a class names itself is of that class, also where a beginning of
// the same letters is another one.
func TestAnActionIsNotItsBeginning(t *testing.T) {
	for _, fails := range []Failure{FailClosed, FailOpen} {
		c, err := newClasses(map[string]Failure{"page.secret": fails, "page.secret*": FailOpen - fails, "page.": fails})
		require.NoError(t, err)
		require.Equal(t, class{"page.secret", false, fails}, c.of("page.secret"))
		require.Equal(t, class{"page.secret", true, FailOpen - fails}, c.of("page.secrets"))
		require.Equal(t, class{"page.", true, fails}, c.of("page.secre"))
	}
}

// stopsAt fails one statement, and remembers what came before it.
type stopsAt struct {
	*sql.Tx
	statement string
	said      []string
}

func (s *stopsAt) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if query == s.statement {
		return nil, errors.New("refused")
	}
	s.said = append(s.said, query)
	return s.Tx.ExecContext(ctx, query, args...)
}

// Without a savepoint an event that may be lost is not tried: what failed could take
// the business change along.
func TestWithoutASavepointNothingIsTried(t *testing.T) {
	s := newSQLiteTill(t)
	s.classed(t)
	s.prepared("p1")
	tx := &stopsAt{Tx: s.begin(), statement: savepoint}
	_, err := s.recordIn(t.Context(), tx, reading(t, "page.view"))
	require.ErrorContains(t, err, "refused")
	require.Empty(t, tx.said)
	require.Zero(t, s.gaps.Number())
}

// Whether a person still has a key is asked each time, also where the ticket holds
// for long.
func TestAKeyThatIsGoneIsFoundWhilePreparing(t *testing.T) {
	s := newSQLiteTill(t)
	s.prepared("p1")
	s.keys.down = errors.New("the person has no key any more")
	require.ErrorIs(t, s.prepare(t.Context(), "main", []string{"p1"}), s.keys.down)
}
