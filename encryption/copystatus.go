package encryption

import (
	"context"
	"slices"
	"sync"
	"time"
)

// copyRecord remembers the key copies that this process took.
type copyRecord struct {
	mu      sync.Mutex
	newest  time.Time // zero: none
	failing time.Time // since when they fail; zero: the last one did not
	damaged int       // rows that were damaged when the key store was last looked through
	strays  int       // rows that should not have been there then
	looked  bool      // whether it ever was
	folders []string  // of copies, that this process was told of
	held    heldKeysets
}

// heldKeysets are the keysets of the newest key copy that is known here.
type heldKeysets struct {
	sequence int64
	rows     map[[2]string]heldKeyset
}

// heldKeyset tells one keyset from an older or another one.
type heldKeyset struct {
	version int64
	digest  string
}

func heldOf(row KeysetRow) heldKeyset { return heldKeyset{row.Version, keyDigest(row.Wrapped)} }

// into takes note of a folder of key copies.
func (r *copyRecord) into(dir string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.folders, dir) {
		r.folders = append(r.folders, dir)
	}
}

func (r *copyRecord) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.folders)
}

// examined takes note of what was found when the whole key store was read.
func (r *copyRecord) examined(found damage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looked, r.damaged, r.strays = true, found.count, found.strays
}

// holds takes note of the keysets of a whole copy.
func (r *copyRecord) holds(c verifiedCopy) {
	rows := map[[2]string]heldKeyset{}
	for id, open := range c.keysets {
		rows[id] = heldOf(open.row)
	}
	r.keep(heldKeysets{c.Sequence, rows})
}

func (r *copyRecord) keep(held heldKeysets) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if held.sequence >= r.held.sequence {
		r.held = held
	}
}

func (r *copyRecord) took(c Copy, err error, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.newest, r.failing = c.Written, time.Time{}
	case r.failing.IsZero():
		r.failing = now
	}
}

// finding says nothing in a process that takes no key copies.
func (r *copyRecord) finding(now time.Time) []Finding {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.newest.IsZero() && r.failing.IsZero() {
		return nil
	}
	f := Finding{Name: "encryption.copy.age", Unit: "s", Since: r.newest}
	if !r.newest.IsZero() {
		f.Value = now.Sub(r.newest).Seconds()
	}
	if !r.failing.IsZero() {
		f.Level, f.Since = HealthAlarm, r.failing
		f.Remedy = "key copies fail, and no data snapshot commits without one: see the error of WriteCopy"
	}
	return []Finding{f}
}

// damage says nothing in a process that never looked through the key store.
func (r *copyRecord) damage() []Finding {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.looked {
		return nil
	}
	lost := Finding{Name: "encryption.store.damaged", Value: float64(r.damaged), Unit: "rows"}
	if r.damaged > 0 {
		lost.Level = HealthAlarm
		lost.Remedy = "rows of the key store are damaged or lost, and no whole key copy can be written: the error of WriteCopy names them, RepairFromCopy brings them back"
	}
	stray := Finding{Name: "encryption.store.stray", Value: float64(r.strays), Unit: "rows"}
	if r.strays > 0 {
		stray.Level = HealthNotice
		stray.Remedy = "somebody wrote rows into the key store that open nothing, such as a key under a tombstone: find out who; RepairFromCopy and CloseEpoch remove them"
	}
	return []Finding{lost, stray}
}

// copyFindings are what key copies tell about the key store.
func (v *Vault) copyFindings(ctx context.Context) ([]Finding, error) {
	out := append(v.copies.finding(v.cfg.Now()), v.copies.damage()...)
	held := v.heldKeysets()
	if held.rows == nil {
		return out, nil
	}
	f := Finding{Name: "encryption.keyset.older", Unit: "keysets"}
	left := len(held.rows)
	err := v.cfg.Keys.Snapshot(ctx, func(tx KeyTx) error {
		return eachPage(ctx, tx, Page{Kind: KindKeyset, Limit: pageSize}, func(rows Rows) error {
			for _, row := range rows.Keysets {
				before, known := held.rows[[2]string{row.Tenant, row.Purpose}]
				if !known {
					continue // of a tenant that is newer than the copy
				}
				left--
				if now := heldOf(row); now.version < before.version || now.version == before.version && now.digest != before.digest {
					f.Value++
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, storeError(err)
	}
	if f.Value += float64(left); f.Value > 0 {
		f.Level = HealthAlarm
		f.Remedy = "keysets were put back, replaced or lost since the newest key copy was written: find out who writes the key store; RepairFromCopy brings them back"
	}
	return append(out, f), nil
}

// heldKeysets are those of the newest copy that this process wrote or verified;
// before that, those with which the newest copy in its folders begins. Whoever
// writes there can only cause a false alarm.
func (v *Vault) heldKeysets() heldKeysets {
	v.copies.mu.Lock()
	held, folders := v.copies.held, slices.Clone(v.copies.folders)
	v.copies.mu.Unlock()
	if held.rows != nil {
		return held
	}
	for _, dir := range folders {
		path, err := NewestCopy(dir)
		if err != nil {
			continue // none yet
		}
		found := keysetsOf(path)
		if found.store == v.storeID() && found.sequence > held.sequence {
			held = found.heldKeysets
		}
	}
	return held
}

type frontOfCopy struct {
	heldKeysets
	store string
}

// keysetsOf reads the front of a copy.
func keysetsOf(path string) (out frontOfCopy) {
	c, err := openCursor(path)
	if err != nil {
		return out
	}
	defer func() { _ = c.close() }() // only read
	out = frontOfCopy{heldKeysets{c.read.header.Sequence, map[[2]string]heldKeyset{}}, c.read.header.Store}
	for !c.done && c.row.Kind == KindKeyset {
		rows, err := c.row.rows()
		if err != nil || c.advance() != nil {
			return frontOfCopy{}
		}
		out.rows[[2]string{rows.Keysets[0].Tenant, rows.Keysets[0].Purpose}] = heldOf(rows.Keysets[0])
	}
	return out
}
