package audit

import (
	"context"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// own is an event of the trail's own as a row: an erasure, a gap. It is made
// outside of the transaction that others wait for, because the keys of its tag
// may need a service. Its id is the trail's own, so that nothing is compared with
// a retry: the same id is the same event.
func (t *Trail) own(ctx context.Context, leaf *auditlog.Leaf) (*queuedRow, error) {
	id, err := auditlog.ParseID(leaf.ID)
	if err != nil {
		return nil, err
	}
	data, err := auditlog.AppendLeaf(nil, leaf)
	if err != nil {
		return nil, err
	}
	keys, err := t.macKeys(ctx, leaf.Tenant, queueKeyLabel)
	if err != nil {
		return nil, err
	}
	defer wipe(keys)
	body, err := auditlog.AppendRowBody(nil, auditlog.RowBody{
		Tag: queueTag(nil, &keys[0], t.config.Name, leaf.Tenant, nil, data), Leaf: data,
	})
	if err != nil {
		return nil, err
	}
	return &queuedRow{id: id, retry: []byte{}, body: body}, nil
}
