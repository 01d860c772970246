package audit

import (
	"bytes"
	"context"
	"fmt"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// Each person has one content key, drawn with the surrogate and sealed once
// under the person's own key: the head of the surrogate. What an event says
// about a person is sealed under a key that follows from the content key, so that
// the sale needs no key service, a new version of the person's key reseals one
// row a person, and the end of the person's key ends all of it, also in copies.
// The head says whose it is: it is the map from surrogate to person, too.

// sealHead seals a head under the person's key.
func (t *Trail) sealHead(ctx context.Context, tenant string, h *auditlog.Head) ([]byte, error) {
	plain, err := auditlog.AppendHead(nil, h)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	sealed, err := t.config.Keys.Seal(ctx, tenant, h.Person, plain, auditlog.HeadData(t.config.Name, h.Surrogate))
	if err != nil {
		return nil, fmt.Errorf("audit: seal: %w", err)
	}
	if bytes.Equal(sealed, plain) {
		return nil, fmt.Errorf("%w: the sealer returned the plaintext", ErrInvalid)
	}
	return sealed, nil
}

// openHead opens the head of a row, and holds it to what the row says.
func (t *Trail) openHead(ctx context.Context, tenant, person string, surrogate [16]byte, sealed []byte) (h auditlog.Head, err error) {
	plain, err := t.config.Keys.Open(ctx, tenant, person, sealed, auditlog.HeadData(t.config.Name, surrogate))
	if err != nil {
		return h, openError(err)
	}
	defer clear(plain)
	if h, err = auditlog.ParseHead(plain); err != nil {
		return h, err
	}
	if h.Surrogate != surrogate || h.Person != person {
		return auditlog.Head{}, fmt.Errorf("%w: the head of a surrogate is another one's", auditlog.ErrTampered)
	}
	return h, nil
}
