package keyring

import "errors"

// remedy is what the text of an error says last: what to do about it. An
// erasure has none.
func (e *KeyError) remedy() string {
	switch {
	case errors.Is(e.Err, ErrOpen) && e.Table != "":
		return ": it was changed, or is not of the owner, row, table and column that were named"
	case errors.Is(e.Err, ErrNoKey) && e.KeyVersion != 0:
		return ": the key store lacks it (was an older one put back?): RepairFromCaches or RepairFromCopy may bring it back; a Reader has the keys of the owners that it was made for"
	case errors.Is(e.Err, ErrDamaged):
		return ": RepairFromCopy brings it back; what no copy has, Erase ends"
	case errors.Is(e.Err, ErrDestroyed):
		return ": restore newer data"
	case errors.Is(e.Err, ErrLease):
		return ": call again, with a new Writer"
	case errors.Is(e.Err, ErrMerged):
		return ": write for the person merged into"
	case errors.Is(e.Err, ErrTooLarge):
		return ": a field has at most 16 MiB, seal it as a stream"
	}
	return ""
}
