package encryption

import "context"

// Position writes a mark into the history of the key store and returns it as
// canonical JSON {"epoch","mark","sequence","store"}: what a data snapshot
// names, and what a key copy must cover. Take it after the snapshot has read
// its last row: every key that was committed before the call stands in front of
// the mark, and a copy that holds the mark holds those keys.
//
// The newest 20,000 positions are kept, two years of one an hour; who only
// wants to know how far the store is, as for an anchor outside, takes Head.
func (v *Vault) Position(ctx context.Context) ([]byte, error) {
	return v.ring.Position(ctx)
}

// Head returns where the key store is, in the form of Position, and writes
// nothing: the mark is that of the last change other than the creation of keys.
// What was created since stands behind it, so a data snapshot needs Position.
func (v *Vault) Head(ctx context.Context) ([]byte, error) {
	return v.ring.Head(ctx)
}
