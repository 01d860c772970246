//go:build unix

package killtest

import (
	"errors"
	"syscall"
	"testing"
)

// Pause runs the calling test in a child process that works in that folder, and
// has it stand still (SIGSTOP) when it has said the step. Then it runs meanwhile,
// lets the child go on (SIGCONT) and waits for its end. It returns what the child
// said. A child that fails, or never says the step, fails the test.
func Pause(t *testing.T, dir, step string, meanwhile func()) (said []string) {
	t.Helper()
	child := begin(t, dir)
	t.Cleanup(func() { _ = child.Process.Kill() }) // where meanwhile has failed, it stands still for ever
	paused := false
	for one := range child.steps {
		said = append(said, one)
		if paused || one != step {
			continue
		}
		paused = true
		if err := stop(child.Process.Pid); err != nil {
			t.Fatal(err)
		}
		meanwhile()
		if err := syscall.Kill(child.Process.Pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	if err := child.Wait(); err != nil || !paused {
		t.Fatalf("the child failed, or never said %q: %v\n%s", step, err, child.output())
	}
	return said
}

// stop returns when the process stands still.
func stop(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(pid, &status, syscall.WUNTRACED, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return err
		case status.Stopped():
			return nil
		default:
			return errors.New("killtest: it ended instead of standing still")
		}
	}
}
