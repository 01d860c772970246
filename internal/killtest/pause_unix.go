//go:build unix

package killtest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Stand tells the parent the step, as Say does, and has this process stand still
// (SIGSTOP) until the parent lets it go on. In the parent it does nothing. It is the
// child that stops: one that is stopped by its parent may have ended before. The
// thread that called may run on for a while, though, where another one takes the
// signal: it waits for a file besides.
func Stand(step string) error {
	dir := Dir()
	if dir == "" {
		return nil
	}
	Say(step)
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGSTOP); err != nil {
		return err
	}
	for {
		if _, err := os.Lstat(goOn(dir)); err == nil {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
}

// goOn is the file, beside the child's folder, that lets it go on.
func goOn(dir string) string { return filepath.Clean(dir) + ".go-on" }

// Pause runs the calling test in a child process that works in that folder. While
// it stands still for the first time, as it says by [Stand], Pause runs meanwhile;
// then it lets the child go on (SIGCONT) and waits for its end. It returns what the
// child said. A child that fails, or never stands still, fails the test.
func Pause(t *testing.T, dir, step string, meanwhile func()) (said []string) {
	t.Helper()
	if err := os.Remove(goOn(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
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
		if err := os.WriteFile(goOn(dir), nil, 0o600); err != nil {
			t.Fatal(err)
		}
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
