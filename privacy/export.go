package privacy

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"

	"filippo.io/age"
	"github.com/google/uuid"

	"github.com/crmguard/crmguard/privacy/bundle"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// ErrRecipient says that the recipient is no age X25519 recipient. A secret
// identity is refused too: the desk has no use for it.
var ErrRecipient = errors.New("privacy: recipient is no age X25519 recipient (age1…)")

// Exported says what [Desk.Export] has written.
type Exported struct {
	Name     string           // for the file, without anything about the person: "export-<id>.zip.age"
	Size     int64            // bytes
	SHA256   string           // hex, of all of them
	Manifest *bundle.Manifest // what is inside
}

// Export writes everything about the person and those merged into it into w: a
// bundle (package bundle), encrypted for the recipient with age. Sealed values are
// opened; nothing is exported when one does not open.
//
// Rows are never all in memory: 100,000 take 20 MB while they are found, and less
// than 40 where they lead to rows of their own. The first byte goes to w when every
// record was read and the trail has noted privacy.export; behind the last one it
// notes privacy.exported. After an error throw away what w holds; what was cut off
// does not open. A call of w that hangs is waited for, also when ctx has ended,
// since w is the caller's again when Export returns; it keeps no connection, and
// nobody else waits but another export of the same person.
func (d *Desk) Export(ctx context.Context, tenant, person, recipient string, w io.Writer) (*Exported, error) {
	if err := errors.Join(validID("tenant", tenant), validPerson(person)); err != nil {
		return nil, err
	}
	to, err := age.ParseX25519Recipient(recipient)
	if err != nil {
		return nil, ErrRecipient
	}
	if err := d.allow(ctx, "privacy.export", "person/"+person); err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, mute("drawing an id", err)
	}
	release, _, err := d.turns.take(ctx, "export\x00"+about(tenant, person)) // a store is asked about a person once at a time
	if err != nil {
		return nil, mute("waiting for another export of the same person", err)
	}
	defer release()
	persons, err := d.persons(ctx, tenant, person)
	if err != nil {
		return nil, err
	}
	scope := datastore.Scope{Tenant: tenant, Now: d.now()}
	if scope.Identities, err = d.identities(ctx, scope, persons); err != nil {
		return nil, err
	}
	o := newOutlet(w, to, func() error {
		return d.noteAlone(ctx, tenant, "privacy.export", exportAttr(id), slog.String("id", id.String()))
	})
	manifest, err := d.writeExport(ctx, scope, persons, o)
	if err != nil {
		return nil, err
	}
	e := &Exported{Name: "export-" + id.String() + ".zip.age", Size: o.out.size, SHA256: hex.EncodeToString(o.out.sum.Sum(nil)), Manifest: manifest}
	event, err := uuid.NewV7()
	if err != nil {
		return nil, mute("drawing an id", err)
	}
	err = d.noteAlone(ctx, tenant, "privacy.exported", exportAttr(id), slog.String("id", event.String()), slog.String("digest", e.SHA256), slog.Int("count", len(manifest.Files)))
	if err != nil {
		return nil, err
	}
	d.observe(ctx, "privacy.exported", float64(e.Size))
	return e, nil
}

// exportAttr tells which of the two events belong together.
func exportAttr(id uuid.UUID) slog.Attr { return slog.String("object", "export/"+id.String()) }

// noteAlone writes an audit event of its own.
func (d *Desk) noteAlone(ctx context.Context, tenant, action string, attrs ...slog.Attr) error {
	if d.cfg.Note == nil {
		return nil
	}
	return mute("recording "+action, d.cfg.Note(ctx, tenant, action, attrs...))
}
