package format

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAssociatedDataNeverMeets(t *testing.T) {
	seen := map[string]string{}
	add := func(name string, ad []byte) {
		require.NotContains(t, seen, string(ad), "%s has the associated data of %s", name, seen[string(ad)])
		seen[string(ad)] = name
	}
	add("ab,c", AppendFieldAD(nil, LevelRow, false, "t1", "ab", "c", "p1", "r1"))
	add("a,bc", AppendFieldAD(nil, LevelRow, false, "t1", "a", "bc", "p1", "r1"))
	add("level 2", AppendFieldAD(nil, LevelOwner, false, "t1", "a", "bc", "p1", ""))
	add("level 3, empty row", AppendFieldAD(nil, LevelRow, false, "t1", "a", "bc", "p1", ""))
	add("padded", AppendFieldAD(nil, LevelOwner, true, "t1", "a", "bc", "p1", ""))
	add("level 1", AppendFieldAD(nil, LevelTenant, false, "t1", "a", "bc", "t:", ""))
	add("level 2, empty owner", AppendFieldAD(nil, LevelOwner, false, "t1", "a", "bc", "", ""))
	add("stream", StreamAD("t1", "a", "bc", "p1", "r1"))
	add("person seal", PersonSealAD("a", "t1", "p1", []byte("bc")))
	add("person seal, moved", PersonSealAD("at", "1", "p1", []byte("bc")))
	add("keyset", KeysetAD("t1", "wrap"))
	add("installation keyset", KeysetAD("", "wrap"))
	add("person key", PersonKeyAD("t1", "p1", 1))
}

// A UUID is one id however its letters are written; nothing else is folded.
func TestOnlyAUUIDIsFolded(t *testing.T) {
	const small = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
	for _, spelt := range []string{small, strings.ToUpper(small), "A0eeBC99" + small[8:]} {
		require.True(t, IsUUID(spelt))
		require.Equal(t, small, Fold(spelt))
		for _, part := range []string{"", "DE/", "DE%2F/", strings.ToUpper(small) + "/"} {
			require.Equal(t, Fold(strings.TrimSuffix(part, "/"))+part[len(strings.TrimSuffix(part, "/")):]+small+"/X", FoldRow(part+spelt+"/X"))
		}
		require.Equal(t, PersonKeyAD("t1", small, 1), PersonKeyAD("t1", spelt, 1))
		require.Equal(t, StreamAD("t1", "a", "b", small, small), StreamAD("t1", "a", "b", spelt, spelt))
	}
	for _, other := range []string{
		"", "P1", strings.ToUpper(small) + " ", "{" + strings.ToUpper(small) + "}", "URN:UUID:" + strings.ToUpper(small), strings.ToUpper(strings.ReplaceAll(small, "-", "")),
		"R:" + strings.ToUpper(small), "G0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "A0EEBC999-C0B-4EF8-BB6D-6BB9BD380A11", "Ä0EEBC9-9C0B-4EF8-BB6D-6BB9BD380A111",
	} {
		require.False(t, IsUUID(other), other)
		require.Equal(t, other, Fold(other))
		require.Equal(t, other+"/X", FoldRow(other+"/X"))
	}
}

// What Fold and FoldRow look at first decides nothing by itself: each byte at each
// place of a UUID, alone and within a key.
func TestAFoldIsItsDefinition(t *testing.T) {
	uuid := regexp.MustCompile("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
	want := func(id string) string {
		if uuid.MatchString(id) {
			return strings.ToLower(id)
		}
		return id
	}
	const small = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
	folded := 0
	for at := range len(small) {
		for b := range 256 {
			id := small[:at] + string([]byte{byte(b)}) + small[at+1:]
			require.Equal(t, want(id), Fold(id))
			require.Equal(t, IsUUID(id), uuid.MatchString(id))
			if Fold(id) != id {
				folded++
			}
			parts := strings.Split("k/"+id, "/")
			for i, part := range parts {
				parts[i] = want(part)
			}
			require.Equal(t, strings.Join(parts, "/"), FoldRow("k/"+id))
		}
	}
	require.Equal(t, 6*32, folded) // A to F, everywhere but at the hyphens
}

func TestPadding(t *testing.T) {
	for n := range 300 {
		value := bytes.Repeat([]byte{0x80}, n)
		for _, bucket := range []int{1, 16, 64, Padme} {
			padded := Pad(nil, value, bucket)
			require.Greater(t, len(padded), n)
			if bucket > 0 {
				require.Zero(t, len(padded)%bucket)
			} else {
				require.LessOrEqual(t, float64(len(padded)), 1.13*float64(n+1))
			}
			back, err := Unpad(padded)
			require.NoError(t, err)
			require.Equal(t, value, append([]byte{}, back...))
		}
	}
	require.Equal(t, []int{1, 2, 10, 10, 104, 1024}, []int{padme(1), padme(2), padme(9), padme(10), padme(101), padme(1000)})
	for _, bad := range [][]byte{nil, {0}, {1}, {0x80, 1}} {
		_, err := Unpad(bad)
		require.Error(t, err)
	}
}

func FuzzUnpad(f *testing.F) {
	f.Add([]byte("x\x80\x00"))
	f.Fuzz(func(t *testing.T, padded []byte) {
		value, err := Unpad(padded)
		if err == nil {
			require.Less(t, len(value), len(padded))
		}
	})
}
