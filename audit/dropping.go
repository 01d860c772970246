package audit

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// Who was erased between Prepare and filing is found here: the sequencer asks,
// under the lock under which an erasure marks its surrogates, what became of all
// that a batch names. What was sealed about an erased one is dropped, its leaf
// stays. The mark of a surrogate counts by its tag alone, so that who may write
// the table cannot have the trail destroy what it should keep.

// surrogateID is a surrogate of a tenant.
type surrogateID struct {
	tenant    string
	surrogate [16]byte
}

// dropping is what became of surrogates.
type dropping struct {
	erased map[surrogateID]bool
	forged []surrogateID // rows whose tag is wrong
	absent []surrogateID // no row at all
}

func (d *dropping) drops(tenant string, owner [16]byte) bool {
	return d.erased[surrogateID{tenant, owner}]
}

func (d *dropping) about(tenant string, persons [][16]byte) bool {
	return slices.ContainsFunc(persons, func(p [16]byte) bool { return d.drops(tenant, p) })
}

// surrogateK is how a surrogate stands in the index of persons.
func surrogateK(surrogate [16]byte) int64 { return int64(binary.BigEndian.Uint64(surrogate[:8])) }

// named are the surrogates that rows name, each once, by tenant.
func named(rows []checked) map[string][][16]byte {
	out := make(map[string][][16]byte)
	for i := range rows {
		out[rows[i].leaf.Tenant] = append(out[rows[i].leaf.Tenant], rows[i].persons...)
	}
	for tenant, all := range out {
		slices.SortFunc(all, func(a, b [16]byte) int { return bytes.Compare(a[:], b[:]) })
		out[tenant] = slices.Compact(all)
	}
	return out
}

// became reads, under the lock, what became of the surrogates that rows name, and
// brings back rows of those that have none: whose they are is not known any more.
func (t *Trail) became(ctx context.Context, tx HandoverTx, rows []checked, keys *passKeys) (*dropping, error) {
	d := &dropping{erased: make(map[surrogateID]bool)}
	for tenant, all := range named(rows) {
		for part := range slices.Chunk(all, rowsAStatement) {
			if err := t.becameOf(ctx, tx, tenant, part, keys.by[tenant].surrogates, d); err != nil {
				return nil, err
			}
		}
	}
	return d, t.bringBack(ctx, tx, d.absent, keys)
}

func (t *Trail) becameOf(ctx context.Context, tx HandoverTx, tenant string, part [][16]byte, keys []macKey, d *dropping) error {
	missing := make(map[[16]byte]bool, len(part))
	for i := range part {
		missing[part[i]] = true
	}
	of, args := t.ofSurrogates(part)
	err := t.query(ctx, tx, func(found answer) error {
		r, err := scanSurrogate(found, tenant)
		if err != nil {
			return err
		}
		delete(missing, r.surrogate)
		switch r.check(keys) {
		case tagRight:
			if r.state == surrogateErased || r.state == surrogateErasing {
				d.erased[r.surrogateID] = true
			}
		case tagWrong:
			d.forged = append(d.forged, r.surrogateID)
		case tagUnknown:
		}
		return nil
	}, `SELECT `+markColumns+` FROM crmguard_audit_surrogates WHERE tenant = ? AND `+of, append([]any{tenant}, args...)...)
	for s := range missing {
		d.absent = append(d.absent, surrogateID{tenant, s})
	}
	return err
}

// ofSurrogates is the condition of being one of them.
func (t *Trail) ofSurrogates(surrogates [][16]byte) (condition string, args []any) {
	if t.db.Kind == sqldb.Postgres {
		return `surrogate = ANY (CAST(? AS bytea[]))`, []any{sqldb.Byteas(surrogates)}
	}
	for i := range surrogates {
		args = append(args, surrogates[i][:])
	}
	return `surrogate IN (` + sqldb.Marks(len(surrogates)) + `)`, args
}

// surrogateMark is the row of a surrogate, as far as its tag vouches for it.
type surrogateMark struct {
	surrogateID
	state  byte
	into   []byte
	person *string // whose it is, where it is live: otherwise the column says nothing
	tag    []byte
}

// markColumns are those of a mark.
var markColumns = upTo(mostID, "surrogate") + `, state, ` + upTo(mostID, "into_surrogate") + `, person, ` + upTo(tagSize, "tag")

func scanSurrogate(found answer, tenant string) (r surrogateMark, err error) {
	var raw []byte
	var state int64
	err = found.Scan(&raw, &state, &r.into, &r.person, &r.tag)
	r.tenant = tenant
	r.fill(raw, state)
	return r, err
}

func (r *surrogateMark) fill(surrogate []byte, state int64) {
	copy(r.surrogate[:], surrogate)
	if r.state = byte(state); state < 0 || state > 255 {
		r.state = 255 // no tag says so
	}
}

func (r *surrogateMark) check(keys []macKey) tagVerdict {
	return checkSurrogateTag(keys, r.tenant, r.surrogate, r.state, r.into, r.whose(), r.tag)
}

// whose is the person whom a tag has to vouch for.
func (r *surrogateMark) whose() string {
	if r.state != surrogateLive || r.person == nil {
		return ""
	}
	return *r.person
}

// surrogateColumns are those that a row begins with.
var surrogateColumns = []string{"tenant", "surrogate", "k", "state", "tag"}

func (t *Trail) bringBack(ctx context.Context, tx HandoverTx, absent []surrogateID, keys *passKeys) error {
	var rows [][]any
	for _, a := range absent {
		rows = append(rows, []any{a.tenant, a.surrogate[:], surrogateK(a.surrogate), surrogateUnmapped, tagIfKnown(keys.by[a.tenant].surrogates, a.tenant, a.surrogate, surrogateUnmapped)})
	}
	return t.add(ctx, tx, sqldb.Insert{Table: surrogatesTable, Columns: surrogateColumns, Key: []string{"tenant", "surrogate"}}, rows...)
}
