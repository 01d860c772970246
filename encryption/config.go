package encryption

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption/internal/blindindex"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// The defaults of a Config.
const (
	DefaultLease              = 5 * time.Second  // how long a process may trust what it has read
	DefaultLongestTransaction = 30 * time.Second // how long a sealed value may wait for its statement
	DefaultCacheKeys          = 100_000          // owners whose keys stay in memory
	DefaultKEK                = "kek-1"          // name of the first KEK
	DefaultKEKTimeout         = 10 * time.Second // how long one call of a KEK may take
)

// Config is what a Vault needs. Keys and KEK are mandatory.
type Config struct {
	// Keys is the key store.
	Keys keystore.Store
	// KEK returns the key encryption key of that name: the KMS key, or a key
	// from a file (insecurekeys.Folder). The tenant is "" for the keysets of the
	// installation. It is asked for names that KEKs permits only, may be called by
	// several goroutines at once, and its calls should end with their context. Where
	// something is made (Create, AddTenant, RewrapKeys) it has to refuse the keyset of
	// another tenant, twice in a row: a client that stops asking after refusals (a
	// circuit breaker) has to bear two.
	KEK func(ctx context.Context, tenant, kek string) (tink.AEADWithContext, error)
	// KEKs are the names that a KEK may have. They come from the key store, and
	// whoever writes there must not bring a KEK of their own. nil permits plain
	// names (letters, digits, "-", "_", ".": "kek-1"), which can point to no other
	// account, host or folder than the one that the KEK func has in its code. An entry is a
	// whole name, or a prefix: it ends with "/" or ":" behind the account and the
	// key ring, and one plain name stands behind it
	// ("gcp-kms://projects/p/locations/l/keyRings/crm/cryptoKeys/").
	KEKs []string
	// Data are the databases that hold what is sealed: [Vault.Status] alarms where
	// one of them is on the server of the keys. Those that are handed to a job
	// (Reseal, Census, …) are looked at, too; name here what no job of this
	// process sees. They stay open as long as the vault is in use.
	Data []*sql.DB
	// KEKTimeout bounds each call of a KEK, whoever waits for it; 0 is
	// DefaultKEKTimeout. What is made takes up to five. Callers wait no longer than their own context.
	KEKTimeout time.Duration
	// NewKEK is the name of the first KEK, used by Create only; "" is DefaultKEK,
	// or the first whole name of KEKs where they do not permit that one.
	NewKEK string
	// Lease is how long other processes may go on after an erasure, and how
	// old what each one trusts may be: from a millisecond to an hour. Create
	// writes it into the key store, for all that share it; 0 is DefaultLease.
	// Elsewhere leave it 0: another one than the store's is refused, and
	// ChangeLease changes that.
	Lease time.Duration
	// LongestTransaction bounds the time between sealing a value and the
	// statement that writes it, and the transactions of Reseal and Redact. Those of
	// the application may take as long as they like once they have written. The key
	// store keeps the longest one that any process was opened with, and what waits for
	// others waits for that: see ChangeLongestTransaction. 0 is
	// DefaultLongestTransaction.
	LongestTransaction time.Duration
	// CacheKeys bounds the owners whose keys stay in memory; 0 is DefaultCacheKeys.
	CacheKeys int
	// Normalisers are the application's own, by name: a rule for telephone numbers,
	// for domains of other scripts. A name has a point and a version ("acme.e164/1");
	// any change of what a func answers is a new version, and its index, too. A func
	// answers what is indexed, "" for nothing, or an error, which refuses the value:
	// writing it is ErrValue, and so is searching for it. It depends on nothing but
	// the value, may be called by several goroutines, and is called twice for each
	// value: another answer the second time, or a panic, is ErrDefinition.
	Normalisers map[Normaliser]func(value string) (string, error)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Wait waits; nil waits for real. Tests move their clock here.
	Wait func(ctx context.Context, d time.Duration) error
	// Observe receives figures; nil is silence. The names are in the package comment.
	Observe func(ctx context.Context, name string, value float64, attrs ...slog.Attr)
}

// ring is what the ring needs of it.
func (c Config) ring() keyring.Config {
	return keyring.Config{
		Keys:               c.Keys,
		KEK:                c.KEK,
		KEKs:               c.KEKs,
		KEKTimeout:         c.KEKTimeout,
		NewKEK:             c.NewKEK,
		Lease:              c.Lease,
		LongestTransaction: c.LongestTransaction,
		CacheKeys:          c.CacheKeys,
		Now:                c.Now,
		Wait:               c.Wait,
		Observe:            c.Observe,
	}
}

func (c Config) complete() (Config, error) {
	if c.Keys == nil {
		return c, fmt.Errorf("%w: Config.Keys is nil: hand in a key store, that of sqlkeys.Open", ErrDefinition)
	}
	if c.KEK == nil {
		return c, fmt.Errorf("%w: Config.KEK is nil: hand in insecurekeys.Folder (keys in files), or a KMS (examples/kms)", ErrDefinition)
	}
	if c.LongestTransaction < 0 || c.CacheKeys < 0 || c.KEKTimeout < 0 {
		return c, fmt.Errorf("%w: LongestTransaction, CacheKeys or KEKTimeout of Config is negative: leave it 0 for the default", ErrDefinition)
	}
	if err := c.checkKEKs(); err != nil {
		return c, err
	}
	for name, f := range c.Normalisers {
		if err := blindindex.CheckOwn(string(name), f); err != nil {
			return c, err
		}
	}
	c.KEKs, c.Data, c.Normalisers = slices.Clone(c.KEKs), slices.Clone(c.Data), maps.Clone(c.Normalisers)
	if c.NewKEK == "" {
		c.NewKEK = c.firstKEK()
	}
	if c.KEKTimeout == 0 {
		c.KEKTimeout = DefaultKEKTimeout
	}
	if c.Lease != 0 {
		if err := keyring.CheckLease(c.Lease); err != nil {
			return c, err
		}
	}
	if c.LongestTransaction == 0 {
		c.LongestTransaction = DefaultLongestTransaction
	}
	if c.CacheKeys == 0 {
		c.CacheKeys = DefaultCacheKeys
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Wait == nil {
		c.Wait = keyring.Wait
	}
	if c.Observe == nil {
		c.Observe = func(context.Context, string, float64, ...slog.Attr) {}
	}
	return c, nil
}

func (c Config) permitsKEK(name string) bool { return c.ring().PermitsKEK(name) }

func (c Config) checkKEKs() error { return keyring.CheckKEKs(c.KEKs) }

// firstKEK is the name of the first KEK where nobody chose one.
func (c Config) firstKEK() string {
	if c.permitsKEK(DefaultKEK) {
		return DefaultKEK
	}
	for _, entry := range c.KEKs {
		if !keyring.IsKEKPrefix(entry) {
			return entry
		}
	}
	return DefaultKEK // Create refuses it
}
