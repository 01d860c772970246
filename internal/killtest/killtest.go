// Package killtest runs a test once more in a child process and kills that
// process (SIGKILL) at a random moment. Only tests import it.
//
// Or has it stand still for a while ([Pause], where there are signals).
//
// A test that uses it looks at [Dir] first: in the child it works in that
// folder and calls [Say] after each step; in the parent it calls [Kill] and
// then looks at what the child left behind.
package killtest

import (
	"bufio"
	"fmt"
	"math/rand/v2" //nolint:depguard // moments, no secrets
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	dirVariable    = "CRMGUARD_KILL_DIR"
	roundsVariable = "CRMGUARD_KILL_ROUNDS"
	seedVariable   = "CRMGUARD_KILL_SEED"
	mark           = "step: "
)

// Dir is the folder in which the child works; "" in the parent.
func Dir() string { return os.Getenv(dirVariable) }

// Say tells the parent that a step is done. In the parent it says nothing, so
// that both may run the same code.
func Say(step string) {
	if Dir() != "" {
		_, _ = fmt.Fprintln(os.Stdout, mark+step) // a parent that is gone hears nothing
	}
}

// An At is the moment at which a child is killed: a pause after it has said a
// step so often.
type At struct {
	Step  string // "" counts all steps
	Count int
	Pause time.Duration
}

// Rounds is how often to kill: 30 times, or as often as CRMGUARD_KILL_ROUNDS
// says, at moments drawn from CRMGUARD_KILL_SEED, or from a new seed, which is
// logged.
func Rounds(t *testing.T) (rounds int, moments *rand.Rand) {
	t.Helper()
	rounds, seed := 30, rand.Uint64()
	for name, set := range map[string]func(string) error{
		roundsVariable: func(text string) (err error) { rounds, err = strconv.Atoi(text); return err },
		seedVariable:   func(text string) (err error) { seed, err = strconv.ParseUint(text, 10, 64); return err },
	} {
		if text := os.Getenv(name); text != "" {
			if err := set(text); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	t.Logf("%d rounds, %s=%d", rounds, seedVariable, seed)
	return rounds, rand.New(rand.NewPCG(seed, 1))
}

// A child is the calling test in another process.
type child struct {
	*exec.Cmd
	lines      *bufio.Scanner
	other      []string        // lines that are no step
	complaints strings.Builder // its standard error
}

func begin(t *testing.T, dir string) *child {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{Cmd: exec.CommandContext(t.Context(), program, "-test.run=^"+t.Name()+"$", "-test.timeout=2m")}
	c.Env = append(os.Environ(), dirVariable+"="+dir)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr, c.lines = &c.complaints, bufio.NewScanner(out)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// steps are what the child says, until it ends.
func (c *child) steps(yield func(string) bool) {
	for c.lines.Scan() {
		step, ok := strings.CutPrefix(c.lines.Text(), mark)
		if !ok {
			c.other = append(c.other, c.lines.Text())
		} else if !yield(step) {
			return
		}
	}
}

// output is what it wrote besides, for whoever wonders why it failed.
func (c *child) output() string { return strings.Join(c.other, "\n") + "\n" + c.complaints.String() }

// Kill runs the calling test in a child process and kills it at that moment. It
// returns what the child said, and whether it was killed before it had
// finished. A child that fails by itself fails the test.
func Kill(t *testing.T, dir string, at At) (said []string, killed bool) {
	t.Helper()
	child := begin(t, dir)
	sent, counted := false, 0
	for step := range child.steps {
		said = append(said, step)
		if at.Step != "" && step != at.Step {
			continue
		}
		if counted++; counted == at.Count {
			time.Sleep(at.Pause)
			sent = child.Process.Kill() == nil
		}
	}
	err := child.Wait()
	byItself := !sent || runtime.GOOS != "windows" && child.ProcessState.Exited()
	if err != nil && byItself {
		t.Fatalf("the child failed: %v\n%s", err, child.output())
	}
	return said, !byItself
}
