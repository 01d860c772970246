package encryption_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// awayStore is a key store that nobody reaches for a while.
type awayStore struct {
	keystore.Store
	away atomic.Bool
}

var errAway = errors.New("nobody answers")

func (s *awayStore) State(ctx context.Context) (keystore.State, error) {
	if s.away.Load() {
		return keystore.State{}, errAway
	}
	return s.Store.State(ctx)
}

func (s *awayStore) Tenant(ctx context.Context, tenant string) (keystore.Rows, error) {
	if s.away.Load() {
		return keystore.Rows{}, errAway
	}
	return s.Store.Tenant(ctx, tenant)
}

func (s *awayStore) Owners(ctx context.Context, tenant string, owners []string) (keystore.Rows, error) {
	if s.away.Load() {
		return keystore.Rows{}, errAway
	}
	return s.Store.Owners(ctx, tenant, owners)
}

func (s *awayStore) Create(ctx context.Context, f func(keystore.Tx) error) error {
	if s.away.Load() {
		return errAway
	}
	return s.Store.Create(ctx, f)
}

func (s *awayStore) Update(ctx context.Context, f func(keystore.Tx) error) (keystore.State, error) {
	if s.away.Load() {
		return keystore.State{}, errAway
	}
	return s.Store.Update(ctx, f)
}

func (s *awayStore) Snapshot(ctx context.Context, f func(keystore.Tx) error) error {
	if s.away.Load() {
		return errAway
	}
	return s.Store.Snapshot(ctx, f)
}

// outage is a vault in use whose key store or KEK goes away.
type outage struct {
	*env
	store *awayStore
	kek   atomic.Bool // away
	vault *encryption.Vault
	calls map[string]func() error
}

func newOutage(t *testing.T) *outage {
	t.Helper()
	o := &outage{env: newEnv(t, 2)}
	o.store = &awayStore{Store: o.env.store}
	o.cfg.Keys = o.store
	kek := o.cfg.KEK
	o.cfg.KEK = func(ctx context.Context, tenant, name string) (tink.AEADWithContext, error) {
		if o.kek.Load() {
			return nil, errAway
		}
		return kek(ctx, tenant, name)
	}
	require.NoError(t, o.env.vault.AddTenant(t.Context(), "t2"))
	var err error
	o.vault, err = encryption.Open(t.Context(), o.cfg)
	require.NoError(t, err)
	o.use(t)
	return o
}

// use does everything once, so that a process in use has in memory what it
// has, and keeps what such a process holds in its hands.
func (o *outage) use(t *testing.T) {
	t.Helper()
	contacts, ctx := o.table(t, o.vault, contactsTable), t.Context()
	w, err := contacts.Writer(ctx, tenant, "p1")
	require.NoError(t, err)
	sealed, err := w.Seal("email", []byte("a@b.example"))
	require.NoError(t, err)
	row, err := contacts.Row(ctx, tenant, "p1", "c1")
	require.NoError(t, err)
	require.NoError(t, o.vault.Ensure(ctx, tenant, "p1"))
	folder := t.TempDir()
	_, err = o.vault.WriteCopy(ctx, folder)
	require.NoError(t, err)
	o.calls = map[string]func() error{
		"a Writer in hand":       func() error { _, err := w.Seal("email", []byte("a@b.example")); return err },
		"a row opened before":    func() error { _, err := row.Text(ctx, "email", sealed); return err },
		"a Writer, known person": func() error { _, err := contacts.Writer(ctx, tenant, "p1"); return err },
		"a Reader, known person": func() error { _, err := contacts.Row(ctx, tenant, "p1", "c1"); return err },
		"a person's first key":   func() error { return o.vault.Ensure(ctx, tenant, fmt.Sprint("new-", o.clock.Now().UnixNano())) },
		"Lookup":                 func() error { _, err := contacts.Lookup(ctx, tenant, "email_idx", "a@b.example"); return err },
		"MAC keys":               func() error { _, _, err := o.vault.AuditKeys().MACKeys(ctx, tenant, macInfo); return err },
		"tags":                   func() error { _, err := o.vault.Tagger("seal").Tag(ctx, tenant, []byte("x")); return err },
		"a tenant not in memory": func() error { return o.vault.Ensure(ctx, "t2", "p1") },
		"Erase":                  func() error { _, err := o.vault.Erase(ctx, tenant, "somebody"); return err },
		"NewKeyVersion":          func() error { _, err := o.vault.NewKeyVersion(ctx, tenant); return err },
		"WriteCopy":              func() error { _, err := o.vault.WriteCopy(ctx, folder); return err },
		"AddTenant":              func() error { return o.vault.AddTenant(ctx, fmt.Sprint("t-", o.clock.Now().UnixNano())) },
		"Open, at the start":     func() error { _, err := encryption.Open(ctx, o.cfg); return err },
	}
}

// awayTable reads what the package comment says of a process in use: what
// still works when the key store, or the KEK, has been away for so long.
func awayTable(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(text), "// # When key store or KEK are away\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "// # ")
	out := map[string][]string{}
	for line := range strings.Lines(section) {
		if fields := regexp.MustCompile(`\s{2,}`).Split(strings.TrimSpace(strings.TrimPrefix(line, "//\t")), -1); strings.HasPrefix(line, "//\t") && len(fields) == 5 && fields[0] != "" {
			out[fields[0]] = fields[1:]
		}
	}
	return out
}

// What the package comment says of outages is what happens: each call a moment,
// ten seconds and ten minutes after key store or KEK went away, and again when
// they are back.
func TestWhatWorksWhileKeyStoreOrKEKAreAway(t *testing.T) {
	table := awayTable(t)
	answers := map[string]error{"yes": nil, "ErrStore": encryption.ErrStore, "ErrKEK": encryption.ErrKEK, "ErrLease": encryption.ErrLease}
	columns := []struct {
		kek   bool
		after time.Duration
	}{{false, 0}, {false, 10 * time.Second}, {true, 10 * time.Second}, {true, 10 * time.Minute}}
	require.Len(t, table, len(newOutage(t).calls), "each call has a line")
	for call, line := range table {
		for i, column := range columns {
			o := newOutage(t)
			require.Contains(t, o.calls, call)
			want, known := answers[line[i]]
			require.True(t, known, "%s: %q", call, line[i])
			o.store.away.Store(!column.kek)
			o.kek.Store(column.kek)
			o.clock.Move(column.after)
			err := o.calls[call]()
			what := fmt.Sprintf("%s, %v after %v", call, column.after, map[bool]string{false: "the key store", true: "the KEK"}[column.kek])
			if want == nil {
				require.NoError(t, err, what)
			} else {
				require.ErrorIs(t, err, want, what)
			}
			o.store.away.Store(false)
			o.kek.Store(false)
			o.clock.Move(time.Minute)                                       // the longest pause before a KEK is asked again
			if err := o.calls[call](); !strings.Contains(call, "in hand") { // its lease is over
				require.NoError(t, err, "%s, back", what)
			}
		}
	}
}
