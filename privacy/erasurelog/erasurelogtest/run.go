// Package erasurelogtest judges implementations of erasurelog.Medium.
//
//	func TestMedium(t *testing.T) {
//		erasurelogtest.Run(t, func(t *testing.T) (one, other erasurelog.Medium) {
//			dir := t.TempDir()
//			return mymedium.Open(dir), mymedium.Open(dir)
//		})
//	}
//
// Promises: what passes carries a ledger, as far as a test can tell: lines come
// back byte for byte and in order, of several writers one succeeds, and notes
// are replaced and removed whole. Each failure says which rule was broken.
//
// Does not promise: that what was written outlives a power cut; only whoever can
// take the power away knows that.
//
// First call: [Run]. Concurrency: it calls the medium from several goroutines.
// Errors: none, it fails the test. Stability: settling.
package erasurelogtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"testing"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// Run judges a medium. open makes an empty place each time, where no ledger was
// created, and returns it opened twice, as by two processes.
func Run(t *testing.T, open func(t *testing.T) (one, other erasurelog.Medium)) {
	for name, rule := range map[string]func(j judge){
		"create once":      judge.createOnce,
		"lines come back":  judge.linesComeBack,
		"positions":        judge.positions,
		"one writer wins":  judge.oneWriterWins,
		"another end":      judge.anotherEnd,
		"nothing to write": judge.nothingToWrite,
		"long lines":       judge.longLines,
		"notes":            judge.notes,
		"an ended context": judge.endedContext,
	} {
		t.Run(name, func(t *testing.T) {
			one, other := open(t)
			rule(judge{t, one, other})
		})
	}
}

type judge struct {
	*testing.T
	one, other erasurelog.Medium
}

func (j judge) must(what string, err error) {
	j.Helper()
	if err != nil {
		j.Fatalf("%s: %v", what, err)
	}
}

// read returns the lines behind a position, without their newlines.
func (j judge) read(m erasurelog.Medium, from erasurelog.Position) []string {
	j.Helper()
	var lines []string
	for line, err := range m.Read(j.Context(), from) {
		j.must("Read", err)
		text, ended := bytes.CutSuffix(line, []byte("\n"))
		if !ended || bytes.ContainsRune(text, '\n') {
			j.Fatalf("Read yielded %q: each line ends with its newline", line)
		}
		lines = append(lines, string(text))
	}
	return lines
}

// add appends lines one after the other and returns their ends, the beginning
// first.
func (j judge) add(lines ...string) []erasurelog.Position {
	j.Helper()
	ends := []erasurelog.Position{{}}
	var last []byte
	for _, line := range lines {
		at := ends[len(ends)-1]
		j.must("Append", j.one.Append(j.Context(), at, last, []byte(line)))
		ends = append(ends, erasurelog.Position{N: at.N + 1, Size: at.Size + int64(len(line)) + 1})
		last = []byte(line)
	}
	return ends
}

func (j judge) createOnce() {
	for _, m := range []erasurelog.Medium{j.one, j.other} {
		var found error
		for _, err := range m.Read(j.Context(), erasurelog.Position{}) {
			found = err
		}
		if !errors.Is(found, fs.ErrNotExist) {
			j.Errorf("Read of a ledger that was never created gave %v: a lost ledger must not look like an empty one (fs.ErrNotExist)", found)
		}
	}
	var listed error
	for _, err := range j.other.Notes(j.Context()) {
		listed = err
	}
	put := j.one.PutNotes(j.Context(), erasurelog.SealedNote{Name: "a", Sealed: []byte("x")})
	for verb, err := range map[string]error{"Notes": listed, "PutNotes": put, "PutNotes of none": j.one.PutNotes(j.Context(), erasurelog.SealedNote{Name: "a"})} {
		if !errors.Is(err, fs.ErrNotExist) {
			j.Errorf("%s beside a ledger that was never created gave %v: a missing disk must not look like one without notes (fs.ErrNotExist)", verb, err)
		}
	}
	if err := j.one.Append(j.Context(), erasurelog.Position{}, nil, []byte("line")); err == nil {
		j.Error("Append made a ledger: only Create does")
	}
	j.must("Create", j.one.Create(j.Context()))
	if lines := j.read(j.other, erasurelog.Position{}); len(lines) != 0 {
		j.Errorf("a new ledger has lines: %q", lines)
	}
	j.add("one")
	for _, m := range []erasurelog.Medium{j.one, j.other} {
		if err := m.Create(j.Context()); !errors.Is(err, fs.ErrExist) {
			j.Errorf("Create over a ledger gave %v: want fs.ErrExist", err)
		}
	}
	if lines := j.read(j.other, erasurelog.Position{}); !slices.Equal(lines, []string{"one"}) {
		j.Errorf("after a second Create the ledger has %q: it must stay as it was", lines)
	}
}

