package erasurelog

import (
	"context"
	"crypto/sha256"
	"iter"
	"slices"
	"strings"
	"time"
)

// Erasure is an erasure in force: its intent, and what became of it.
type Erasure struct {
	Entry         // of operation Intent
	Status Status // Begun, Left or Finished
}

// Person is what the ledger says of a person.
type Person struct {
	Erasures []Erasure // in force, oldest first; those of which the person is an alias too
	Holds    []Entry   // not lifted, oldest first; one that is over is still among them
}

// Person looks a person up by the keys of all its ids, each under every root
// ([Log.Keys]). Its cost is that of what it finds.
func (s *State) Person(keys ...string) Person { return s.person(parsedKeys(keys)...) }

// Told is what a state of the ledger says of the person of one id: [State.Person]
// for a replay, which asks about everyone.
func (l *Log) Told(ctx context.Context, s *State, tenant, person string) (Person, error) {
	roots, digests, err := l.digests.all(ctx, labelDigest, digestInput(KindPerson, tenant, person))
	if err != nil {
		return Person{}, err
	}
	var room [2]parsedKey // mostly there is one root
	keys := room[:0]
	for i, root := range roots {
		keys = append(keys, parsedKey{root, [sha256.Size]byte(digests[i])})
	}
	return s.person(keys...), nil
}

// parsedKey is a digest and the root that it is under: what [Log.Keys] writes out.
type parsedKey struct {
	root   uint32
	digest [sha256.Size]byte
}

// parsedKeys leaves out what is no key.
func parsedKeys(keys []string) []parsedKey {
	parsed := make([]parsedKey, 0, len(keys))
	for _, k := range keys {
		id, text, _ := strings.Cut(k, "/")
		root, err := parseRoot(id)
		digest, ok := digestKey(text)
		if err == nil && ok {
			parsed = append(parsed, parsedKey{root, digest})
		}
	}
	return parsed
}

func (s *State) person(keys ...parsedKey) Person {
	var p Person
	for _, i := range s.about(keys) {
		e := s.index.entry(i)
		switch status := s.Status(e.Plan); status {
		case Holding:
			p.Holds = append(p.Holds, e)
		case Begun, Left, Finished:
			p.Erasures = append(p.Erasures, Erasure{e, status})
		default: // withdrawn or lifted
		}
	}
	return p
}

// about returns the records that are about one of the keys, in order.
func (s *State) about(keys []parsedKey) []int {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	var found []int
	for _, k := range keys {
		number := s.index.digestOf[k.digest]
		if number == 0 {
			continue
		}
		for at := s.index.digests[number-1].last; at > 0; at = s.index.posts[at-1].before {
			i := int(s.index.posts[at-1].record) - 1
			if i < s.n() && s.records[i].root == k.root {
				found = append(found, i)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// Erasures yields all erasures in force, oldest first: what a replay carries
// out again.
func (s *State) Erasures() iter.Seq[Erasure] {
	return func(yield func(Erasure) bool) {
		for i := range s.n() {
			if s.records[i].op() != Intent || s.records[i].ignored {
				continue
			}
			e := s.index.entry(i)
			if status := s.Status(e.Plan); status != Withdrawn && !yield(Erasure{e, status}) {
				return
			}
		}
	}
}

// Erased is when the newest erasure in force began: what was created before is
// gone, or goes. Zero says that there is none.
func (p Person) Erased() time.Time {
	if len(p.Erasures) == 0 {
		return time.Time{}
	}
	return p.Erasures[len(p.Erasures)-1].At
}

// AliasKeys are the keys of all ids that the erasures in force name, the person's
// own among them.
func (p Person) AliasKeys() []string {
	var keys []string
	for _, e := range p.Erasures {
		keys = append(keys, e.PersonKeys()...)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// RefKeys are the keys of all rows that the erasures in force name.
func (p Person) RefKeys() []string {
	var keys []string
	for _, e := range p.Erasures {
		keys = append(keys, e.RefKeys()...)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// Held returns a hold that keeps the person from being erased at a moment, the
// one that lasts longest.
func (p Person) Held(now time.Time) (hold Entry, held bool) {
	for _, h := range p.Holds {
		switch {
		case !h.Until.IsZero() && !now.Before(h.Until): // it is over
		case !held, h.Until.IsZero(), !hold.Until.IsZero() && h.Until.After(hold.Until):
			hold, held = h, true
		}
	}
	return hold, held
}
