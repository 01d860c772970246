package privacy

import (
	"context"
	"log/slog"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

func planAttr(id string) slog.Attr { return slog.String("object", "plan/"+id) }

// headAttrs put the ledger's head into the trail.
func headAttrs(h erasurelog.Head) ([]slog.Attr, error) {
	data, err := h.Bytes()
	return []slog.Attr{slog.String("digest", string(data)), slog.Int64("count", h.N)}, mute("encoding the ledger's head", err)
}

// recordHead writes an audit event that carries the ledger's head.
func (d *Desk) recordHead(ctx context.Context, tx datastore.Tx, h erasurelog.Head, tenant, action string, attrs ...slog.Attr) error {
	more, err := headAttrs(h)
	if err != nil {
		return err
	}
	return d.record(ctx, tx, tenant, action, append(attrs, more...)...)
}

// record writes an audit event with a fresh id in the transaction.
func (d *Desk) record(ctx context.Context, tx datastore.Tx, tenant, action string, attrs ...slog.Attr) error {
	id, err := uuid.NewV7()
	if err != nil {
		return mute("drawing an id", err)
	}
	return d.recordAs(ctx, tx, id.String(), tenant, action, attrs...)
}

func (d *Desk) recordAs(ctx context.Context, tx datastore.Tx, id, tenant, action string, attrs ...slog.Attr) error {
	if d.cfg.Record == nil {
		return nil
	}
	return mute("recording "+action, d.cfg.Record(ctx, tx, tenant, action, append(attrs, slog.String("id", id))...))
}
