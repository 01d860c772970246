package testdb

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A service is a server process, its folder, and the shell that watches over
// both.
type service struct {
	dir   string
	owner *account // nil: the user of the test process
	ended chan struct{}
	pipe  io.WriteCloser // breaks when the test process ends

	pidFile string       // where the server writes its number
	command func() error // starts it as it was started first
	older   []io.Closer  // pipes of the watches over servers that were killed
}

// newService makes the folder. It is short, because the path of a socket has
// about a hundred bytes at most, and belongs to the user of that name where the
// test process is root: database servers refuse to run as root.
func newService(kind, user string) (*service, error) {
	if os.Getenv("CRMGUARD_SERVERS") == "none" {
		return nil, errors.New("CRMGUARD_SERVERS=none")
	}
	owner, err := accountFor(user)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "crmguard-"+kind+"-")
	if err != nil {
		return nil, err
	}
	s := &service{dir: dir, owner: owner, ended: make(chan struct{})}
	if owner != nil {
		if err := os.Chown(dir, owner.uid, owner.gid); err != nil {
			return nil, errors.Join(fmt.Errorf("give the folder to %s: %w", user, err), s.remove())
		}
	}
	return s, nil
}

func (s *service) remove() error { return os.RemoveAll(s.dir) }

func (s *service) data() string { return filepath.Join(s.dir, "data") }

func (s *service) log() string { return filepath.Join(s.dir, "log") }

// run runs a program to its end.
func (s *service) run(program string, args ...string) error {
	cmd := exec.Command(program, args...)
	cmd.Dir = s.dir
	s.owner.take(cmd)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(program), err, lastBytes(out.Bytes()))
	}
	return nil
}

// watch starts the server given as its further arguments, waits until its own
// input ends, which the test process holds open as long as it lives, and stops
// the server with the signal $1. The folder $2 goes in any case. The server
// gets none of the test's files: go test would wait for it to close them.
const watch = `signal=$1 dir=$2; shift 2
"$@" </dev/null >"$dir/log" 2>&1 &
pid=$!
cat >/dev/null
kill -"$signal" "$pid" 2>/dev/null
wait "$pid"
cd / && rm -rf "$dir"`

// start starts the server under its watch.
func (s *service) start(signal, program string, args ...string) error {
	cmd := exec.Command("/bin/sh", append([]string{"-c", watch, "watch", signal, s.dir, program}, args...)...)
	cmd.Dir = s.dir
	s.owner.take(cmd)
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	s.pipe, s.ended = pipe, make(chan struct{})
	s.command = func() error { return s.start(signal, program, args...) }
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := s.ended
	go func() {
		_ = cmd.Wait() // it ends with this process, or await reports its log
		close(ended)
	}()
	return nil
}

// stop ends the server and waits until its watch has removed the folder.
func (s *service) stop() error {
	if err := s.pipe.Close(); err != nil {
		return err
	}
	for _, pipe := range s.older {
		_ = pipe.Close() // of a server that is no more
	}
	select {
	case <-s.ended:
		return nil
	case <-time.After(time.Minute):
		return errors.New("the server did not end within a minute of being told to")
	}
}

func (s *service) endOfLog() string {
	text, err := os.ReadFile(s.log())
	if err != nil {
		return err.Error()
	}
	return lastBytes(text)
}

// lastBytes is the end of a log, behind the first lines that name a fault: a
// server that aborts writes pages about itself after its reason.
func lastBytes(text []byte) string {
	const most, lines = 600, 10
	text = bytes.TrimSpace(text)
	end := text[max(0, len(text)-most):]
	var faults []string
	for line := range bytes.Lines(text[:len(text)-len(end)]) {
		if len(faults) < lines && fault.Match(line) {
			faults = append(faults, string(line))
		}
	}
	return strings.Join(faults, "") + string(end)
}

var fault = regexp.MustCompile(`ERROR|FATAL|PANIC|signal \d|[Aa]ssertion`)

// sayOnce is called inside a OnceValue: a line a process, for whoever wonders
// why tests were skipped.
func sayOnce(what string, err error) {
	_, _ = fmt.Fprintf(os.Stderr, "testdb: tests on %s are skipped: %v\n", what, err)
}
