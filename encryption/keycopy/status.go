package keycopy

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/health"
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

func heldOf(row keystore.KeysetRow) heldKeyset {
	return heldKeyset{row.Version, keyDigest(row.Wrapped)}
}

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
		rows[id] = heldOf(open.Row)
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

// heldKeysets are those of the newest copy that this process wrote or verified;
// before that, those with which the newest copy in its folders begins. Whoever
// writes there can only cause a false alarm.
func (v *Copies) heldKeysets() heldKeysets {
	v.record.mu.Lock()
	held, folders := v.record.held, slices.Clone(v.record.folders)
	v.record.mu.Unlock()
	if held.rows != nil {
		return held
	}
	for _, dir := range folders {
		path, err := Newest(dir)
		if err != nil {
			continue // none yet
		}
		found := frontOf(path)
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

// frontOf reads the front of a copy.
func frontOf(path string) (out frontOfCopy) {
	c, err := openCursor(source{path: path})
	if err != nil {
		return out
	}
	defer func() { _ = c.close() }() // only read
	out = frontOfCopy{heldKeysets{c.read.header.Sequence, map[[2]string]heldKeyset{}}, c.read.header.Store}
	for !c.done && c.row.Kind == keystore.KindKeyset {
		rows, err := c.row.rows()
		if err != nil || c.advance() != nil {
			return frontOfCopy{}
		}
		out.rows[[2]string{rows.Keysets[0].Tenant, rows.Keysets[0].Purpose}] = heldOf(rows.Keysets[0])
	}
	return out
}

// finding says nothing in a process that takes no key copies.
func (r *copyRecord) finding(now time.Time) []health.Finding {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.newest.IsZero() && r.failing.IsZero() {
		return nil
	}
	f := health.Finding{Name: "encryption.copy.age", Unit: "s", Since: r.newest}
	if !r.newest.IsZero() {
		f.Value = now.Sub(r.newest).Seconds()
	}
	if !r.failing.IsZero() {
		f.Level, f.Since = health.Alarm, r.failing
		f.Remedy = "key copies fail, and no data snapshot commits without one: see the error of WriteCopy"
	}
	return []health.Finding{f}
}

// damage says nothing in a process that never looked through the key store.
func (r *copyRecord) damage() []health.Finding {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.looked {
		return nil
	}
	lost := health.Finding{Name: "encryption.store.damaged", Value: float64(r.damaged), Unit: "rows"}
	if r.damaged > 0 {
		lost.Level = health.Alarm
		lost.Remedy = "rows of the key store are damaged or lost, and no whole key copy can be written: the error of WriteCopy names them, RepairFromCopy brings them back"
	}
	stray := health.Finding{Name: "encryption.store.stray", Value: float64(r.strays), Unit: "rows"}
	if r.strays > 0 {
		stray.Level = health.Notice
		stray.Remedy = "somebody wrote rows into the key store that nothing needs, such as a key of a person who was erased, which would open again if the tombstone went: find out who; RepairFromCopy and RewrapKeys remove them"
	}
	return []health.Finding{lost, stray}
}

// Findings are what key copies tell about the key store.
func (v *Copies) Findings(ctx context.Context) ([]health.Finding, error) {
	out := append(v.record.finding(v.cfg.Now()), v.record.damage()...)
	held := v.heldKeysets()
	if held.rows == nil {
		return out, nil
	}
	f := health.Finding{Name: "encryption.keyset.older", Unit: "keysets"}
	left := len(held.rows)
	err := v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) error {
		return keyring.EachPage(ctx, tx, keystore.Page{Kind: keystore.KindKeyset, Limit: keyring.PageSize}, func(rows keystore.Rows) error {
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
		return nil, keyring.StoreError(err)
	}
	if f.Value += float64(left); f.Value > 0 {
		f.Level = health.Alarm
		f.Remedy = "keysets were put back, replaced or lost since the newest key copy was written: find out who writes the key store; RepairFromCopy brings them back"
	}
	return append(out, f), nil
}
