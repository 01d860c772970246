// Package keycopy keeps the keys of package encryption from being lost with their
// store: it writes a verified copy of a key store into a folder, says what is
// damaged in the store, and brings it back.
//
// An application has a vault and calls its methods (WriteCopy, KeyCopy,
// RepairFromCopy, …), which say what is promised. Where there is none, as on the
// machine of whoever restores, the funcs here do with a key store and the KEKs:
// [Verify] needs no store at all. Errors are those of package encryption (ErrCopy,
// ErrKEK, ErrNotCovered, ErrNotEmpty, ErrRewound, …), and ErrDamaged.
package keycopy
