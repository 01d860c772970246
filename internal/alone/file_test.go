package alone

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/durable"
	"github.com/crmguard/crmguard/internal/durable/durabletest"
)

func TestASecretIsMadeOnceAndReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "crm.secret")
	require.NoError(t, Create(path))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Regexp(t, `\A[0-9a-f]{64}\n\z`, string(text))
	if runtime.GOOS != "windows" {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	}
	read, err := Read(path)
	require.NoError(t, err)
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	requireSame(t, secretOf(t, raw), read)

	err = Create(path)
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorContains(t, err, "read this one")
	require.NotContains(t, err.Error(), ".secret-", "the operator looks for the file that was asked for")
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, text, after, "a secret that is there stays")
	require.Equal(t, []string{"crm.secret"}, names(t, filepath.Dir(path)))
}

func requireSame(t *testing.T, want, got Secret) {
	t.Helper()
	tag, err := want.Tagger(PurposeSeal).Tag(t.Context(), "t1", nil)
	require.NoError(t, err)
	require.NoError(t, got.Tagger(PurposeSeal).Verify(t.Context(), "t1", nil, tag))
}

func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// Of many that start at the same moment one makes the secret, and whoever was
// told that there is one reads it whole.
func TestManyThatStartAtOnceShareOneSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "crm.secret")
	var group sync.WaitGroup
	var lock sync.Mutex
	var made int
	var secrets []Secret
	for range 40 {
		group.Go(func() {
			err := Create(path)
			if err != nil && !errors.Is(err, fs.ErrExist) {
				t.Errorf("create: %v", err)
			}
			s, readErr := Read(path)
			if readErr != nil {
				t.Errorf("read: %v", readErr)
			}
			lock.Lock()
			defer lock.Unlock()
			secrets = append(secrets, s)
			if err == nil {
				made++
			}
		})
	}
	group.Wait()
	require.Equal(t, 1, made)
	for _, s := range secrets {
		requireSame(t, secrets[0], s)
	}
	require.Equal(t, []string{"crm.secret"}, names(t, filepath.Dir(path)))
}

// What a killed process left, a copy of a secret that nobody uses, goes with
// the next Create.
func TestNoHalfMadeSecretStays(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, ".secret-"+rand.Text())
	require.NoError(t, os.WriteFile(left, []byte(digits), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".secret-of-mine"), nil, 0o600))
	require.NoError(t, Create(filepath.Join(dir, "crm.secret")))
	want := []string{".secret-of-mine", "crm.secret"}
	if runtime.GOOS == "windows" { // it may belong to a living process for a day
		want = append(want, filepath.Base(left))
	}
	require.ElementsMatch(t, want, names(t, dir))
}

// Whoever was told that there is a secret can rely on it, although the process
// that made it was killed before its name was on disk.
func TestNoSecretThatWasAnsweredForVanishes(t *testing.T) {
	for seed := range uint64(20) {
		for step := 1; ; step++ {
			m := durabletest.NewMemory(seed)
			m.FailAt(step)
			first := create(durable.On(m, ".secret-"), "crm.secret")
			failed := m.Failed()
			m.Kill()
			if err := create(durable.On(m, ".secret-"), "crm.secret"); err != nil {
				require.ErrorIs(t, err, fs.ErrExist)
			}
			before, err := m.Read("crm.secret")
			require.NoError(t, err)
			m.Crash()
			after, err := m.Read("crm.secret")
			require.NoError(t, err, "seed %d, step %d", seed, step)
			require.Equal(t, before, after)
			require.Len(t, after, 2*keySize+1)
			if !failed {
				require.NoError(t, first)
				break
			}
		}
	}
}

func TestAMissingFolderOrFileIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no", "crm.secret")
	err := Create(path)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "make the folder")
	require.NotContains(t, err.Error(), ".secret-")
	_, err = Read(path)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "bring it back")
	require.NoFileExists(t, path, "reading never makes a secret")
}

const digits = "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef"

