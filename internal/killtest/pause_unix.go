//go:build unix

package killtest

import (
	"errors"
	"syscall"
	"testing"
)

// Stand tells the parent the step, as Say does, and has this process stand still
// (SIGSTOP) until the parent lets it go on. In the parent it does nothing. It is the
// child that stops: one that is stopped by its parent may have ended before.
func Stand(step string) error {
	if Dir() == "" {
		return nil
	}
	Say(step)
	return syscall.Kill(syscall.Getpid(), syscall.SIGSTOP)
}

// Pause runs the calling test in a child process that works in that folder. While
// it stands still for the first time, as it says by [Stand], Pause runs meanwhile;
// then it lets the child go on (SIGCONT) and waits for its end. It returns what the
// child said. A child that fails, or never stands still, fails the test.
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
		if err := standing(child.Process.Pid); err != nil {
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

// standing returns when the process stands still.
func standing(pid int) error {
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
