package audit

import (
	"context"
	"errors"
	"strings"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// judged is the verdict on the opening of one (event, owner).
type judged struct {
	verdict OpeningVerdict
	person  string            // person id, "" where it is nobody or unknown
	opening *auditlog.Opening // where the verdict is ok or returned and it opened
	why     string
}

// judge says what became of an opening: sealed is nil where the row is gone, and
// row is that of the owner's surrogate, nil where there is none. Erased needs all
// three: no opening, an erasure in the log that names the surrogate, and the row of
// the surrogate as its tombstone. A deletion by hand has at most two.
func (t *Trail) judge(ctx context.Context, ev *evidence, index int64, leaf *auditlog.Leaf, owner string, sealed []byte, row *personRow) (judged, error) {
	var j judged
	if row != nil && row.person != nil {
		j.person = *row.person
	}
	tomb := row != nil && (row.state == surrogateErased || row.state == surrogateErasing)
	known := row != nil && row.person != nil && row.head != nil
	key := [2]string{leaf.Tenant, owner}
	_, erased := ev.erased[key]
	if sealed == nil {
		switch {
		case erased && tomb:
			j.verdict = OpeningErased
		case ev.pending[key] && tomb:
			j.verdict = OpeningPending
		case ev.ruled(index, leaf):
			j.verdict = OpeningPruned
		case index >= 0 && ev.wasLost(index):
			j.verdict = OpeningLost
		case erased:
			j.verdict, j.why = OpeningMissing, "an erasure names it, but the surrogate is still there"
		default:
			j.verdict, j.why = OpeningMissing, "no erasure, recovery or retention in the log explains it"
		}
		return j, nil
	}
	switch {
	case row != nil && row.state == surrogateErasing:
		j.verdict = OpeningPending // it is being deleted
		return j, nil
	case ev.ruled(index, leaf) && !erased:
		j.verdict, j.why = OpeningPending, "the log says that it went with retention: call PruneOpenings again"
		return j, nil
	case !known:
		unmapped := row != nil && row.state == surrogateUnmapped
		switch {
		case erased || ev.pending[key]:
			j.verdict, j.why = OpeningReturned, "it was erased"
		case unmapped && row.head != nil:
			j.verdict = OpeningUnmapped
		case row != nil && row.state == surrogateBeside:
			j.verdict, j.why = OpeningAltered, "the head of its surrogate does not open"
		case unmapped && index >= 0 && ev.wasLost(index): // a restore brought it back from the mirror, and not the head
			j.verdict = OpeningLost
		default:
			j.verdict, j.why = OpeningAltered, "the head of its surrogate is gone"
		}
		return j, nil
	}
	o, err := t.unseal(ctx, leaf, row, sealed)
	if err == nil {
		err = o.Matches(leaf, owner)
	}
	switch {
	case ctx.Err() != nil:
		return j, ctx.Err()
	case errors.Is(err, ErrKeys):
		return j, err
	case errors.Is(err, errKeyGone):
		j.verdict, j.why = OpeningKeyless, "no erasure in the log explains it"
	case err != nil:
		j.verdict, j.why = OpeningAltered, "it does not open, or not to what the event commits to"
	default:
		j.verdict, j.opening = OpeningOK, o
	}
	if erased {
		j.verdict, j.why = OpeningReturned, "it was erased"
	}
	return j, nil
}

// unseal opens an opening under the content key that the head of its surrogate
// holds.
func (t *Trail) unseal(ctx context.Context, leaf *auditlog.Leaf, row *personRow, sealed []byte) (*auditlog.Opening, error) {
	id, err := auditlog.ParseID(leaf.ID)
	if err != nil {
		return nil, err
	}
	head, err := t.headOf(ctx, leaf.Tenant, row)
	if err != nil {
		return nil, err
	}
	if !row.keep {
		defer clear(head.Content[:])
	}
	plain, err := auditlog.OpenBody(&head.Content, id, row.surrogate, sealed)
	if err != nil {
		return nil, err
	}
	return auditlog.ParseBody(plain)
}

// headOf opens the head of a row, once where the row keeps it.
func (t *Trail) headOf(ctx context.Context, tenant string, row *personRow) (*auditlog.Head, error) {
	if row.opened != nil {
		return row.opened, nil
	}
	head, err := t.openHead(ctx, tenant, *row.person, row.surrogate, row.head)
	if err != nil {
		return nil, err
	}
	if row.keep {
		row.opened = &head
	}
	return &head, nil
}

// wipe overwrites the content key that a row keeps.
func (p *personRow) wipe() {
	if p.opened != nil {
		clear(p.opened.Content[:])
		p.opened = nil
	}
}

// ownerBytes is an owner as the tables have it: nobody is zeros.
func ownerBytes(owner string) ([16]byte, error) {
	if owner == auditlog.Nobody {
		return [16]byte{}, nil
	}
	return surrogateBytes(owner)
}

// ownerText is an owner as leaves have it.
func ownerText(owner [16]byte) string {
	if owner == ([16]byte{}) {
		return auditlog.Nobody
	}
	return surrogateText(owner)
}

// surrogatesNamed reads the rows of surrogates of a tenant, by surrogate.
func (t *Trail) surrogatesNamed(ctx context.Context, q sqldb.Querier, tenant string, surrogates [][16]byte, out map[[16]byte]*personRow) error {
	if len(surrogates) == 0 {
		return nil
	}
	of, args := t.ofSurrogates(surrogates)
	return t.query(ctx, q, func(rows answer) error {
		p, err := scanPerson(rows)
		out[p.surrogate] = &p
		return err
	}, `SELECT `+strings.Join(personColumns(), ", ")+` FROM crmguard_audit_surrogates WHERE tenant = ? AND `+of, append([]any{tenant}, args...)...)
}

// sealedOf reads the openings of an entry by owner.
func (t *Trail) sealedOf(ctx context.Context, index int64) (map[string][]byte, error) {
	out := make(map[string][]byte)
	return out, t.query(ctx, t.db, func(rows answer) error {
		var owner, sealed []byte
		if err := rows.Scan(&owner, &sealed); err != nil {
			return err
		}
		out[ownerOfRow(owner)] = sealed
		return nil
	}, `SELECT `+upTo(mostID, "owner")+`, `+upTo(mostSealed, "sealed")+` FROM crmguard_audit_openings WHERE idx = ?`, index)
}

// ownerOfRow is the owner that a row names: nobody's where its bytes are none.
func ownerOfRow(owner []byte) string {
	if len(owner) != 16 {
		return "?" + string(owner)
	}
	return ownerText([16]byte(owner))
}