func TestFilesOfAnotherFormAreRefusedAndNeverShown(t *testing.T) {
	for name, text := range map[string]string{
		"empty":            "",
		"a line end":       "\n",
		"short":            digits[:62] + "\n",
		"long":             digits + "00\n",
		"upper case":       strings.ToUpper(digits) + "\n",
		"one upper case":   digits[:63] + "F\n",
		"no digits":        digits[:63] + "g\n",
		"blank before":     " " + digits + "\n",
		"blank after":      digits + " \n",
		"two lines":        digits + "\n" + digits + "\n",
		"two line ends":    digits + "\n\n",
		"carriage return":  digits + "\r",
		"byte order mark":  "\ufeff" + digits + "\n",
		"raw bytes":        string(counting()),
		"base64":           "ABEiM0RVZneImaq7zN3u/wEjRWeJq83vASNFZ4mrze8=\n",
		"NUL at the end":   digits + "\x00",
		"all zero":         strings.Repeat("0", 64) + "\n",
		"one byte":         strings.Repeat("ff", 32) + "\n",
		"far too long":     strings.Repeat(digits, 1<<14),
		"quoted":           `"` + digits + `"`,
		"wide digits":      strings.Repeat("０", 64),
		"half a surrogate": digits[:61] + "\xed\xa0\x80",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "crm.secret")
			require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
			_, err := Read(path)
			require.ErrorContains(t, err, path)
			require.ErrorContains(t, err, "32 random bytes")
			require.NotContains(t, err.Error(), digits[:8], "no error shows the secret")
			require.NotContains(t, strings.ToLower(err.Error()), digits[20:32])
		})
	}
}

func TestALineMayEndAsEditorsEndIt(t *testing.T) {
	raw, err := hex.DecodeString(digits)
	require.NoError(t, err)
	for _, end := range []string{"", "\n", "\r\n"} {
		path := filepath.Join(t.TempDir(), "crm.secret")
		require.NoError(t, os.WriteFile(path, []byte(digits+end), 0o600))
		s, err := Read(path)
		require.NoError(t, err)
		requireSame(t, secretOf(t, raw), s)
	}
}

func TestAFileThatOthersCanReadIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes are unix")
	}
	path := filepath.Join(t.TempDir(), "crm.secret")
	require.NoError(t, os.WriteFile(path, []byte(digits), 0o600))
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o777} {
		require.NoError(t, os.Chmod(path, mode))
		_, err := Read(path)
		require.ErrorContains(t, err, "chmod 600", mode)
	}
	for _, mode := range []fs.FileMode{0o400, 0o600, 0o700} {
		require.NoError(t, os.Chmod(path, mode))
		_, err := Read(path)
		require.NoError(t, err, mode)
	}
}

func TestOnlyAPlainFileIsRead(t *testing.T) {
	_, err := Read(t.TempDir())
	require.ErrorContains(t, err, "not a plain file")
	if runtime.GOOS != "windows" {
		_, err = Read(os.DevNull)
		require.ErrorContains(t, err, "not a plain file")
	}
}

func TestBytesThatNoRandomSourceGivesAreRefused(t *testing.T) {
	for name, secret := range map[string][]byte{
		"none": nil, "one short": counting()[:31], "one long": append(counting(), 0),
		"hex digits": []byte(digits), "zero": make([]byte, 32), "one byte": bytes.Repeat([]byte{0xff}, 32),
	} {
		_, err := From(secret)
		require.ErrorContains(t, err, "32 random bytes", name)
	}
	secret := counting()
	s := secretOf(t, secret)
	clear(secret)
	requireSame(t, secretOf(t, counting()), s) // the caller may wipe what was handed in
}

// FuzzParse: a text is taken in one spelling and two line ends, or refused.
func FuzzParse(f *testing.F) {
	for _, text := range []string{digits, digits + "\n", digits + "\r\n", "", "\n", strings.ToUpper(digits), digits + digits} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		secret, err := parse(text)
		if err != nil {
			return
		}
		spelt := hex.EncodeToString(secret)
		require.Contains(t, []string{spelt, spelt + "\n", spelt + "\r\n"}, string(text))
	})
}
