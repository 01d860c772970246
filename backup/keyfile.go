package backup

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"time"

	"golang.org/x/crypto/scrypt"
)

// scryptCost are the parameters of the key derivation.
type scryptCost struct{ n, r, p int }

var (
	// lightCost is for machine keys alone: stretching adds nothing to 256
	// random bits.
	lightCost = scryptCost{n: 1 << 10, r: 8, p: 1}
	heavyCost = scryptCost{n: 1 << 15, r: 8, p: 6}
)

const (
	saltSize     = 64 // restic takes no other
	maxKDFMemory = 512 << 20
	maxKDFWork   = 16 << 30       // memory times passes
	maxOpenWork  = 2 * maxKDFWork // for all key files together, when a repository is opened
	// nobody stands where restic writes the names of host and user.
	nobody = "crmguard"
)

// keyFile is keys/…, the one file of a repository that is in clear.
type keyFile struct {
	Created  time.Time `json:"created"`
	Username string    `json:"username"`
	Hostname string    `json:"hostname"`
	KDF      string    `json:"kdf"`
	N        int       `json:"N"`
	R        int       `json:"r"`
	P        int       `json:"p"`
	Salt     []byte    `json:"salt"`
	Data     []byte    `json:"data"`
}

// masterJSON is what Data holds, sealed with the derived key.
type masterJSON struct {
	MAC struct {
		K []byte `json:"k"`
		R []byte `json:"r"`
	} `json:"mac"`
	Encrypt []byte `json:"encrypt"`
}

// errOtherPassword is not exported: callers see ErrPassword once no key file
// opened.
var errOtherPassword = errors.New("another password")

// encodeKeyFile seals master under the key and returns the file.
func encodeKeyFile(master *masterKey, key Key, created time.Time) ([]byte, error) {
	password, cost := key.secret()
	if password == "" {
		return nil, badConfig("an empty password")
	}
	// No monotone hint about the installation either: the day is enough.
	f := keyFile{
		Created: created.UTC().Truncate(24 * time.Hour), Username: nobody, Hostname: nobody,
		KDF: "scrypt", N: cost.n, R: cost.r, P: cost.p, Salt: make([]byte, saltSize),
	}
	_, _ = rand.Read(f.Salt) // never fails
	user, err := f.derive(password)
	if err != nil {
		return nil, err
	}
	var plain masterJSON
	parts := master.parts()
	plain.MAC.K, plain.MAC.R, plain.Encrypt = parts.k[:], parts.r[:], parts.encrypt[:]
	raw, err := json.Marshal(plain)
	if err != nil {
		return nil, err
	}
	f.Data = user.seal(nil, raw)
	return json.Marshal(f)
}

// decodeKeyFile reads a key file; nothing of it is authenticated yet, so its
// costs are bounded before they are paid.
func decodeKeyFile(data []byte) (*keyFile, error) {
	var f keyFile
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, corrupt("a key file that is not JSON")
	}
	if f.KDF != "scrypt" || len(f.Salt) != saltSize || len(f.Data) < overhead || len(f.Data) > maxKeyContent {
		return nil, corrupt("a key file of another shape")
	}
	if f.N < 2 || f.N&(f.N-1) != 0 || f.R < 1 || f.P < 1 || f.N > maxKDFMemory/128 ||
		f.R > maxKDFMemory/128/f.N || f.P > maxKDFWork/128/f.N/f.R || f.P > 1<<20 {
		return nil, corrupt("a key file whose key derivation costs too much")
	}
	return &f, nil
}

// work is the memory that the derivation goes through.
func (f *keyFile) work() int64 { return 128 * int64(f.N) * int64(f.R) * int64(f.P) }

func (f *keyFile) derive(password string) (*masterKey, error) {
	raw, err := scrypt.Key([]byte(password), f.Salt, f.N, f.R, f.P, 64)
	if err != nil {
		return nil, corrupt("a key file with parameters that scrypt refuses")
	}
	return newMasterKey(raw)
}

// open returns the master key, or errOtherPassword.
func (f *keyFile) open(password string) (*masterKey, error) {
	user, err := f.derive(password)
	if err != nil {
		return nil, err
	}
	plain, err := user.open(append([]byte(nil), f.Data...))
	if err != nil {
		return nil, errOtherPassword
	}
	var m masterJSON
	if err := json.Unmarshal(plain, &m); err != nil {
		return nil, corrupt("a key file that holds something else than a key")
	}
	raw := append(append(append([]byte(nil), m.Encrypt...), m.MAC.K...), m.MAC.R...)
	if len(m.Encrypt) != 32 || len(m.MAC.K) != 16 {
		return nil, corrupt("a key file that holds something else than a key")
	}
	return newMasterKey(raw)
}

func hashOf(data []byte) blobID { return sha256.Sum256(data) }
