package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
)

// width is that of a plain terminal; no line is longer.
const width = 80

// screen prints the tour: calm, 80 columns, colour only where a person looks.
type screen struct {
	out      io.Writer
	colour   bool
	terminal bool
}

func newScreen(out io.Writer) *screen {
	file, ok := out.(*os.File)
	terminal := ok && isatty.IsTerminal(file.Fd())
	return &screen{out: out, terminal: terminal, colour: terminal && os.Getenv("NO_COLOR") == ""}
}

func (s *screen) paint(code, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// heading opens a step: its number, its title and the risk it answers.
func (s *screen) heading(number, count int, title, risk string) {
	fmt.Fprintf(s.out, "\n%s\n", s.paint("1", fmt.Sprintf("%2d/%d  %s", number, count, title)))
	s.wrapped("Risk: "+risk, "2")
}

// say prints one finding of a step, wrapped under its heading.
func (s *screen) say(format string, args ...any) { s.wrapped(fmt.Sprintf(format, args...), "") }

// done closes a step with the time it took.
func (s *screen) done(took time.Duration) {
	fmt.Fprintf(s.out, "       %s\n", s.paint("32", "holds, "+duration(took)))
}

// progress shows how far a long step is; only where a person looks, and on
// one line that the next one overwrites.
func (s *screen) progress(what string, done, total int) {
	if s.terminal {
		fmt.Fprintf(s.out, "\r       %s %s of %s\x1b[K\r", what, thousands(done), thousands(total))
	}
}

// failed says which promise broke, what was expected and what was found.
func (s *screen) failed(err error) {
	broken, ok := errors.AsType[*promiseError](err)
	if !ok {
		fmt.Fprintf(s.out, "\n%s %v\n", s.paint("31;1", "FAILED"), err)
		return
	}
	fmt.Fprintf(s.out, "\n%s at step %s\n", s.paint("31;1", "FAILED"), broken.step)
	s.wrapped("expected: "+broken.expected, "")
	s.wrapped("found:    "+broken.found, "")
}

func (s *screen) wrapped(text, code string) {
	const indent = "       "
	for paragraph := range strings.SplitSeq(text, "\n") {
		for _, line := range wrap(paragraph, width-len(indent)) {
			fmt.Fprintln(s.out, indent+s.paint(code, strings.TrimRight(line, " ")))
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
