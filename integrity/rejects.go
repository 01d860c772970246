package integrity

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// rejectWriter writes line, field, code and outcome; never a value.
type rejectWriter struct{ csv *csv.Writer }

func newRejectWriter(w io.Writer) *rejectWriter { return &rejectWriter{csv: csv.NewWriter(w)} }

func (r *rejectWriter) begin() error { return r.record("line", "field", "code", "outcome") }

func (r *rejectWriter) write(f Fault) error {
	return r.record(strconv.Itoa(f.Line), safeCell(f.Place()), safeCell(string(f.Code)), string(f.Outcome))
}

func (r *rejectWriter) record(cells ...string) error {
	if err := r.csv.Write(cells); err != nil {
		return fmt.Errorf("integrity: import: write rejects: %w", err)
	}
	return nil
}

func (r *rejectWriter) flush() error {
	r.csv.Flush()
	if err := r.csv.Error(); err != nil {
		return fmt.Errorf("integrity: import: write rejects: %w", err)
	}
	return nil
}

// safeCell keeps a spreadsheet from reading a name that an administrator chose
// as a formula.
func safeCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r\n", rune(s[0])) {
		return "'" + s
	}
	return s
}
