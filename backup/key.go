package backup

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"

	"github.com/crmguard/crmguard/internal/alone"
)

// Key opens a repository. There are two kinds: [MachineKey] and [Passphrase].
type Key interface {
	secret() (password string, cost scryptCost)
}

const machineKeySize = 32

// MachineKey is 256 random bits, the key for programs. The restic program
// takes its [MachineKey.Password] as the password. Only because nobody can
// guess 256 bits are its key files derived with light scrypt parameters.
//
// It prints as a constant, and where package fmt does not ask for that (an
// unexported field of a struct) as an address: never as the key. Keys are
// compared by their Password. The zero value is no key.
type MachineKey struct {
	raw func() []byte // fmt follows pointers, too, for verbs that do not suit them
}

// NewMachineKey draws a key. Keep it where the backups are not: without it
// no snapshot opens.
func NewMachineKey() MachineKey {
	raw := make([]byte, machineKeySize)
	_, _ = rand.Read(raw) // never fails
	return MachineKey{func() []byte { return raw }}
}

// ParseMachineKey reads the 64 hex digits that [MachineKey.Password] gives.
func ParseMachineKey(password string) (MachineKey, error) {
	raw, err := hex.DecodeString(password)
	if err != nil || len(raw) != machineKeySize || hex.EncodeToString(raw) != password {
		return MachineKey{}, badConfig("a machine key is 64 lower-case hex digits")
	}
	return MachineKey{func() []byte { return raw }}, nil
}

// Password returns the 64 hex digits that open the repository with the
// restic program. It is the secret itself.
func (k MachineKey) Password() string {
	if k.raw == nil {
		return ""
	}
	return hex.EncodeToString(k.raw())
}

// Manifests returns the tagger of manifests whose key derives from this one:
// what a repository uses where Config.Manifests is nil, and what restore steps
// that verify rows take. A MachineKey of one byte repeated has none, nil.
//
// Whoever opens the repository with this key can make manifests, too; who has
// another password of it only, cannot. Nothing is under a key of a person: who
// was erased stays readable in every older snapshot, until that is forgotten
// and pruned.
//
// To move on to the tagger of a vault, hand in as Config.Manifests a tagger
// that tags with the vault's and, where the vault's Verify answers
// fs.ErrNotExist, asks this one. Without it, older snapshots are refused.
func (k MachineKey) Manifests() Tagger {
	if k.raw == nil {
		return nil
	}
	root, err := alone.From(k.raw())
	if err != nil {
		return nil
	}
	return root.Manifests()
}

func (k MachineKey) secret() (string, scryptCost) { return k.Password(), lightCost }

// String hides the key.
func (MachineKey) String() string { return "backup.MachineKey(hidden)" }

// GoString hides the key.
func (MachineKey) GoString() string { return "backup.MachineKey(hidden)" }

// LogValue hides the key.
func (MachineKey) LogValue() slog.Value { return slog.StringValue("hidden") }

// MarshalText refuses, so that no encoder writes the key.
func (MachineKey) MarshalText() ([]byte, error) { return nil, errNoExport }

// Passphrase is a password that a person thought of, or that another program
// gave to restic. New key files for it cost at least N=32768, r=8, p=6. It prints as
// little as a [MachineKey].
type Passphrase struct{ text func() string }

// NewPassphrase returns the key that a password is.
func NewPassphrase(password string) Passphrase { return Passphrase{func() string { return password }} }

func (p Passphrase) secret() (string, scryptCost) {
	if p.text == nil {
		return "", heavyCost
	}
	return p.text(), heavyCost
}

// String hides the passphrase.
func (Passphrase) String() string { return "backup.Passphrase(hidden)" }

// GoString hides the passphrase.
func (Passphrase) GoString() string { return "backup.Passphrase(hidden)" }

// LogValue hides the passphrase.
func (Passphrase) LogValue() slog.Value { return slog.StringValue("hidden") }

// MarshalText refuses, so that no encoder writes the passphrase.
func (Passphrase) MarshalText() ([]byte, error) { return nil, errNoExport }

var errNoExport = errors.New("backup: a key does not marshal; use MachineKey.Password")
