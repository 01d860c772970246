package audit_test

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/sqltrail"
)

func TestGenerateKeyRefusesWhatNoSignerCanBear(t *testing.T) {
	for _, name := range []string{"", "crm audit", "crm+audit", "crm\taudit", "crm\u00a0audit", "\xff"} {
		_, _, err := audit.GenerateKey(name, 0)
		require.ErrorIs(t, err, audit.ErrInvalid, "%q", name)
	}
	_, _, err := audit.GenerateKey("crm.example/audit", -1)
	require.ErrorIs(t, err, audit.ErrInvalid)
	skey, vkey, err := audit.GenerateKey("crm.example/audit", 3)
	require.NoError(t, err)
	_, err = note.NewSigner(skey)
	require.NoError(t, err)
	_, err = note.NewVerifier(vkey)
	require.NoError(t, err)
}

func TestOpenNamesWhatIsMissing(t *testing.T) {
	b := newBench(t)
	store, err := sqltrail.Open(t.Context(), b.db)
	require.NoError(t, err)
	_, err = audit.Open(t.Context(), (*sqltrail.Store)(nil), b.config) // the error of sqltrail.Open was not looked at
	require.ErrorContains(t, err, "no database")
	_, err = audit.Open(t.Context(), nil, audit.Config{})
	require.ErrorIs(t, err, audit.ErrInvalid)
	require.EqualError(t, err, "audit: invalid: open: missing: the store, Name, Tenant, Key (the first result of GenerateKey; or Signer and Verifier, of a KMS), Sink, Keys (KeysFile, KeysFrom or AuditKeys of a vault)")
	for want, change := range map[string]func(c *audit.Config){
		"missing: Sink":                      func(c *audit.Config) { c.Sink = nil },
		"missing: Key (the first result":     func(c *audit.Config) { c.Verifier = "" },
		"missing: Keys (KeysFile":            func(c *audit.Config) { c.Keys = nil },
		"it is the signing key":              func(c *audit.Config) { c.Verifier, _, err = audit.GenerateKey("crm.example/audit", 0) },
		"Key stands for Signer and Verifier": func(c *audit.Config) { c.Key, _, err = audit.GenerateKey("crm.example/audit", 0) },
		"does not begin with PRIVATE+KEY+":   func(c *audit.Config) { c.Key, c.Signer, c.Verifier = c.Verifier, nil, "" },
		"open: Key: malformed":               func(c *audit.Config) { c.Key, c.Signer, c.Verifier = "PRIVATE+KEY+x", nil, "" },
		"Prepared is at most ten minutes":    func(c *audit.Config) { c.Prepared = time.Hour },
		"RetryFor is at most 30 days":        func(c *audit.Config) { c.RetryFor = 31 * 24 * time.Hour },
		"Classes: a key is an action":        func(c *audit.Config) { c.Classes = map[string]audit.Failure{"*": audit.FailOpen} },
		"Classes: a value is neither":        func(c *audit.Config) { c.Classes = map[string]audit.Failure{"a.b": 7} },
		"Classes: two keys say the same": func(c *audit.Config) {
			c.Classes = map[string]audit.Failure{"a.": audit.FailOpen, "a.*": audit.FailClosed}
		},
		"Name is without the counter":              func(c *audit.Config) { c.Name = "crm.example/audit/0" },
		"key belongs to \"crm.example/audit/0\"":   func(c *audit.Config) { c.Recoveries = 2 },
		"Signer and Verifier are not of one pair":  func(c *audit.Config) { _, c.Verifier, err = audit.GenerateKey("crm.example/audit", 0) },
		"the number of recoveries is below 0":      func(c *audit.Config) { c.Recoveries = -1 },
		"the name of the log holds '+'":            func(c *audit.Config) { c.Name = "crm example" },
		"Signer signs for \"crm.example/audit/1\"": func(c *audit.Config) { c.Signer = signerOf(t, 1) },
		"a declared field name of \"x\" has a fo":  func(c *audit.Config) { c.Fields = map[string][]string{"x": {"a b"}} },
	} {
		c := b.config
		change(&c)
		_, err := audit.Open(t.Context(), store, c)
		require.ErrorContains(t, err, want)
	}
}

func signerOf(t *testing.T, recoveries int) note.Signer {
	t.Helper()
	skey, _, err := audit.GenerateKey("crm.example/audit", recoveries)
	require.NoError(t, err)
	signer, err := note.NewSigner(skey)
	require.NoError(t, err)
	return signer
}

