package keycopy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// examiner looks at all rows of the key store in the order in which a copy has
// them, names what is damaged, and hands on what is sound. It holds keysets and
// key versions in memory, of owners and keys only those that somebody revived.
type examiner struct {
	copies  *Copies
	keysets map[[2]string]examinedKeyset
	before  *copyCursor // the newest copy of this store, whose rows are still there or were taken away for a reason; may be nil
	emit    func(line []byte) error

	states  map[genKey]keystore.KeyVersionState
	active  map[string]int // key versions that seal, by tenant
	owners  owners
	dead    graves
	revived map[ownerPlace]bool // owners whose tombstone somebody took away
	found   damage

	last [2]string // kind and tenant of the row before
	row  int       // of this kind and tenant
}

type genKey struct {
	tenant     string
	keyVersion uint32
}

// examinedKeyset is a keyset row that was opened, or why it does not open.
type examinedKeyset struct {
	row  keystore.KeysetRow
	open *keyring.Keyset
	why  string
}

// newExaminer asks the KEKs for every branch key, before the rows are read: no
// transaction is open meanwhile. A KEK that goes with an epoch that is closed meanwhile
// is no KEK that fails.
func (v *Copies) newExaminer(ctx context.Context) (e *examiner, err error) {
	for range copyAttempts {
		var state keystore.State
		var rows keystore.Rows
		err = v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) (err error) {
			if state, err = tx.State(ctx); err != nil {
				return err
			}
			rows, err = allKeysets(ctx, tx)
			return err
		})
		if err != nil {
			return nil, keyring.StoreError(err)
		}
		e, err = v.examinerOf(ctx, state, rows.Keysets)
		if !errors.Is(err, keyring.ErrKEK) || !v.changedKeysets(ctx, rows) {
			return e, err
		}
	}
	return e, err
}

func allKeysets(ctx context.Context, tx keystore.Tx) (all keystore.Rows, err error) {
	err = keyring.EachPage(ctx, tx, keystore.Page{Kind: keystore.KindKeyset, Limit: keyring.PageSize}, func(page keystore.Rows) error {
		all.Keysets = append(all.Keysets, page.Keysets...)
		return nil
	})
	return all, err
}

// changedKeysets reports whether one of these keysets is another one by now.
func (v *Copies) changedKeysets(ctx context.Context, before keystore.Rows) bool {
	var now keystore.Rows
	err := v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) (err error) {
		now, err = allKeysets(ctx, tx)
		return err
	})
	if err != nil {
		return false
	}
	is := map[[2]string]keystore.KeysetRow{}
	for _, row := range now.Keysets {
		is[[2]string{row.Tenant, row.Purpose}] = row
	}
	return slices.ContainsFunc(before.Keysets, func(was keystore.KeysetRow) bool {
		row := is[[2]string{was.Tenant, was.Purpose}]
		return row.KEK != was.KEK || !bytes.Equal(row.Wrapped, was.Wrapped)
	})
}

func (v *Copies) examinerOf(ctx context.Context, state keystore.State, rows []keystore.KeysetRow) (e *examiner, err error) {
	e = &examiner{
		copies: v, keysets: map[[2]string]examinedKeyset{}, states: map[genKey]keystore.KeyVersionState{}, active: map[string]int{}, revived: map[ownerPlace]bool{},
		dead: graves{ring: v.ring}, emit: func([]byte) error { return nil }, found: damage{versions: map[genKey]bool{}},
	}
	serves := map[[2]string]error{}
	for _, row := range rows {
		known := examinedKeyset{row: row}
		if !copyable(keystore.Rows{Keysets: []keystore.KeysetRow{row}}) {
			known.why = "it holds what no such row can hold"
			e.keysets[[2]string{row.Tenant, row.Purpose}] = known
			continue
		}
		if row.Purpose == keyring.PurposeBranch { // it comes first of its tenant
			known.open, known.why, err = v.examineBranch(ctx, state, row, serves)
		} else {
			known.open, known.why = examineUnder(e.keysets[[2]string{row.Tenant, keyring.PurposeBranch}].open, row)
		}
		if err != nil {
			return nil, err
		}
		e.keysets[[2]string{row.Tenant, row.Purpose}] = known
	}
	return e, nil
}

// examineUnder says why a branch key, which may be missing, does not open a keyset.
func examineUnder(branch *keyring.Keyset, row keystore.KeysetRow) (*keyring.Keyset, string) {
	switch {
	case !slices.Contains(keyring.PurposesOf(row.Tenant), row.Purpose):
		return nil, "its purpose is unknown"
	case row.KEK != "":
		return nil, "it names a KEK, and is no branch key: of a version before v0.1.0, or planted"
	case branch == nil:
		return nil, "its branch key does not open"
	}
	open, err := branch.OpenUnder(row)
	switch {
	case err == nil:
		return open, ""
	case errors.Is(err, keyring.ErrBranch):
		return nil, "its branch key opens, and does not open it"
	default:
		return nil, "its keys are not of the kind that its purpose demands"
	}
}

