package backup_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
)

// application is a caller that keeps keys in fields of its own. Package fmt
// prints those without asking the methods of what they hold, and follows
// pointers for a verb that does not suit them.
type application struct {
	cfg    backup.Config
	key    backup.MachineKey
	phrase backup.Passphrase
	keys   []backup.Key
	repos  map[string]*backup.Repository
}

// No verb of package fmt and no log handler reaches the bytes of a key, be it
// in a Config, a Repository or a caller's struct.
func TestKeysDoNotPrint(t *testing.T) {
	raw, words := []byte("thirty-two bytes: a machine key!"), "correct horse battery"
	key, err := backup.ParseMachineKey(hex.EncodeToString(raw))
	require.NoError(t, err)
	phrase := backup.NewPassphrase(words)
	created := memoryRepos(t, key, backuptest.NewMemory("a"))
	byPhrase := memoryRepos(t, phrase, backuptest.NewMemory("b"))[0]
	job := backup.Job{Repositories: created}
	app := application{cfg: config(key), key: key, phrase: phrase, keys: []backup.Key{key, phrase}, repos: map[string]*backup.Repository{"a": created[0]}}

	var log bytes.Buffer
	values := []any{key, &key, phrase, &phrase, config(key), config(phrase), created[0], byPhrase, job, &job, app, &app}
	for _, v := range values {
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b"} {
			fmt.Fprintf(&log, verb+"\n", v)
		}
	}
	require.Contains(t, log.String(), "backup.MachineKey(hidden)", "it was printed")
	for _, secret := range [][]byte{raw, []byte(words), backup.MasterKey(created[0])} {
		for _, form := range []string{
			string(secret), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)), hex.EncodeToString([]byte(hex.EncodeToString(secret))),
			strings.Trim(fmt.Sprintf("%d", secret[:8]), "[]"),                                      // decimal
			strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", secret[:8]), "[]byte{"), "}"), // 0x74, 0x68, …
			strings.Trim(fmt.Sprintf("%o", secret[:8]), "[]"), strings.Trim(fmt.Sprintf("%b", secret[:8]), "[]"),
		} {
			require.False(t, strings.Contains(log.String(), form), "%q was printed", form)
		}
	}
	for _, v := range []any{key, phrase, config(key)} {
		_, err := json.Marshal(v)
		require.Error(t, err)
	}
}

func TestMachineKeysAreParsedStrictly(t *testing.T) {
	key := backup.NewMachineKey()
	again, err := backup.ParseMachineKey(key.Password())
	require.NoError(t, err)
	require.Equal(t, key.Password(), again.Password())
	for _, bad := range []string{"", key.Password()[1:], strings.Repeat("A", 64), strings.Repeat("x", 64)} {
		_, err := backup.ParseMachineKey(bad)
		require.ErrorIs(t, err, backup.ErrConfig)
	}
}

// A key that nobody set is not a key of zeros.
func TestAZeroKeyIsNoKey(t *testing.T) {
	store := backuptest.NewMemory("a")
	memoryRepos(t, fixedKey, store)
	for _, none := range []backup.Key{backup.MachineKey{}, backup.Passphrase{}, backup.NewPassphrase("")} {
		_, err := backup.Create(t.Context(), config(none), backuptest.NewMemory("b"))
		require.ErrorIs(t, err, backup.ErrConfig)
		_, err = backup.Open(t.Context(), store, config(none))
		require.ErrorIs(t, err, backup.ErrConfig)
	}
}
