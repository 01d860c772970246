package ids_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/internal/ids"
)

func TestAnIDIsAnyTextUpTo255Bytes(t *testing.T) {
	for _, id := range []string{
		"1", "0", "007", " ", "p", "p ", " p", "P", "\t", "é", "e\u0301", "\u200b", "客户", "a@b.example", "'; --", "%", `\`,
		"a", ":", ":a", "ab:", "ä:", strings.Repeat("x", 255), strings.Repeat("é", 127) + "x",
	} {
		require.NoError(t, ids.Check("id", id), "%q", id)
		require.NoError(t, ids.CheckGiven("id", id), "%q", id)
	}
	for _, id := range []string{"t:", "r:1", "s:", "::", "\x01:"} {
		require.NoError(t, ids.Check("id", id), "%q", id)
		require.Equal(t, &ids.Error{Field: "id", Reason: ids.Reserved}, ids.CheckGiven("id", id), "%q", id)
	}
	for id, reason := range map[string]string{
		"": ids.Empty, strings.Repeat("x", 256): ids.TooLong, strings.Repeat("é", 128): ids.TooLong,
		"\xff": ids.NotUTF8, "a\xc3": ids.NotUTF8, "\xed\xa0\x80": ids.NotUTF8, "\x00": ids.HoldsNUL, "a\x00b": ids.HoldsNUL,
	} {
		require.Equal(t, &ids.Error{Field: "id", Reason: reason}, ids.Check("id", id), "%q", id)
		require.Equal(t, &ids.Error{Field: "id", Reason: reason}, ids.CheckGiven("id", id), "%q", id)
	}
}

func TestARefusalNamesTheFieldAndNeverTheID(t *testing.T) {
	err := ids.Check("tenant", "canary@a.example\x00")
	require.EqualError(t, err, "tenant holds NUL")
	require.ErrorContains(t, ids.Check("tenant", strings.Repeat("x", ids.Max+1)), "255", "the text of the reason names the limit")
}

func TestPlainTextIsWhatEveryDatabaseHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOf(rapid.Byte()).Draw(t, "text"))
		require.Equal(t, utf8.ValidString(text) && !strings.Contains(text, "\x00"), ids.Plain(text))
		if text != "" && len(text) <= ids.Max {
			require.Equal(t, ids.Plain(text), ids.Check("id", text) == nil)
		}
	})
}
