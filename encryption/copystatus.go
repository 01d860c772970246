package encryption

import (
	"slices"
	"sync"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
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
	c, err := openCursor(path)
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