func (j judge) linesComeBack() {
	j.must("Create", j.one.Create(j.Context()))
	var want []string
	for i := range 1500 {
		want = append(want, fmt.Sprintf(`{"n":%d,"text":"ü \u0000 ' \\ \" ? %% %s"}`, i, bytes.Repeat([]byte("x"), i%7)))
	}
	j.add(want...)
	for _, m := range []erasurelog.Medium{j.one, j.other} {
		if got := j.read(m, erasurelog.Position{}); !slices.Equal(got, want) {
			j.Errorf("%d lines came back of %d, or not byte for byte in order", len(got), len(want))
		}
	}
	for _, err := range j.one.Read(j.Context(), erasurelog.Position{}) { // whoever stops early must not hold it up
		j.must("Read", err)
		break
	}
	j.must("Append after a Read that was broken off", j.one.Append(j.Context(), end(want), []byte(want[len(want)-1]), []byte("last")))
}

// end is the position behind lines.
func end(lines []string) erasurelog.Position {
	p := erasurelog.Position{N: int64(len(lines))}
	for _, line := range lines {
		p.Size += int64(len(line)) + 1
	}
	return p
}

func (j judge) positions() {
	j.must("Create", j.one.Create(j.Context()))
	lines := []string{"first", "second line", "3"}
	ends := j.add(lines...)
	for i, at := range ends {
		if got := j.read(j.other, at); !slices.Equal(got, lines[i:]) {
			j.Errorf("Read behind line %d yielded %q, want %q", i, got, lines[i:])
		}
	}
	if got := j.read(j.other, erasurelog.Position{N: 9, Size: 900}); len(got) != 0 {
		j.Errorf("Read behind the end yielded %q: a ledger that has become shorter has nothing there", got)
	}
}

func (j judge) oneWriterWins() {
	j.must("Create", j.one.Create(j.Context()))
	const writers, rounds = 8, 10
	var lines []string
	for round := range rounds {
		at, last := end(lines), []byte(nil)
		if round > 0 {
			last = []byte(lines[round-1])
		}
		won := make(chan string, writers)
		var all sync.WaitGroup
		for w := range writers {
			m := j.one
			if w%2 == 1 {
				m = j.other
			}
			line := fmt.Sprintf("round %d writer %d", round, w)
			all.Go(func() {
				switch err := m.Append(j.Context(), at, last, []byte(line)); {
				case err == nil:
					won <- line
				case !errors.Is(err, erasurelog.ErrMoved):
					j.Errorf("a writer that came too late got %v: want ErrMoved", err)
				}
			})
		}
		all.Wait()
		close(won)
		if len(won) != 1 {
			j.Fatalf("%d writers appended at the same end: want one", len(won))
		}
		lines = append(lines, <-won)
		if got := j.read(j.other, erasurelog.Position{}); !slices.Equal(got, lines) {
			j.Fatalf("the ledger has %q, want %q", got, lines)
		}
	}
}

func (j judge) anotherEnd() {
	j.must("Create", j.one.Create(j.Context()))
	ends := j.add("first", "other", "third")
	for name, try := range map[string]struct {
		at   erasurelog.Position
		last string
	}{
		"before the end":               {ends[2], "other"},
		"at the beginning":             {ends[0], ""},
		"behind the end":               {erasurelog.Position{N: 4, Size: ends[3].Size + 6}, "fourt"},
		"behind a line that is not it": {ends[3], "THIRD"},
	} {
		last := []byte(try.last)
		if try.at.N == 0 {
			last = nil
		}
		for _, line := range [][]byte{[]byte("late"), nil} {
			if err := j.other.Append(j.Context(), try.at, last, line); !errors.Is(err, erasurelog.ErrMoved) {
				j.Errorf("Append %s gave %v: want ErrMoved", name, err)
			}
		}
	}
	if got := j.read(j.one, erasurelog.Position{}); len(got) != 3 {
		j.Errorf("the ledger has %q: nothing was to be written", got)
	}
}

