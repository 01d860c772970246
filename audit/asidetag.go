package audit

import (
	"context"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/tags"
)

// A row of what was set aside explains why an event has no place in the log. Who may
// write the tables could park an event of a sale so, and have it taken for one that
// was forged and dismissed: such a row bears a tag.

const asideKeyLabel = "crmguard/audit/aside-key/v1"

// asideKeys are the keys of those tags.
func (t *Trail) asideKeys(ctx context.Context) ([]macKey, error) {
	return t.macKeys(ctx, t.config.Tenant, asideKeyLabel)
}

func asideTag(keys []macKey, id, body []byte, why string, at int64) []byte {
	return keys[0].tag(nil, tags.Aside(id, body, why, at), nil)
}

func (a *asideRow) check(keys []macKey) tagVerdict {
	return checkTag(keys, a.tag, tags.Aside(a.id, a.body, a.why, a.at), nil)
}

// asideTags looks at the tags of what was set aside.
func (c *comparison) asideTags(ctx context.Context) error {
	keys, err := c.trail.asideKeys(ctx)
	if err != nil {
		return err
	}
	defer wipe(keys)
	for after := int64(0); ; {
		rows, err := c.trail.asides(ctx, c.trail.db, after, "1 = 1")
		if err != nil || len(rows) == 0 {
			return err
		}
		for i := range rows {
			a := &rows[i]
			if after = a.n; a.check(keys) != tagRight {
				c.fault(auditlog.Tampered, -1, eventName(a.id), "crmguard_audit_aside", "a row that the sequencer has not set aside so, nor anybody dismissed")
			}
		}
	}
}

// tagAsides tags rows anew whose key is not known any more.
func (t *Trail) tagAsides(ctx context.Context) error {
	keys, err := t.asideKeys(ctx)
	if err != nil {
		return err
	}
	defer wipe(keys)
	for after := int64(0); ; {
		rows, err := t.asides(ctx, t.db, after, "1 = 1")
		if err != nil || len(rows) == 0 {
			return err
		}
		for i := range rows {
			a := &rows[i]
			if after = a.n; a.check(keys) != tagUnknown {
				continue
			}
			if err := t.within(ctx, func(tx HandoverTx) error {
				_, err := t.exec(ctx, tx, `UPDATE crmguard_audit_aside SET tag = ? WHERE n = ? AND tag = ?`, asideTag(keys, a.id, a.body, a.why, a.at), a.n, a.tag)
				return err
			}); err != nil {
				return err
			}
		}
	}
}