// examineBranch tells a branch key that is damaged from a KEK that does not serve
// now, which is an error: a copy is to be written later.
func (v *Copies) examineBranch(ctx context.Context, state keystore.State, row keystore.KeysetRow, serves map[[2]string]error) (*keyring.Keyset, string, error) {
	if !v.cfg.PermitsKEK(row.KEK) {
		return nil, "it names a KEK that Config.KEKs does not permit", nil
	}
	if row.KEK != state.KEK && !slices.Contains(state.Retiring, row.KEK) {
		return nil, "it names a KEK that the key store does not use", nil
	}
	open, err := v.ring.OpenedOrUnwrap(ctx, row)
	switch {
	case err == nil:
		return open, "", nil
	case errors.Is(err, keyring.ErrKeyset):
		return nil, "its keys are not of the kind that its purpose demands", nil
	case ctx.Err() != nil || !errors.Is(err, keyring.ErrKEK) || keyring.Unanswered(err):
		return nil, "", err
	}
	name := [2]string{row.Tenant, row.KEK}
	down, asked := serves[name]
	if !asked {
		down = v.ring.TryKEK(ctx, row.Tenant, row.KEK)
		serves[name] = down
	}
	if down != nil {
		return nil, "", err
	}
	return nil, "its KEK serves, and does not open it", nil
}

// beside opens the copies with which the store is compared: the first one is that
// whose rows must still be there, if there is one.
func (e *examiner) beside(before source, others ...source) (err error) {
	if before.path != "" {
		if e.before, err = openCursor(before); err != nil {
			return err
		}
	}
	for _, from := range append(others, before) {
		if err := e.dead.believe(from); err != nil {
			return err
		}
	}
	return nil
}

func (e *examiner) close() error { return errors.Join(e.before.close(), e.dead.close()) }

// walk goes over all rows of a snapshot.
func (e *examiner) walk(ctx context.Context, tx keystore.Tx) error {
	e.owners = owners{next: pagedOwners(ctx, tx)}
	for _, kind := range copyKinds() {
		err := keyring.EachPage(ctx, tx, keystore.Page{Kind: kind, Limit: keyring.PageSize}, func(rows keystore.Rows) error { return e.page(ctx, tx, rows) })
		if err != nil {
			return err
		}
		e.complete(kind)
	}
	return e.missing(nil)
}

// pagedOwners reads the owners of a snapshot one by one, but for those that no copy
// can hold: what is theirs is damaged along with them.
func pagedOwners(ctx context.Context, tx keystore.Tx) func() (keystore.OwnerRow, bool, error) {
	page := keystore.Page{Kind: keystore.KindOwner, Limit: keyring.PageSize}
	var rows []keystore.OwnerRow
	return func() (row keystore.OwnerRow, ok bool, err error) {
		for len(rows) == 0 {
			next, err := tx.Page(ctx, page)
			if err != nil || len(next.Owners) == 0 {
				return row, false, err
			}
			rows, page.After = slices.DeleteFunc(slices.Clone(next.Owners), func(row keystore.OwnerRow) bool {
				return !copyable(keystore.Rows{Owners: []keystore.OwnerRow{row}})
			}), next.After(keystore.KindOwner)
		}
		row, rows = rows[0], rows[1:]
		return row, true, nil
	}
}

func (e *examiner) page(ctx context.Context, tx keystore.Tx, rows keystore.Rows) error {
	ends, err := aliasEnds(ctx, tx, rows.Aliases)
	if err != nil {
		return err
	}
	for one := range rows.Each() {
		if err := e.one(one, copyRows(one)[0], ends); err != nil {
			return err
		}
	}
	return nil
}

func (e *examiner) one(one keystore.Rows, line copyRow, ends map[ownerPlace]bool) error {
	if now := [2]string{string(line.Kind), line.Tenant}; now != e.last {
		e.last, e.row = now, 0
	}
	e.row++
	data, ok := readable(line)
	if !ok && !placed(line) { // nothing was ever sealed under such an id
		e.name(line, "it holds what no such row can hold", line.Kind != keystore.KindKeyset && line.Kind != keystore.KindKey, e.row, one)
		return nil
	}
	order, err := line.order()
	if err != nil {
		return err
	}
	if err := e.missing(order); err != nil {
		return err
	}
	reason, stray, err := e.judge(one, line, order, ends)
	if err != nil {
		return err
	}
	if reason == "" && !ok {
		if reason = "it holds what no such row can hold"; odd(one) {
			reason = oddNumber
			if e.found.odd.Len() < keyring.PageSize {
				e.found.odd.Append(one)
			}
		}
		stray = line.Kind == keystore.KindMark
	}
	if reason == "" {
		if reason = e.before.takenBack(line, order); reason != "" && line.Kind == keystore.KindKey {
			excused, err := e.excused(one.Keys[0])
			if err != nil {
				return err
			}
			if excused {
				reason = ""
			}
		}
		if reason != "" && line.Kind == keystore.KindOwner {
			e.revived[ownerPlace{line.Tenant, line.Owner}] = true
		}
	}
	if err := e.before.pass(order); err != nil {
		return err
	}
	if reason != "" {
		e.name(line, reason, stray, e.row, one)
		if !ok || line.Kind != keystore.KindKeyset || e.keysets[[2]string{line.Tenant, line.Purpose}].open == nil {
			return nil // one that was put back opens still, and keys need it
		}
	}
	return e.emit(data)
}

