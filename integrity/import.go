package integrity

import (
	"context"
	"io"
	"iter"
	"maps"
	"slices"
	"time"
)

// ImportOptions says how to import. Schema is needed, the rest has defaults.
type ImportOptions struct {
	// Schema validates the rows. Columns that it does not have become custom
	// fields.
	Schema *Schema
	// Unique lists fields of which no value may stand twice in one import. The
	// first accepted row wins. Text is compared with ASCII case, outer space
	// and Unicode normal form apart.
	Unique []string
	// BatchSize is the number of rows handed over at once; 0 means 500.
	BatchSize int
	// Dates are the layouts (package time) that dates may come in, tried in
	// their order; nil means YYYY-MM-DD only. A layout must tell day, month and
	// all four digits of the year, or it is refused: two digits say 2050 of
	// somebody born in 1950. Two layouts that read one text as two dates are
	// refused too.
	Dates []string
	// Rejects, if set, gets a CSV file: line, field, code, outcome. It never
	// holds a value and is safe to open in a spreadsheet. Import writes and does
	// not sync: where a power cut is to lose no line, hand in a writer that does.
	Rejects io.Writer
	// Fault, if set, is told each fault as it happens. An error ends the import.
	Fault func(Fault) error
	// Progress, if set, is told the counts after each batch and at the end.
	Progress func(Report)
	// ReportOnly validates and counts, and hands nothing over.
	ReportOnly bool
}

// Accepted is a row that may be stored.
type Accepted struct {
	// Line is where the row begins in its source, from 1; 0 if unknown.
	Line int
	// Values are the fields of the schema that are there, as int64 (Integer),
	// string at the declared scale (Decimal), bool, string YYYY-MM-DD (Date),
	// time.Time (Time) and string (all others).
	Values map[string]any
	// Custom are the columns that the schema does not have, as they came.
	Custom map[string]any
	// Faults are the optional values that were dropped.
	Faults []Fault
}

// Report says what an import did. Read is always Accepted + Rejected.
type Report struct {
	// Read, Accepted and Rejected count rows. Delivered counts the accepted
	// ones in batches that were taken without an error.
	Read, Accepted, Rejected, Delivered int
	// FieldsDropped counts the optional values left out of accepted rows.
	FieldsDropped int
	// ColumnsDropped counts the values of declared columns that never entered,
	// by declared heading.
	ColumnsDropped map[string]int
	// Faults counts the faults by place, code and outcome, sorted.
	Faults []FaultCount
	// ReportOnly says that nothing was handed over.
	ReportOnly bool
}

// FaultCount is how often one fault happened.
type FaultCount struct {
	// Place is the field, "column N" where the schema has no such field, or ""
	// for a row as a whole.
	Place string
	// Code and Outcome are those of the faults.
	Code    Code
	Outcome Outcome
	// Count is how many there were.
	Count int
}

const (
	defaultBatch = 500
	maxBatch     = 100_000
)

// Import reads rows, checks them against the schema and hands the good ones
// over in batches. A fault in a required field or in the last field of a group
// rejects the row, a fault in an optional field drops that value; both are
// reported and the import goes on. It ends early when ctx is done, when the
// sequence fails (a [*SourceError] for a file), or when deliver, Fault or the
// writer of rejects fails; the report then counts what was read so far, and
// rows accepted but not delivered were not stored.
//
// Before the check, space and characters that show nothing are cut off both
// ends of every field that is not plain Text, country codes become upper case,
// phone numbers lose what address books and spreadsheets put into them (format
// characters, hyphens and spaces of other kinds, full-width digits, a leading
// apostrophe), and text becomes the type of its field. Rules and conversions
// are those of [Schema.Validate]. Columns that the schema does not have are
// held to what [Field.FreeText] may hold.
//
// Rejects that are known when a batch is handed over have been written before,
// so that a crash in between loses none of them.
func Import(ctx context.Context, rows iter.Seq2[Row, error], options ImportOptions, deliver func(ctx context.Context, batch []Accepted) error) (Report, error) {
	if ctx == nil {
		return Report{ReportOnly: options.ReportOnly}, configErr("import: no context")
	}
	run, err := newImport(options, rows, deliver)
	if err != nil {
		return Report{ReportOnly: options.ReportOnly}, err
	}
	err = run.all(ctx, rows)
	report := run.snapshot()
	if err == nil && options.Progress != nil {
		options.Progress(report)
	}
	return report, err
}

type importRun struct {
	ImportOptions
	deliver func(context.Context, []Accepted) error
	rejects *rejectWriter
	unique  []uniqueField
	report  Report
	counts  map[FaultCount]int // Count is 0 in the key
	batch   []Accepted
}

