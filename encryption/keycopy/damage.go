package keycopy

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"strings"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// maxDamaged bounds the rows that a DamagedError and a RepairReport list.
const maxDamaged = 100

// DamagedRow is one row of the key store that is not what it has to be. It
// prints itself without the owner.
type DamagedRow struct {
	Kind       keystore.Kind // of row
	Tenant     string        // "" is the installation
	Purpose    string        // of a keyset
	Owner      string        `json:"-"` // for programs: whom it is about; never to be printed
	KeyVersion uint32        // of a key or a key version
	Row        int           // which of its kind and tenant, from 1, in the order of the primary key; 0 for one that is not there any more
	Reason     string        // what is wrong, for people
	Digest     string        // of a key that is there: SHA-256 of the wrapped bytes, in base64url, for GiveUp
	Stray      bool          // it should not be there at all (a key of an owner who was erased or of a key version that was destroyed, a keyset of no purpose, a mark that is none, an owner of no possible id): nothing is missing because of it
}

// String names the row by its place, never by its owner.
func (r DamagedRow) String() string {
	what := string(r.Kind)
	if r.Purpose != "" {
		what += " " + r.Purpose
	}
	if r.Row != 0 {
		what += fmt.Sprintf(" %d", r.Row)
	}
	if r.Kind != keystore.KindMark {
		what += " of " + tenantText(r.Tenant)
	}
	if r.KeyVersion != 0 {
		what += fmt.Sprintf(" (key version %08x)", r.KeyVersion)
	}
	return what + ": " + r.Reason
}

// LogValue is String.
func (r DamagedRow) LogValue() slog.Value { return slog.StringValue(r.String()) }

func tenantText(tenant string) string {
	if tenant == "" {
		return "the installation"
	}
	return fmt.Sprintf("tenant %q", tenant)
}

// DamagedError lists rows of the key store that are damaged, lost or put back.
// Everything else was dealt with as if they were sound.
type DamagedError struct {
	Rows  []DamagedRow // the first 100
	Count int          // of all
	Copy  string       // the key copy that was written without them; "" where none was
}

// Error counts the rows, names the first ones and the remedy.
func (e *DamagedError) Error() string {
	var named []string
	for _, row := range e.Rows[:min(len(e.Rows), 3)] {
		named = append(named, row.String())
	}
	if e.Count > len(named) {
		named = append(named, "…")
	}
	return fmt.Sprintf("%v: %d (%s): bring them back from a key copy that has them (RepairFromCopy)", keyring.ErrDamaged, e.Count, strings.Join(named, "; "))
}

// Unwrap returns ErrDamaged.
func (e *DamagedError) Unwrap() error { return keyring.ErrDamaged }

// damage collects what is wrong with a key store.
type damage struct {
	holes   []DamagedRow  // rows whose content is lost; the first ones
	count   int           // of all holes
	strays  int           // rows that should not be there
	strayed keystore.Rows // of them those that removeStrays may take away; the first page
	odd     keystore.Rows // rows of which nothing but a number is damaged; the first page
	// versions are key versions without a row, of which keys open.
	versions map[genKey]bool
}

func (d *damage) add(row DamagedRow) {
	if row.Stray {
		d.strays++
		return
	}
	if d.count++; len(d.holes) < maxDamaged {
		d.holes = append(d.holes, row)
	}
}

// err is nil for a store in which nothing is lost.
func (d *damage) err() *DamagedError {
	if d.count == 0 {
		return nil
	}
	return &DamagedError{Rows: d.holes, Count: d.count}
}

func keyDigest(wrapped []byte) string {
	sum := sha256.Sum256(wrapped)
	return encode64(sum[:])
}

// owners finds owners of ascending ids in a list that is sorted in the same
// way, so that none need stay in memory.
type owners struct {
	next  func() (keystore.OwnerRow, bool, error)
	row   keystore.OwnerRow
	begun bool
	done  bool
}

func (o *owners) find(tenant, owner string) (row keystore.OwnerRow, found bool, err error) {
	for !o.done && (!o.begun || cmp.Or(strings.Compare(o.row.Tenant, tenant), strings.Compare(o.row.Owner, owner)) < 0) {
		var ok bool
		if o.row, ok, err = o.next(); err != nil {
			return row, false, err
		}
		o.begun, o.done = true, !ok
	}
	return o.row, !o.done && o.row.Tenant == tenant && o.row.Owner == owner, nil
}
