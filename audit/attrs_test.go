package audit

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

// saysSo is a value whose text would be an object's, and a value that says what it
// is only when it is asked.
type saysSo struct{ text string }

func (w saysSo) String() string       { return w.text }
func (w saysSo) LogValue() slog.Value { return slog.StringValue(w.text) }

// spelt is a value with a text that is no string.
type spelt struct{ text string }

func (s spelt) String() string { return s.text }

// An attribute is what its kind says, never the text of something else; those of one
// key add up where there are many, and the last counts where there is one.
func TestAttributesAreWhatTheirKindsSay(t *testing.T) {
	for _, key := range []string{"object", "reason", "outcome", "for", "prior", "policy", "request", "id", "digest", "person", "persons", "count"} {
		_, err := fromAttrs("u-1", "main", "a.b", []slog.Attr{slog.Any(key, spelt{"deal/7"})})
		require.ErrorIs(t, err, ErrInvalid, key)
		require.ErrorContains(t, err, "attribute "+key, key)
	}
	_, err := fromAttrs("u-1", "main", "a.b", []slog.Attr{slog.String("Object", "deal/7")})
	require.ErrorContains(t, err, "a key that is none of")
	e, err := fromAttrs("u-1", "main", "a.b", []slog.Attr{
		slog.Any("object", saysSo{"deal/7"}), slog.Any("reason", saysSo{"asked"}),
		slog.String("person", "p1"), slog.Any("persons", []string{"p2", "p3"}), slog.String("persons", "p4"), slog.Any("person", []string{"p5"}),
		slog.String("digest", "cafe"), slog.Int("count", 0),
	})
	require.NoError(t, err)
	require.Equal(t, Event{
		Tenant: "main", Actor: "u-1", Action: "a.b", Reason: "asked", Object: Ref("deal", "7"), Persons: []string{"p1", "p2", "p3", "p4", "p5"},
		Changes: []Change{{Path: "digest", Old: Absent{}, New: "cafe"}, {Path: "count", Old: Absent{}, New: int64(0)}},
	}, e)
}
