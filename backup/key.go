package backup

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
)

// Key opens a repository. There are two kinds: [MachineKey] and [Passphrase].
type Key interface {
	secret() (password string, cost scryptCost)
}

// MachineKey is 256 random bits, the key for programs. The restic program
// takes its [MachineKey.Password] as the password. Only because nobody can
// guess 256 bits are its key files derived with light scrypt parameters.
//
// It prints as a constant. Note that package fmt cannot honour that for an
// unexported field of another struct: keep keys out of printed structs.
type MachineKey [32]byte

// NewMachineKey draws a key. Keep it where the backups are not: without it
// no snapshot opens.
func NewMachineKey() MachineKey {
	var k MachineKey
	_, _ = rand.Read(k[:]) // never fails
	return k
}

// ParseMachineKey reads the 64 hex digits that [MachineKey.Password] gives.
func ParseMachineKey(password string) (MachineKey, error) {
	var k MachineKey
	raw, err := hex.DecodeString(password)
	if err != nil || len(raw) != len(k) || hex.EncodeToString(raw) != password {
		return MachineKey{}, badConfig("a machine key is 64 lower-case hex digits")
	}
	copy(k[:], raw)
	return k, nil
}

// Password returns the 64 hex digits that open the repository with the
// restic program. It is the secret itself.
func (k MachineKey) Password() string { return hex.EncodeToString(k[:]) }

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
// gave to restic. New key files for it cost at least N=32768, r=8, p=6.
type Passphrase string

func (p Passphrase) secret() (string, scryptCost) { return string(p), heavyCost }

// String hides the passphrase.
func (Passphrase) String() string { return "backup.Passphrase(hidden)" }

// GoString hides the passphrase.
func (Passphrase) GoString() string { return "backup.Passphrase(hidden)" }

// LogValue hides the passphrase.
func (Passphrase) LogValue() slog.Value { return slog.StringValue("hidden") }

// MarshalText refuses, so that no encoder writes the passphrase.
func (Passphrase) MarshalText() ([]byte, error) { return nil, errNoExport }

var errNoExport = errors.New("backup: a key does not marshal; use MachineKey.Password")
