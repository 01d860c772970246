package audit_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/internal/testdb"
)

// servedKeys are keys of a service that can be away, whole or for one tenant.
type servedKeys struct {
	*audittest.Keys
	mac, open atomic.Bool // away
	tenant    string      // whose, "" for all
}

var errKeysAway = errors.New("the key service is away")

func (k *servedKeys) away(of *atomic.Bool, tenant string) bool {
	return of.Load() && (k.tenant == "" || k.tenant == tenant)
}

func (k *servedKeys) MACKeys(ctx context.Context, tenant string, info []byte) ([]uint32, [][]byte, error) {
	if k.away(&k.mac, tenant) {
		return nil, nil, errKeysAway
	}
	return k.Keys.MACKeys(ctx, tenant, info)
}

func (k *servedKeys) Open(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
	if k.away(&k.open, tenant) {
		return nil, errKeysAway
	}
	return k.Keys.Open(ctx, tenant, person, sealed, ad)
}

// withConfig is an asker on SQLite whose trail is set up otherwise.
func withConfig(t *testing.T, change func(c *audit.Config)) *asker {
	t.Helper()
	a := newAsker(t, testdb.New(t, testdb.SQLite).Open(t))
	change(&a.config)
	a.open()
	return a
}

// While the keys do not answer there is no answer about what waits: it would be
// short, and nothing would say so. Another tenant's are no matter.
func TestNoAnswerWhileTheKeysAreAway(t *testing.T) {
	keys := &servedKeys{Keys: audittest.NewKeys(), tenant: "main"}
	a := withConfig(t, func(c *audit.Config) { c.Keys = keys })
	for range 3 {
		a.tell(audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export", Object: audit.Ref("deal", "7")})
	}
	id := a.tell(audit.Event{Tenant: "other", Actor: "u-1", Action: "contact.export"})
	mine := a.told[0].ID
	keys.mac.Store(true)
	away := func(what string, err error) {
		require.ErrorIs(t, err, audit.ErrKeys, what)
		require.ErrorIs(t, err, errKeysAway, what)
		require.NotErrorIs(t, err, auditlog.ErrTampered, what)
	}
	_, err := a.trail.Find(t.Context(), audit.Filter{Tenant: "main"}, audit.Page{})
	away("find", err)
	for _, err := range a.trail.History(t.Context(), "main", audit.Ref("deal", "7"), audit.Page{}) {
		away("history", err)
	}
	var out strings.Builder
	_, err = a.trail.Export(t.Context(), &out, audit.Filter{Tenant: "main"})
	away("export", err)
	_, err = a.trail.Event(t.Context(), mine)
	away("event", err)
	found, err := a.trail.Find(t.Context(), audit.Filter{Tenant: "other"}, audit.Page{})
	require.NoError(t, err)
	require.Len(t, found.Entries, 1)
	_, err = a.trail.Event(t.Context(), id)
	require.NoError(t, err)
	keys.mac.Store(false)
	require.Len(t, a.find(audit.Filter{Tenant: "main"}, audit.Page{}).Entries, 3)
}

// What waits and is in no answer is counted: what somebody changed as damaged,
// what another process has the key or the version for as pending.
func TestWhatCannotBeReadWhileItWaitsIsCounted(t *testing.T) {
	eachAsker(t, func(t *testing.T, a *asker) {
		for range 5 {
			a.tell(audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export"})
		}
		change := func(seq int64, change func(body []byte)) {
			var body []byte
			require.NoError(t, a.db.QueryRowContext(t.Context(), a.trail.Dialect().Bind(`SELECT body FROM crmguard_audit_events WHERE seq = (SELECT MIN(seq) + ? FROM crmguard_audit_events WHERE idx IS NULL)`), seq).Scan(&body))
			before := append([]byte(nil), body...)
			change(body)
			a.exec(`UPDATE crmguard_audit_events SET body = ? WHERE body = ?`, body, before)
		}
		change(0, func(body []byte) { body[len(body)-3] ^= 1 }) // its leaf, or what is sealed
		change(1, func(body []byte) { body[0] = 9 })            // of a later version
		found, err := a.trail.Find(t.Context(), audit.Filter{Tenant: "main"}, audit.Page{Size: 2})
		require.NoError(t, err)
		require.Len(t, found.Entries, 2)
		require.EqualValues(t, 1, found.Damaged)
		require.EqualValues(t, 1, found.Pending)
		found, err = a.trail.Find(t.Context(), audit.Filter{Tenant: "main"}, audit.Page{Size: 2, Before: found.Next})
		require.NoError(t, err)
		require.Len(t, found.Entries, 1)
		require.Zero(t, found.Damaged+found.Pending, "the first page has said so")
		var lacks *audit.PartialError
		for e, err := range a.trail.History(t.Context(), "main", audit.Ref("deal", "7"), audit.Page{}) {
			require.Empty(t, e.Leaf.ID)
			require.ErrorAs(t, err, &lacks)
			require.ErrorIs(t, err, audit.ErrPartial)
		}
		require.Equal(t, &audit.PartialError{Pending: 1, Damaged: 1}, lacks, "a history ends with what it lacks")
	})
}

// A key service that is away for a minute accuses nobody: neither a question nor
// VerifyStore calls that tampering what it could not open.
func TestAnOutageIsNotCalledTampering(t *testing.T) {
	keys := &servedKeys{Keys: audittest.NewKeys()}
	a := withConfig(t, func(c *audit.Config) { c.Keys = keys })
	id := a.tell(audit.Event{
		Tenant: "main", Actor: "u-1", Action: "contact.update", Object: audit.PersonRef("contact", "p1"),
		Changes: audit.Diff("p1", nil, map[string]any{"email": "p1@canary.example"}),
	})
	a.run()
	ask := func() map[string]error {
		out := make(map[string]error)
		_, out["find"] = a.trail.Find(t.Context(), audit.Filter{Tenant: "main", Person: "p1"}, audit.Page{})
		_, out["event"] = a.trail.Event(t.Context(), id)
		var text strings.Builder
		_, out["export"] = a.trail.Export(t.Context(), &text, audit.Filter{Tenant: "main", Person: "p1"})
		_, out["disclose"] = a.trail.Disclose(t.Context(), id, "email", "p1", auditlog.SideNew)
		_, out["verify"] = a.trail.VerifyStore(t.Context(), nil)
		return out
	}
	keys.open.Store(true)
	for what, err := range ask() {
		require.ErrorIs(t, err, audit.ErrKeys, what)
		require.ErrorIs(t, err, errKeysAway, what)
		require.NotErrorIs(t, err, audit.ErrClosed, what)
	}
	keys.open.Store(false)
	for what, err := range ask() {
		require.NoError(t, err, what)
	}
	a.tell(audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.export"})
	keys.mac.Store(true)
	_, err := a.trail.VerifyStore(t.Context(), nil)
	require.Error(t, err)
	require.ErrorIs(t, err, errKeysAway)
}

// Between the end of a person's key and the erasure that the trail is told of
// nothing is altered; what is there does not open, and that is said.
func TestAKeyThatIsGoneBeforeTheErasure(t *testing.T) {
	keys := audittest.NewKeys()
	a := withConfig(t, func(c *audit.Config) { c.Keys = keys })
	id := a.tell(audit.Event{
		Tenant: "main", Actor: "u-1", Action: "contact.update", Object: audit.PersonRef("contact", "p1"),
		Changes: audit.Diff("p1", nil, map[string]any{"email": "p1@canary.example"}),
	})
	a.run()
	require.NoError(t, keys.Erase(t.Context(), "main", "p1"))
	found := a.find(audit.Filter{Tenant: "main", Person: "p1"}, audit.Page{})
	require.Equal(t, audit.OpeningKeyless, found.Entries[0].Changes[0].Verdict)
	_, err := a.trail.Disclose(t.Context(), id, "email", "p1", auditlog.SideNew)
	require.ErrorIs(t, err, audit.ErrClosed)
	report, err := a.trail.VerifyStore(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, auditlog.Incomplete, report.Verdict, "%v", report.Faults)
	require.EqualValues(t, 1, report.Openings[audit.OpeningKeyless])
	require.NoError(t, a.trail.Erase(t.Context(), "main", "p1"))
	a.run()
	report, err = a.trail.VerifyStore(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, auditlog.Unanchored, report.Verdict, "%v", report.Faults)
	require.EqualValues(t, 1, report.Openings[audit.OpeningErased])
}

// Each sealer of this library says of bytes that do not open that they never will,
// and says it of nothing else; what somebody changed is told by a verdict.
func TestSealersTellAVerdictFromAnOutage(t *testing.T) {
	alone, err := audit.KeysFrom([]byte("0123456789abcdef0123456789abcdef"))
	require.NoError(t, err)
	for _, keys := range []audit.Keys{alone, audittest.NewKeys()} {
		sealed, err := keys.Seal(t.Context(), "main", "p1", []byte("text"), []byte("ad"))
		require.NoError(t, err)
		for i := range sealed {
			sealed[i] ^= 1
			_, err := keys.Open(t.Context(), "main", "p1", sealed, []byte("ad"))
			var never interface{ NeverOpens() bool }
			require.ErrorAs(t, err, &never, "byte %d", i)
			require.False(t, never.NeverOpens(), "the key is there")
			sealed[i] ^= 1
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := keys.Open(ctx, "main", "p1", sealed, []byte("ad")); err != nil {
			require.ErrorIs(t, err, context.Canceled)
			var never interface{ NeverOpens() bool }
			require.NotErrorAs(t, err, &never)
		}
	}
}
