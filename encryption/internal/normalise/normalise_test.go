package normalise

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// vectors are shared with the second implementation (testdata/formats.py).
func vectors(t *testing.T) (out []struct{ Rule, In, Out string }) {
	t.Helper()
	raw, err := os.ReadFile("testdata/vectors.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &out))
	return out
}

func TestTheRulesAnswerTheirVectors(t *testing.T) {
	rules := map[string]int{}
	for _, v := range vectors(t) {
		rules[v.Rule]++
		require.Equal(t, v.Out, Rule(v.Rule)(v.In), "%s of %q", v.Rule, v.In)
	}
	for _, rule := range []string{Exact, Email1, Email2, Domain, LastDigits(4)} {
		require.NotZero(t, rules[rule], rule)
	}
}

// What the rules make of each single character, alone and inside of an address,
// is frozen: tables of a later Unicode change no value that was indexed before.
func TestNoCharacterIsEverTreatedOtherwise(t *testing.T) {
	for rule, want := range map[string]string{
		Email1:        "0e69ae0f5bfba38c892d8d59f0db140c1dafcb81e265c1b30a5d20080cc37c79",
		Email2:        "3bbb938783c20da5bb7f625acf0850f93a605010f2fdf4e3cd72701418f90710",
		LastDigits(2): "e242dad6330dcd274027cd36a9fedb69d7bba9293fa2b1912d3708b596a922d4",
	} {
		sum := sha256.New()
		apply := Rule(rule)
		for r := range rune(unicode.MaxRune + 1) {
			if utf8.ValidRune(r) {
				fmt.Fprintf(sum, "%x:%x\n", r, apply("1A"+string(r)+"@B"))
			}
		}
		require.Equal(t, want, hex.EncodeToString(sum.Sum(nil)), rule)
	}
}

func TestNamesOfRules(t *testing.T) {
	for _, none := range []string{"", "email", "email/3", "email/01", "last1/1", "last16/1", "last04/1", "last4/2", "e164/1"} {
		require.Nil(t, Rule(none), none)
	}
	for n := fewest; n <= most; n++ {
		require.NotNil(t, Rule(LastDigits(n)))
	}
	require.True(t, Own("email/9"))
	require.True(t, Own("e164/1"))
	require.True(t, Own("e164/1.2"), "a point behind the version is none")
	require.False(t, Own("acme.e164/1"))
}

// A value that were changed for ever would be another one each time: no character,
// nor any heap of them, needs more rounds than there are.
func TestEveryValueSettles(t *testing.T) {
	for r := range rune(unicode.MaxRune + 1) {
		once := email2("a" + string(r) + "@b" + string(r))
		require.Equal(t, once, email2(once), "%U", r)
	}
	for _, tail := range []string{". ", "\u3002\u3000", "\u00b4", "\uff61\u200b ", ".\u2800"} {
		once := email2("a@b" + strings.Repeat(tail, 1000))
		require.Equal(t, once, email2(once))
	}
	require.Equal(t, "a@b", email2("a@b"+strings.Repeat(". ", 1000)))
}

// The digits of a script stand together, from zero to nine.
func TestTheDigitsOfAScriptFollowEachOther(t *testing.T) {
	for _, run := range unicode.Nd.R16 {
		require.Equal(t, uint16(1), run.Stride)
		require.Zero(t, (run.Hi-run.Lo+1)%10)
	}
	for _, run := range unicode.Nd.R32 {
		require.Equal(t, uint32(1), run.Stride)
		require.Zero(t, (run.Hi-run.Lo+1)%10)
	}
}

// An address that needs no change costs no memory.
func TestWhatIsNormalAlreadyIsNotCopied(t *testing.T) {
	for _, rule := range []string{Exact, Email1, Email2} {
		apply := Rule(rule)
		require.Zero(t, testing.AllocsPerRun(100, func() { apply("ann@b.example") }), rule)
	}
}

func FuzzRules(f *testing.F) {
	for _, in := range []string{" Ann@B.example.", "T\u0308@\u3002", "\u00b4a@b", "\xc3\u00ad\xa9@b. .", "a@b\u200b.\ufeff ", "\u037a@x", "\U00010d50@x", "@.", "+41 (0)44 \u0661\u0662"} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		for _, name := range []string{Exact, Email1, Email2, Domain, LastDigits(4)} {
			rule := Rule(name)
			once := rule(in)
			require.Equal(t, once, rule(once), "%s twice changes nothing", name)
			if utf8.ValidString(in) {
				require.True(t, utf8.ValidString(once), name)
			}
		}
		if isStable(in) {
			require.Equal(t, Rule(Email2)(in), Rule(Email2)(Rule(Email1)(in)), "what email/1 makes one, email/2 does")
		}
	})
}