func newImport(o ImportOptions, rows iter.Seq2[Row, error], deliver func(context.Context, []Accepted) error) (*importRun, error) {
	switch {
	case o.Schema.empty():
		return nil, configErr("import: no schema")
	case rows == nil:
		return nil, configErr("import: no rows")
	case deliver == nil && !o.ReportOnly:
		return nil, configErr("import: nobody to deliver to, and not report-only")
	case o.BatchSize < 0 || o.BatchSize > maxBatch:
		return nil, configErr("import: batch of %d rows, allowed are up to %d", o.BatchSize, maxBatch)
	}
	if o.BatchSize == 0 {
		o.BatchSize = defaultBatch
	}
	if len(o.Dates) == 0 {
		o.Dates = []string{time.DateOnly}
	}
	for i, layout := range o.Dates {
		if err := checkDates(layout, o.Dates[:i]); err != nil {
			return nil, err
		}
	}
	run := &importRun{ImportOptions: o, deliver: deliver, counts: map[FaultCount]int{}}
	run.report.ColumnsDropped, run.report.ReportOnly = map[string]int{}, o.ReportOnly
	for _, name := range o.Unique {
		if _, known := o.Schema.index[name]; !known {
			return nil, configErr("import: unique field %q is not in the schema", name)
		}
		run.unique = append(run.unique, newUniqueField(name))
	}
	if o.Rejects != nil {
		run.rejects = newRejectWriter(o.Rejects)
	}
	return run, nil
}

// checkDates refuses a layout that does not give back the date it was given:
// one of another language (YYYY-MM-DD) or without a day, month or full year. It
// also refuses one that reads as another date what an earlier one reads, such
// as 03/04/2026: which of the two was meant is not in the file.
func checkDates(layout string, earlier []string) error {
	for _, other := range earlier { // either way: one may read more spellings than it writes
		if readApart(other, layout) || readApart(layout, other) {
			return configErr("import: Dates: layout %q reads as one date what an earlier layout reads as another; keep the one that the file is written in", layout)
		}
	}
	for _, day := range []time.Time{
		time.Date(1950, time.December, 31, 0, 0, 0, 0, time.UTC),
		time.Date(2001, time.February, 3, 0, 0, 0, 0, time.UTC),
		time.Date(2024, time.February, 29, 0, 0, 0, 0, time.UTC),
	} {
		back, code := parseDate(day.Format(layout), []string{layout})
		if code != "" || back != day.Format(time.DateOnly) {
			return configErr("import: Dates: layout %q loses part of a date; write 2 January 2006 as the dates in the file are written, such as 02.01.2006", layout)
		}
	}
	return nil
}

// readApart reports whether reader takes what writer writes for another date.
func readApart(writer, reader string) bool {
	spring := time.Date(2026, time.March, 4, 0, 0, 0, 0, time.UTC)
	read, code := parseDate(spring.Format(writer), []string{reader})
	return code == "" && read != spring.Format(time.DateOnly)
}

func (r *importRun) all(ctx context.Context, rows iter.Seq2[Row, error]) error {
	if r.rejects != nil {
		if err := r.rejects.begin(); err != nil {
			return err
		}
	}
	for row, err := range rows {
		if ctx.Err() != nil {
			return r.end(ctx.Err())
		}
		if err := r.take(ctx, row, err); err != nil {
			return r.end(err)
		}
	}
	if ctx.Err() != nil {
		return r.end(ctx.Err())
	}
	return r.end(r.flush(ctx))
}

// end writes what the rejects file still lacks, whatever happened.
func (r *importRun) end(err error) error {
	if r.rejects != nil {
		if ferr := r.rejects.flush(); err == nil {
			err = ferr
		}
	}
	return err
}

func (r *importRun) flush(ctx context.Context) error {
	batch := r.batch
	r.batch = nil
	if len(batch) == 0 || r.ReportOnly {
		return nil
	}
	if r.rejects != nil {
		if err := r.rejects.flush(); err != nil {
			return err
		}
	}
	if err := r.deliver(ctx, batch); err != nil {
		return err
	}
	r.report.Delivered += len(batch)
	return nil
}

// accept keeps a row for the next batch.
func (r *importRun) accept(ctx context.Context, row Accepted) error {
	r.report.Accepted++
	r.batch = append(r.batch, row)
	if len(r.batch) < r.BatchSize {
		return nil
	}
	if err := r.flush(ctx); err != nil {
		return err
	}
	if r.Progress != nil {
		r.Progress(r.snapshot())
	}
	return nil
}

// tell reports one fault everywhere.
func (r *importRun) tell(f Fault) error {
	r.counts[FaultCount{Place: f.Place(), Code: f.Code, Outcome: f.Outcome}]++
	if f.Outcome == FieldDropped {
		r.report.FieldsDropped++
	}
	if r.rejects != nil {
		if err := r.rejects.write(f); err != nil {
			return err
		}
	}
	if r.Fault != nil {
		return r.Fault(f)
	}
	return nil
}

// snapshot is the report so far, independent of later counting.
func (r *importRun) snapshot() Report {
	report := r.report
	report.ColumnsDropped = map[string]int{}
	maps.Copy(report.ColumnsDropped, r.report.ColumnsDropped)
	report.Faults = nil
	for key, n := range r.counts {
		key.Count = n
		report.Faults = append(report.Faults, key)
	}
	slices.SortFunc(report.Faults, compareCounts)
	return report
}
