package erasurelog

import (
	"iter"
	"slices"
	"sort"
	"time"
)

// State is what the ledger said at one moment: verified, against the chain, the
// keys and the heads kept elsewhere. It does not change and may be kept; asking
// it reads nothing.
type State struct {
	index   *index
	records []record
	anchors []Kept
}

func (x *index) state(anchors []Kept) *State {
	return &State{index: x, records: slices.Clip(x.records), anchors: anchors}
}

func (s *State) n() int { return len(s.records) }

// Head is the position of the last entry.
func (s *State) Head() Head {
	h, _ := headAt(s.records, int64(s.n()))
	return h
}

// At is the head after n entries; ok is false where there are fewer.
func (s *State) At(n int64) (h Head, ok bool) { return headAt(s.records, n) }

// Anchors are the heads kept elsewhere that agreed: where there are none, a
// ledger that was rolled back together with the database is not noticed.
func (s *State) Anchors() []Kept { return slices.Clone(s.anchors) }

// After yields the entries that follow the first n, oldest first.
func (s *State) After(n int64) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for i := int(min(max(n, 0), int64(s.n()))); i < s.n(); i++ {
			if !yield(s.index.entry(i)) {
				return
			}
		}
	}
}

// Last is the newest entry; ok is false in an empty ledger.
func (s *State) Last() (e Entry, ok bool) {
	if s.n() == 0 {
		return Entry{}, false
	}
	return s.index.entry(s.n() - 1), true
}

// Plan returns the entries of a plan, or of a hold, oldest first. Its cost is
// theirs.
func (s *State) Plan(id string) []Entry {
	s.index.mu.RLock()
	found := slices.Collect(s.index.chain(id, s.n()))
	s.index.mu.RUnlock()
	entries := make([]Entry, 0, len(found))
	for _, i := range slices.Backward(found) {
		entries = append(entries, s.index.entry(i))
	}
	return entries
}

// Status is what has become of a plan or a hold.
type Status string

// The statuses. A plan goes from Begun over Left to Finished, or is Withdrawn.
const (
	Unknown   Status = ""          // the ledger has no entry of it
	Begun     Status = "begun"     // its intent stands
	Left      Status = "left"      // and something was left
	Finished  Status = "finished"  // it is done
	Withdrawn Status = "withdrawn" // it was voided
	Cancelled Status = "cancelled" // it was cancelled before it began
	Holding   Status = "holding"   // a hold that is not lifted, though it may be over
	Lifted    Status = "lifted"    // a hold that is
)

// Status says what has become of a plan or of a hold.
func (s *State) Status(id string) Status {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	return s.index.standing(id, s.n()).status()
}

func (s standing) status() Status {
	switch {
	case s.done:
		return Finished
	case s.void:
		return Withdrawn
	case s.partial:
		return Left
	case s.intent:
		return Begun
	case s.cancel:
		return Cancelled
	case s.lift:
		return Lifted
	case s.hold:
		return Holding
	}
	return Unknown
}

// InForce says whether the ledger wants the erasure of a plan to be true of
// every database: its intent stands and was not voided. A hold may stand before
// it ([Person.Held]).
func (s *State) InForce(plan string) bool {
	return slices.Contains([]Status{Begun, Left, Finished}, s.Status(plan))
}

// IntentsSince counts the erasures that began at t or later, voided ones too.
// Its cost does not grow with their number.
func (s *State) IntentsSince(t time.Time) int {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	intents := s.index.intents[:sort.Search(len(s.index.intents), func(i int) bool { return int(s.index.intents[i]) >= s.n() })]
	since := t.UnixMicro()
	if t.After(time.UnixMicro(since)) { // finer than entries are
		since++
	}
	return len(intents) - sort.Search(len(intents), func(i int) bool { return s.records[intents[i]].at >= since })
}

// Tops are the highest numbers that identity columns had given out, over all
// entries, by "schema.table.column".
func (s *State) Tops() map[string]int64 {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	tops := map[string]int64{}
	for column, list := range s.index.tops {
		if i := sort.Search(len(list), func(i int) bool { return list[i].n > int64(s.n()) }); i > 0 {
			tops[column] = list[i-1].value
		}
	}
	return tops
}

// Fault is an entry that has no effect: its mac verifies, and this library writes
// no such entry there, so that somebody else has the root.
type Fault struct {
	N   int64
	Err error // [ErrTwice], [ErrAbsent], [ErrEnded] or [ErrEntry]
}

// Faults are the entries without effect, oldest first. Where there is one, find
// out who has the ledger roots.
func (s *State) Faults() []Fault {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	faults := s.index.faults
	return slices.Clone(faults[:sort.Search(len(faults), func(i int) bool { return faults[i].N > int64(s.n()) })])
}
