package keycopy

import (
	"fmt"
	"time"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// Copy is a verified key copy.
type Copy struct {
	Path     string    // of the file
	Store    string    // id of the key store
	Epoch    int64     // of the key store
	Sequence int64     // of the last change it holds
	Written  time.Time // when
	Rows     int       // rows it holds
	Holes    int       // rows that it lacks because they were damaged or lost; such a copy covers nothing

	marks     map[int64]string // its history: mark by sequence
	positions int              // how many of them are positions
	first     int64            // sequence of the oldest position
}

// Position returns the last key position that the copy covers, in the form of
// Vault.Position.
func (c Copy) Position() ([]byte, error) {
	return keyring.MarshalPosition(keystore.State{Store: c.Store, Epoch: c.Epoch, Sequence: c.Sequence, Mark: c.marks[c.Sequence]})
}

// Covers returns nil when a data snapshot of this key position can be read
// with the copy: it is of the same store, and the mark of the position is in
// its history. Otherwise it answers ErrNotCovered: the copy is older than the
// position, or the store was put back and used on after the position was
// taken, so that a higher sequence says nothing.
func (c Copy) Covers(position []byte) error {
	p, err := keyring.ParsePosition(position)
	if err != nil {
		return err
	}
	if c.Holes > 0 {
		return fmt.Errorf("%w: the copy lacks %d rows that were damaged when it was written: bring them back (RepairFromCopy), then write one", keyring.ErrNotCovered, c.Holes)
	}
	if p.Store != c.Store {
		return fmt.Errorf("%w: it is of another key store: bring one of the store that the position names", keyring.ErrNotCovered)
	}
	mark, known := c.marks[p.Sequence]
	switch {
	case c.Sequence < p.Sequence:
		return fmt.Errorf("%w: the copy ends at sequence %d, %d is needed: write a new one (WriteCopy), or bring a newer one", keyring.ErrNotCovered, c.Sequence, p.Sequence)
	case !known:
		return fmt.Errorf("%w: its history does not know sequence %d any more: it goes back 20,000 changes; bring a copy that was written nearer to the position", keyring.ErrNotCovered, p.Sequence)
	case mark != p.Mark:
		return fmt.Errorf("%w: the key store was put back to an older state after the position was taken; bring a copy that was written before", keyring.ErrNotCovered)
	}
	return nil
}
