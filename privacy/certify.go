package privacy

import (
	"context"
	"time"

	"github.com/crmguard/crmguard/privacy/certificate"
)

// certify signs what became of a plan whose intent is entry n of the ledger.
func (d *Desk) certify(ctx context.Context, p *Plan, o Outcome, n int64, unreadable time.Time, event string) (c *certificate.Certificate, salt []byte, err error) {
	salt = certificate.NewSalt()
	person, err := certificate.Commit(salt, p.Tenant, p.Person)
	if err != nil {
		return nil, nil, mute("naming the person on the certificate", err)
	}
	c, err = certificate.Sign(ctx, d.sign(), certificate.Statement{
		Intent: n, Person: person, Records: records(p.Counts), NotCovered: o.NotCovered,
		UnreadableLiveAt: unreadable, FinalAt: unreadable.Add(d.cfg.window()), AuditEvent: event,
	})
	return c, salt, mute("signing the certificate", err)
}

func records(counts []Count) []certificate.Records {
	list := make([]certificate.Records, 0, len(counts))
	for _, c := range counts {
		r := certificate.Records{Store: c.Store, Table: c.Table, Class: certificate.Class(c.Class), Count: int64(c.Rows)}
		if r.Class == certificate.Kept {
			r.Until, r.Because = c.Until, c.Because
		}
		list = append(list, r)
	}
	return list
}