// A wrong verifier key is told from a log that was changed.
func TestAnotherKeyIsNotTampering(t *testing.T) {
	b := newBench(t)
	id := b.record(update("p1", 1))
	b.run()
	_, other, err := audit.GenerateKey("crm.example/audit", 0)
	require.NoError(t, err)
	report, err := auditlog.VerifyLog(t.Context(), b.sink.FS(), auditlog.Trust{Key: other})
	require.NoError(t, err)
	require.Equal(t, auditlog.Tampered, report.Verdict)
	require.Contains(t, report.Faults[0].What, "not signed by this key")

	proof, err := b.trail.Proof(t.Context(), id)
	require.NoError(t, err)
	leaf, err := b.trail.Leaf(t.Context(), id)
	require.NoError(t, err)
	_, err = auditlog.Verify(auditlog.Trust{Key: other}, leaf, proof)
	require.ErrorIs(t, err, auditlog.ErrNotSigned)
	require.ErrorIs(t, err, auditlog.ErrTampered)
	_, err = auditlog.Verify(b.trust(), append(leaf, ' '), proof)
	require.ErrorIs(t, err, auditlog.ErrTampered)
	require.NotErrorIs(t, err, auditlog.ErrNotSigned)
	_, err = auditlog.VerifyLog(t.Context(), b.sink.FS(), auditlog.Trust{Key: other, Kept: b.checkpoint()})
	require.ErrorIs(t, err, auditlog.ErrInvalid)
	require.ErrorContains(t, err, "Kept: auditlog: not signed by this key")
	_, err = auditlog.VerifyLog(t.Context(), b.sink.FS(), auditlog.Trust{})
	require.ErrorContains(t, err, "second result of GenerateKey")

	files := b.sink.FS()
	signed := files["checkpoint"].Data
	files["checkpoint"].Data = append([]byte("crm.example/audit/0\n9"), signed[len("crm.example/audit/0\n"):]...)
	report, err = auditlog.VerifyLog(t.Context(), files, b.trust())
	require.NoError(t, err)
	require.Equal(t, auditlog.Tampered, report.Verdict)
	require.Contains(t, report.Faults[0].What, "the checkpoint was changed")
}

// Nothing panics on a Trail that Open did not make, nor without a folder.
func TestAZeroTrailIsAnError(t *testing.T) {
	ctx := t.Context()
	_, err := auditlog.VerifyLog(ctx, nil, auditlog.Trust{})
	require.ErrorIs(t, err, auditlog.ErrInvalid)
	for _, err := range auditlog.Entries(ctx, nil) {
		require.ErrorIs(t, err, auditlog.ErrInvalid)
	}
	event := audit.Event{Tenant: "main", Actor: "u", Action: "a.b"}
	for _, trail := range []*audit.Trail{nil, {}} {
		require.Empty(t, trail.Origin())
		for name, call := range map[string]func() error{
			"Record":     func() error { return only(trail.Record(ctx, nil, event)) },
			"Note":       func() error { return only(trail.Note(ctx, event)) },
			"Recorder":   func() error { return trail.Recorder("u")(ctx, nil, "main", "a.b") },
			"Noter":      func() error { return trail.Noter("u")(ctx, "main", "a.b") },
			"Prepare":    func() error { return trail.Prepare(ctx, "main") },
			"Run":        func() error { return trail.Run(ctx) },
			"RunOnce":    func() error { _, err := trail.RunOnce(ctx); return err },
			"Beat":       func() error { return trail.Beat(ctx) },
			"Progress":   func() error { _, err := trail.Progress(ctx); return err },
			"Status":     func() error { _, err := trail.Status(ctx); return err },
			"Checkpoint": func() error { _, err := trail.Checkpoint(ctx); return err },
			"CatchUp":    func() error { return trail.CatchUp(ctx) },
			"Erase":      func() error { return trail.Eraser()(ctx, "main", "p") },
			"Merge":      func() error { return trail.Merge(ctx, "main", "p", "q") },
			"DropMirror": func() error { return trail.DropMirror(ctx) },
			"Export":     func() error { return only(trail.Export(ctx, io.Discard, audit.Filter{Tenant: "main"})) },
			"Find":       func() error { return only(trail.Find(ctx, audit.Filter{Tenant: "main"}, audit.Page{})) },
			"Prune":      func() error { return only(trail.Prune(ctx, time.Time{})) },
			"Republish":  func() error { return only(trail.Republish(ctx)) },
			"Leaf":       func() error { _, err := trail.Leaf(ctx, "x"); return err },
			"Proof":      func() error { _, err := trail.Proof(ctx, "x"); return err },
			"Verify":     func() error { _, err := trail.VerifyStore(ctx, nil); return err },
			"Holders":    func() error { _, _, err := trail.OpeningHolders(ctx, "main", 1); return err },
			"Reseal":     func() error { _, err := trail.Reseal(ctx, nil); return err },
			"History": func() (err error) {
				for _, err = range trail.History(ctx, "main", audit.About("p"), audit.Page{}) {
				}
				return err
			},
		} {
			require.ErrorIs(t, call(), audit.ErrNotOpen, name)
		}
	}
}
