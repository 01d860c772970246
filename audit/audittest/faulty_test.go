package audittest_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/audittest"
)

// faulty is a sink with one fault.
type faulty struct {
	audittest.Sink
	fault string
}

func (s *faulty) SwapFile(ctx context.Context, name string, old, data []byte) error {
	there, err := s.ReadFile(ctx, name)
	absent := errors.Is(err, fs.ErrNotExist)
	changed := absent != (old == nil) || !bytes.Equal(there, old)
	switch s.fault {
	case "does not compare":
		return s.WriteFile(ctx, name, data)
	case "compares, and then writes":
		if err != nil && !absent {
			return err
		}
		if changed {
			return audit.ErrChanged
		}
		time.Sleep(time.Millisecond) // long enough for others to compare the same
		return s.WriteFile(ctx, name, data)
	case "takes no bytes for no file":
		if len(old) == 0 && len(there) == 0 && fs.ValidPath(name) {
			return s.WriteFile(ctx, name, data)
		}
	case "says nothing":
		if changed && fs.ValidPath(name) {
			return nil
		}
	case "says something else":
		if changed {
			return errors.New("no")
		}
	case "writes and then says so":
		if changed {
			_ = s.WriteFile(ctx, name, data)
		}
	case "takes any name":
		if !fs.ValidPath(name) {
			return nil
		}
	}
	return s.Sink.SwapFile(ctx, name, old, data)
}

// The judge lets the sink in memory pass, and none of those with a fault.
func TestTheJudgeFindsASinkWithAFault(t *testing.T) {
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	skipped := flag.Lookup("test.skip").Value.String() // what these are told to skip, the judge is not
	require.NoError(t, flag.Set("test.skip", ""))
	out := os.Stdout
	defer func() {
		os.Stdout = out
		require.NoError(t, flag.Set("test.skip", skipped))
		require.NoError(t, nowhere.Close())
	}()
	passes := func(fault string) bool {
		os.Stdout = nowhere // what it has against them is nobody's to read
		defer func() { os.Stdout = out }()
		return testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "sink that " + fault, F: func(t *testing.T) {
			audittest.Run(t, func(*testing.T) audit.Sink { return &faulty{fault: fault} })
		}}})
	}
	require.True(t, passes("is sound"))
	for _, fault := range []string{
		"does not compare", "compares, and then writes", "takes no bytes for no file", "says nothing", "says something else", "writes and then says so", "takes any name",
	} {
		if passes(fault) {
			t.Errorf("a sink that %s passes", fault)
		}
	}
}
