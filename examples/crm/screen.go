package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// width is that of a plain terminal; no line is longer.
const width = 80

// screen prints the tour: calm, 80 columns, colour only where a person looks.
type screen struct {
	out      io.Writer
	colour   bool
	terminal bool
	mu       sync.Mutex // a sign of life comes from beside
	spoke    time.Time  // when something was printed last
}

func newScreen(out io.Writer) *screen {
	file, ok := out.(*os.File)
	terminal := ok && isTerminal(file)
	return &screen{out: out, terminal: terminal, spoke: time.Now(), colour: terminal && os.Getenv("NO_COLOR") == ""}
}

// isTerminal says that somebody may be looking: a terminal is a character
// device. So is the null device, where colour hurts nobody.
func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (s *screen) paint(code, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// heading opens a step: its number, its title and the risk it answers.
func (s *screen) heading(number, count int, title, risk string) {
	s.print("\n" + s.paint("1", fmt.Sprintf("%2d/%d  %s", number, count, title)) + "\n")
	s.wrapped("Risk: "+risk, "2")
}

// say prints one finding of a step, wrapped under its heading.
func (s *screen) say(format string, args ...any) { s.wrapped(fmt.Sprintf(format, args...), "") }

// done closes a step with what became of it and the time it took.
func (s *screen) done(o outcome, took time.Duration) {
	code := "32"
	if o != holds {
		code = "33"
	}
	s.line(s.paint(code, string(o)+", "+duration(took)))
}

// summary counts the steps at the end.
func (s *screen) summary(r report) {
	var whole, notAtAll, inPart []string
	for _, st := range r.Steps {
		switch st.Outcome {
		case holds:
			whole = append(whole, st.Name)
		case holdsInPart:
			inPart = append(inPart, st.Name)
		case couldNotShow:
			notAtAll = append(notAtAll, st.Name)
		case failedToHold:
		}
	}
	counts := []string{fmt.Sprintf("%d of %d steps hold", len(whole), len(r.Steps))}
	for _, group := range []struct {
		names []string
		what  string
	}{{inPart, "hold in part"}, {notAtAll, "not shown"}} {
		if len(group.names) > 0 {
			counts = append(counts, fmt.Sprintf("%d %s (%s)", len(group.names), group.what, strings.Join(group.names, ", ")))
		}
	}
	s.print("\n")
	for _, line := range wrap(strings.Join(counts, "; ")+".", width) {
		s.print(line + "\n")
	}
}

// quiet is how long a step may work without a sign of life.
const quiet = 10 * time.Second

// progress shows how far a long step is: on one line that the next one
// overwrites where a person looks, and elsewhere once in a while on a line of
// its own.
func (s *screen) progress(what string, done, total int) {
	text := fmt.Sprintf("%s %s of %s", what, thousands(done), thousands(total))
	switch {
	case s.terminal:
		s.print("\r       " + text + "\x1b[K\r")
	case s.silent():
		s.line("  ... " + text)
	}
}

// alive says once in a while that a step is still at work, until it is told
// to stop.
func (s *screen) alive() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	began := time.Now()
	go func() {
		defer close(ended)
		tick := time.NewTicker(quiet)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				if s.silent() {
					s.line("  ... at work for " + duration(time.Since(began).Round(time.Second)))
				}
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

func (s *screen) silent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.spoke) >= quiet
}

// line prints one line of a step.
func (s *screen) line(text string) { s.print("       " + text + "\n") }

func (s *screen) print(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoke = time.Now()
	fmt.Fprint(s.out, text)
}

// failed says which promise broke, what was expected and what was found.
func (s *screen) failed(err error) {
	broken, ok := errors.AsType[*promiseError](err)
	if !ok {
		s.print(fmt.Sprintf("\n%s %v\n", s.paint("31;1", "FAILED"), err))
		return
	}
	s.print(fmt.Sprintf("\n%s at step %s\n", s.paint("31;1", "FAILED"), broken.step))
	s.wrapped("expected: "+broken.expected, "")
	s.wrapped("found:    "+broken.found, "")
}

func (s *screen) wrapped(text, code string) {
	const indent = 7
	for paragraph := range strings.SplitSeq(text, "\n") {
		for _, line := range wrap(paragraph, width-indent) {
			s.line(s.paint(code, strings.TrimRight(line, " ")))
		}
	}
}

// wrap breaks text at spaces into lines of at most limit columns. A leading
// run of spaces (a table's indent) is kept on every line.
func wrap(text string, limit int) []string {
	trimmed := strings.TrimLeft(text, " ")
	indent := text[:len(text)-len(trimmed)]
	if columns(text) <= limit {
		return []string{text}
	}
	var lines []string
	line := indent
	for word := range strings.FieldsSeq(trimmed) {
		if line != indent && columns(line)+1+columns(word) > limit {
			lines, line = append(lines, line), indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// columns counts a wide East Asian character as two, as terminals do.
func columns(text string) int {
	n := 0
	for _, r := range text {
		n++
		if r >= 0x1100 && (r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 || r >= 0xf900 && r <= 0xfaff || r >= 0xfe30 && r <= 0xfe6f || r >= 0xff00 && r <= 0xff60) {
			n++
		}
	}
	return n
}

func duration(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

func size(bytes int64) string {
	switch {
	case bytes < 1<<10:
		return fmt.Sprintf("%d bytes", bytes)
	case bytes < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(bytes)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
}

// count is "1 row" or "2 rows".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return thousands(n) + " " + noun + "s"
}

func thousands(n int) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