func (j judge) nothingToWrite() {
	j.must("Create", j.one.Create(j.Context()))
	j.must("Append of nothing to an empty ledger", j.other.Append(j.Context(), erasurelog.Position{}, nil, nil))
	ends := j.add("line")
	j.must("Append of nothing", j.other.Append(j.Context(), ends[1], []byte("line"), nil))
	if got := j.read(j.one, erasurelog.Position{}); !slices.Equal(got, []string{"line"}) {
		j.Errorf("the ledger has %q: a nil line writes nothing", got)
	}
}

func (j judge) longLines() {
	j.must("Create", j.one.Create(j.Context()))
	long := string(bytes.Repeat([]byte("0123456789abcdef"), 1<<17)) // 2 MiB
	lines := []string{"short", long, "short again", long + "x"}
	j.add(lines...)
	if got := j.read(j.other, erasurelog.Position{}); !slices.Equal(got, lines) {
		j.Error("a line of 2 MiB does not come back")
	}
}

func (j judge) notes() {
	j.must("Create", j.one.Create(j.Context()))
	if got := j.all(); len(got) != 0 {
		j.Errorf("a new ledger has notes: %q", got)
	}
	long := bytes.Repeat([]byte{0, 1, 0xff, '\n'}, 1<<18)
	j.put(erasurelog.SealedNote{Name: "b", Sealed: []byte("two")}, erasurelog.SealedNote{Name: "a", Sealed: long}, erasurelog.SealedNote{Name: "c-0", Sealed: []byte{0}})
	j.wantNotes("a", "b", "c-0")
	j.put(erasurelog.SealedNote{Name: "b", Sealed: []byte("other")}, erasurelog.SealedNote{Name: "c-0"}, erasurelog.SealedNote{Name: "never-there"})
	j.wantNotes("a", "b")
	got := j.all()
	if string(got[1].Sealed) != "other" || !bytes.Equal(got[0].Sealed, long) {
		j.Error("a note does not come back as it was last put")
	}
	j.put(erasurelog.SealedNote{Name: "c-0", Sealed: []byte("back")})
	j.wantNotes("a", "b", "c-0")
	j.put(erasurelog.SealedNote{Name: "a"}, erasurelog.SealedNote{Name: "b"}, erasurelog.SealedNote{Name: "c-0"})
	j.wantNotes()
	if got := j.read(j.one, erasurelog.Position{}); len(got) != 0 {
		j.Errorf("notes have become lines: %q", got)
	}
}

func (j judge) put(notes ...erasurelog.SealedNote) {
	j.Helper()
	j.must("PutNotes", j.one.PutNotes(j.Context(), notes...))
}

func (j judge) all() (notes []erasurelog.SealedNote) {
	j.Helper()
	for note, err := range j.other.Notes(j.Context()) {
		j.must("Notes", err)
		note.Sealed = bytes.Clone(note.Sealed)
		notes = append(notes, note)
	}
	return notes
}

func (j judge) wantNotes(names ...string) {
	j.Helper()
	var got []string
	for _, note := range j.all() {
		got = append(got, note.Name)
	}
	if !slices.Equal(got, names) {
		j.Errorf("Notes yielded %q: want %q, in the order of their names", got, names)
	}
}

func (j judge) endedContext() {
	j.must("Create", j.one.Create(j.Context()))
	ctx, cancel := context.WithCancel(j.Context())
	cancel()
	var read, notes error
	for _, err := range j.one.Read(ctx, erasurelog.Position{}) {
		read = err
	}
	for _, err := range j.one.Notes(ctx) {
		notes = err
	}
	for verb, err := range map[string]error{
		"Read": read, "Notes": notes,
		"Append":   j.one.Append(ctx, erasurelog.Position{}, nil, []byte("line")),
		"PutNotes": j.one.PutNotes(ctx, erasurelog.SealedNote{Name: "a", Sealed: []byte("x")}),
		"Create":   j.one.Create(ctx),
	} {
		if !errors.Is(err, context.Canceled) {
			j.Errorf("%s with an ended context gave %v: want that of the context", verb, err)
		}
	}
}
