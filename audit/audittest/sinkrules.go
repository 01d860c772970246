package audittest

import (
	"errors"
	"io/fs"
	"strconv"
	"sync"
	"testing"

	"github.com/crmguard/crmguard/audit"
)

// swaps asks what a swap compares.
func swaps(t *testing.T, sink audit.Sink) {
	t.Helper()
	const name = "checkpoint"
	for _, step := range []struct {
		what      string
		old, data []byte
		done      bool
	}{
		{"of an absent file, in place of another one", []byte("x"), []byte("y"), false},
		{"of an absent file, in place of one without bytes", []byte{}, []byte("y"), false},
		{"of an absent file", nil, []byte("first"), true},
		{"of an absent file where one is by now", nil, []byte("first"), false},
		{"in place of another one than there is", []byte("firs"), []byte("second"), false},
		{"in place of what is there", []byte("first"), []byte(""), true},
		{"of an absent file where one without bytes is", nil, []byte("third"), false},
		{"in place of one without bytes", []byte{}, []byte("third"), true},
		{"in place of what was there before", []byte("first"), []byte("fourth"), false},
	} {
		before, missing := sink.ReadFile(t.Context(), name)
		err := sink.SwapFile(t.Context(), name, step.old, step.data)
		if step.done && err != nil || !step.done && !errors.Is(err, audit.ErrChanged) {
			t.Errorf("SwapFile %s gave %v; it must be nil where the file is as it was read, and audit.ErrChanged otherwise: a sequencer that stood still would move the checkpoint backwards", step.what, err)
		}
		after, err := sink.ReadFile(t.Context(), name)
		switch {
		case step.done && (err != nil || string(after) != string(step.data)):
			t.Errorf("after SwapFile %s the file holds %q, %v", step.what, after, err)
		case !step.done && (string(after) != string(before) || errors.Is(err, fs.ErrNotExist) != errors.Is(missing, fs.ErrNotExist)):
			t.Errorf("SwapFile %s changed the file from %q to %q, %v; where it refuses nothing may change", step.what, before, after, err)
		}
	}
}

// swapsMeet lets many replace one file at the same time, each what it has read:
// a number, by the next one. Where two read the same number one of them must be
// refused.
func swapsMeet(t *testing.T, sink audit.Sink) {
	t.Helper()
	const writers, each = 4, 10
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done, tries := 0, 0; done < each; tries++ {
				if tries == 100*writers*each {
					t.Errorf("SwapFile is refused again and again although nobody else is at work by now")
					return
				}
				old, err := sink.ReadFile(t.Context(), "checkpoint")
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("ReadFile while others swap: %v", err)
					return
				}
				n, _ := strconv.Atoi(string(old)) // 0 where there is none
				switch err := sink.SwapFile(t.Context(), "checkpoint", old, strconv.AppendInt(nil, int64(n)+1, 10)); {
				case err == nil:
					done++
				case !errors.Is(err, audit.ErrChanged):
					t.Errorf("SwapFile while others swap: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got, err := sink.ReadFile(t.Context(), "checkpoint"); string(got) != strconv.Itoa(writers*each) {
		t.Errorf("%d swaps that each added one left %q, %v: two of them replaced the same file, and one is lost", writers*each, got, err)
	}
}
