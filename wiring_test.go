package crmguard_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"log/slog"
	"testing"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/internal/alone"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// A page that shows how all six are appends what they say: each Finding is the
// same type.
var _ = []interface {
	Status(ctx context.Context) ([]encryption.Finding, error)
}{
	(*encryption.Vault)(nil), (*accesscontrol.Policy)(nil), (*audit.Trail)(nil),
	(*backup.Repository)(nil), (*backup.Job)(nil), (*integrity.Sealer)(nil), (*privacy.Desk)(nil),
}

var _ audit.Keys = alone.AuditKeys{}

// TestWhatIsOfferedFitsWhereItIsTaken is proved by the compiler: the six
// packages never import each other, so nothing else tells that a func of one
// still fits the field of another. The func is never called.
func TestWhatIsOfferedFitsWhereItIsTaken(_ *testing.T) {
	_ = func(ctx context.Context, vault *encryption.Vault, table *encryption.SealedTable, policy *accesscontrol.Policy, who accesscontrol.Principal, session func(context.Context) (accesscontrol.Principal, error), trail *audit.Trail, repo *backup.Repository, desk *privacy.Desk, ledger *erasurelog.Log) error {
		// encryption -> audit
		_ = audit.Config{
			Keys:  vault.AuditKeys(),
			Heads: audit.Heads{Ledger: audit.HeadOf(desk.LedgerHead), Keys: audit.HeadOf(vault.Head)},
		}
		_, _ = trail.Reseal(ctx, vault.AuditKeys().Resealer(new(jobs.SealerReport)))

		// encryption -> integrity
		_, _ = integrity.NewSealer(vault.Tagger("seal"))

		// encryption, audit, privacy -> backup
		_ = backup.Config{Manifests: vault.ManifestTagger()}
		_ = backup.Job{
			Positions: backup.Positions{Keys: vault.Position, Ledger: desk.LedgerHead, Trail: trail.Checkpoint},
			KeyCopy:   vault.KeyCopy("keycopy"), KeyVersions: vault.Counts(nil, "main", table),
		}
		_ = []backup.Step{
			{Name: "indexes", Run: func(ctx context.Context, _ string) error { return table.RebuildIndexes(nil, "main")(ctx) }},
			{Name: "audit", Run: func(ctx context.Context, _ string) error { return trail.CatchUp(ctx) }},
			{Name: "erasures", Run: func(ctx context.Context, _ string) error { _, err := desk.Replay(ctx); return err }},
			{Name: "gate", Run: func(ctx context.Context, _ string) error { return desk.Ready(ctx) }},
		}

		// audit, backup -> encryption: what may still need a key version
		if err := vault.DestroyKeyVersion(ctx, "main", 1, table.Holder(nil), trail.OpeningHolders, repo.KeyHolders); err != nil {
			return err
		}

		// encryption, audit, accesscontrol -> privacy
		_ = erasurelog.Config{Digests: vault.LedgerDigests()}
		_ = datastore.Func{Erase: vault.Eraser()}
		_ = datastore.Func{Erase: trail.Eraser(), Remaining: trail.Left, Sealed: true}
		_ = privacy.Config{
			Record: trail.Recorder("desk"), Prepare: trail.Prepare, Note: trail.Noter("desk"), Allow: policy.Allower(session), Aliases: vault.Aliases,
			Sign: crypto.Signer(ed25519.PrivateKey{}), Ledger: ledger,
		}
		// accesscontrol -> audit: decisions become events, and the trail asks the policy
		_ = privacy.Config{Allow: trail.Watch(policy.Allower(session))}
		_ = audit.Config{Allow: policy.Allower(session)}
		if err := trail.Decisions(ctx, "contact.read", "contact/17", policy.Check(ctx, who, "contact.read", accesscontrol.Resource{})); err != nil {
			return err
		}
		_ = sqlstore.Config{EraseOwner: func(ctx context.Context, tenant, owner string) error {
			_, err := vault.EraseRecord(ctx, tenant, owner)
			return err
		}}

		// one shape of observation everywhere
		var observe func(ctx context.Context, name string, value float64, attrs ...slog.Attr)
		_ = encryption.Config{Observe: observe}
		_ = accesscontrol.Config{Observe: observe}
		_ = audit.Config{Observe: observe}
		_ = backup.Config{Observe: observe}
		_ = backup.Job{Observe: observe}
		_ = privacy.Config{Observe: observe}
		return nil
	}
}
