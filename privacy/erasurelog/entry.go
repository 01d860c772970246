package erasurelog

import "time"

// Op is what an entry says.
type Op string

// The operations. Intent, Partial, Done, Void and Cancel are about the plan of an
// erasure; Hold and Lift are about a legal hold, which covers a person whatever
// is planned; each of the others has an id of its own.
const (
	Intent  Op = "intent"  // an erasure begins: from here on it is repeated after every restore
	Partial Op = "partial" // something was left
	Done    Op = "done"    // it was carried out and read back; once a plan
	Void    Op = "void"    // an erasure that was begun and is not done counts no more; two principals answer for it
	Cancel  Op = "cancel"  // a plan that has not begun never will
	Hold    Op = "hold"    // nothing of the person may be erased, until it is lifted or over
	Lift    Op = "lift"    // a hold ends
	// Older and Newer say what somebody has decided about rows of an erased person
	// (Refs), of which nothing else says whether they are older than the erasure; the
	// last one of a row counts.
	Older Op = "older"
	Newer Op = "newer"
	// Unsuppress takes what erased persons were known by (Known) from the list: see
	// [State.Suppressed].
	Unsuppress Op = "unsuppress"
	// Clock says that the clock of earlier entries was ahead: they count as of this
	// entry's time. Two principals answer for it.
	Clock Op = "clock"
)

func ops() []Op {
	return []Op{Intent, Partial, Done, Void, Cancel, Hold, Lift, Older, Newer, Unsuppress, Clock}
}

// Entry is one line of the ledger. Tenant, person, aliases, refs and principals
// are keyed digests under one root ([Log.Digest]): nothing of them can be read
// without it.
type Entry struct {
	Op   Op
	Plan string    // UUID of the plan, of the hold, or of this entry
	N    int64     // from 1; set by Append
	At   time.Time // in microseconds, never before that of an earlier entry; set by Append
	Root uint32    // of the digests; 0 at Append is the newest

	Tenant, Person string
	Aliases        []string // other ids of the person, erased with it
	Refs           []string // of Intent: rows that the person is found by in no other way (joint records, undated rows); of Older and Newer: the rows
	Known          []string // of Intent: what the person was known by, such as addresses; of Unsuppress: one of these

	Cert     string    // of Done: SHA-256 of the certificate, base64url
	By       string    // of Hold, Lift, Older, Newer, Void and Clock, the others may: who does it
	Approved string    // of Void and Clock, the others may: who agreed, somebody else
	Because  string    // of Hold, Older, Newer and Void: a code such as "litigation", never a text about somebody
	Until    time.Time // of Hold: when it is over by itself; zero is never
	// Tops are the highest numbers that identity columns had given out, by
	// "schema.table.column": a restore moves the sequences past them. What the
	// ledger knows already is not written again.
	Tops map[string]int64

	// Ignored says that the entry has no effect, because nothing of this library
	// writes it where it stands: see [State.Faults].
	Ignored bool
}

// PersonKeys are the person and its aliases in the form of [Log.Keys].
func (e Entry) PersonKeys() []string {
	return keys(e.Root, append([]string{e.Person}, e.Aliases...))
}

// RefKeys are the rows in the form of [Log.Keys].
func (e Entry) RefKeys() []string { return keys(e.Root, e.Refs) }

func keys(root uint32, digests []string) []string {
	out := make([]string, len(digests))
	for i, digest := range digests {
		out[i] = key(root, digest)
	}
	return out
}