func (e *examiner) name(line copyRow, reason string, stray bool, row int, rows keystore.Rows) {
	damaged := DamagedRow{Kind: line.Kind, Tenant: line.Tenant, Purpose: line.Purpose, Owner: line.Owner, KeyVersion: line.KeyVersion, Row: row, Reason: reason, Stray: stray}
	if len(rows.Keys) > 0 {
		damaged.Digest = keyDigest(rows.Keys[0].Wrapped)
	}
	if stray && e.found.strayed.Len() < keyring.PageSize {
		e.found.strayed.Append(keystore.Rows{Keys: rows.Keys, Keysets: rows.Keysets, KeyVersions: rows.KeyVersions, Indexes: rows.Indexes, Owners: rows.Owners, Aliases: rows.Aliases})
	}
	e.found.add(damaged)
}

// complete looks for what every tenant must have.
func (e *examiner) complete(kind keystore.Kind) {
	tenants := []string{""}
	for id := range e.keysets {
		tenants = append(tenants, id[0])
	}
	slices.Sort(tenants)
	for _, tenant := range slices.Compact(tenants) {
		switch {
		case kind == keystore.KindKeyVersion && tenant != "" && e.active[tenant] != 1:
			e.found.add(DamagedRow{Kind: kind, Tenant: tenant, Reason: fmt.Sprintf("%d of its key versions are active, not one", e.active[tenant])})
		case kind == keystore.KindKeyset:
			for _, purpose := range keyring.PurposesOf(tenant) {
				if _, ok := e.keysets[[2]string{tenant, purpose}]; !ok {
					e.found.add(DamagedRow{Kind: kind, Tenant: tenant, Purpose: purpose, Reason: "it is missing"})
				}
			}
		}
	}
}

// missing names the rows that the copy before has in front of this place (nil
// is the end) and the store has no more, although nothing took them away.
func (e *examiner) missing(order []byte) error {
	for e.before.ahead(order) {
		line := e.before.row
		gone := false
		switch line.Kind {
		case keystore.KindKeyset: // of a tenant that is there, complete names it
			gone = !slices.ContainsFunc(keyring.PurposesOf(line.Tenant), func(purpose string) bool { return e.keysets[[2]string{line.Tenant, purpose}].row.Wrapped != nil })
		case keystore.KindKeyVersion, keystore.KindOwner:
			gone = true
		case keystore.KindKey:
			state, known := e.states[genKey{line.Tenant, line.KeyVersion}]
			owner, found, err := e.owners.find(line.Tenant, line.Owner)
			if err != nil {
				return err
			}
			gone = (!known || state == keystore.Active || state == keystore.Retired || state == keystore.Destroying) && (!found || owner.State != keystore.Tombstone)
		case keystore.KindAlias, keystore.KindIndex, keystore.KindMark: // may be taken away
		}
		if gone {
			e.name(line, "a key copy has it, and the key store no more", false, 0, keystore.Rows{})
		}
		if err := e.before.advance(); err != nil {
			return err
		}
	}
	return nil
}

// examine goes over the whole key store; before is a copy whose rows
// must still be there, and newest one that knows what is gone since, or none.
func (v *Copies) examine(ctx context.Context, before, newest source) (found damage, err error) {
	for range copyAttempts {
		if found, err = v.examineOnce(ctx, before, newest); !errors.Is(err, errOvertaken) {
			break
		}
	}
	return found, keyring.StoreError(err)
}

func (v *Copies) examineOnce(ctx context.Context, before, newest source) (found damage, err error) {
	e, err := v.newExaminer(ctx)
	if err != nil {
		return found, err
	}
	err = e.beside(before, newest)
	defer func() { err = errors.Join(err, e.close()) }()
	if err != nil {
		return found, err
	}
	err = v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) error { return e.walk(ctx, tx) })
	if err == nil {
		e.keep(ctx)
	}
	return e.found, err
}

// keep spares whoever comes next the calls of the KEK.
func (e *examiner) keep(ctx context.Context) {
	byTenant := map[string][]*keyring.Keyset{}
	for _, known := range e.keysets {
		if known.open != nil {
			byTenant[known.row.Tenant] = append(byTenant[known.row.Tenant], known.open)
		}
	}
	for tenant, opened := range byTenant {
		e.copies.ring.KeepKeysets(ctx, tenant, opened)
	}
}
