package integrity

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/ids"
)

// Verdict says what a sweep found.
type Verdict string

// The verdicts.
const (
	Tampered      Verdict = "tampered"       // the row is not what was sealed
	MissingSeal   Verdict = "missing_seal"   // no seal stands beside the row
	UnknownSchema Verdict = "unknown_schema" // no layout for its schema id
	UnknownKey    Verdict = "unknown_key"    // the key of its seal is not there
	DuplicateKey  Verdict = "duplicate_key"  // the key stood before in this sweep
	Misfit        Verdict = "misfit"         // the row lacks columns of its layout, or has others
	BucketChanged Verdict = "bucket_changed" // a bucket does not hold what the anchored roots say
)

// SweepFinding is one row, or one bucket, that is not as it should be.
type SweepFinding struct {
	// Verdict says what was found.
	Verdict Verdict
	// Key and Version name the row; Key is "" for a bucket.
	Key     string
	Version int64
	// Column is the column that holds what its type rules out, "" where it is
	// not known which was changed.
	Column string
	// Bucket is where the row belongs.
	Bucket int
}

// SweepOptions says what is swept. Tenant and Table are needed.
type SweepOptions struct {
	// Tenant and Table name the rows; a row of another one is an error.
	Tenant, Table string
	// Against are roots anchored earlier. Buckets that no longer hold the same
	// rows, versions and seals become findings. Works across a rotation of the
	// seal key as long as the old key verifies.
	Against *Roots
	// Found, if set, is told each finding as it is made. An error ends the
	// sweep.
	Found func(SweepFinding) error
	// Progress, if set, is told the number of rows after every 1,000.
	Progress func(rows int64)
}

// SweepReport says what a sweep found.
type SweepReport struct {
	// Complete says that the sweep reached the end of the table. Without it
	// nothing is known about the rows that were not read.
	Complete bool
	// Rows counts all rows, Verified those whose seal holds.
	Rows, Verified int64
	// Unversioned counts the rows of version 0. Of those a roll-back is found
	// only by the event in the seal, or by anchored roots.
	Unversioned int64
	// Counts counts the findings by verdict.
	Counts map[Verdict]int64
	// Findings are the first 1,000 of them.
	Findings []SweepFinding
	// Roots say what the table holds now, tampered rows included; nil unless
	// Complete.
	Roots *Roots
}

const maxFindings = 1000

// OK reports whether the sweep reached the end and nothing was found.
func (r SweepReport) OK() bool { return r.Complete && len(r.Counts) == 0 }

type sweep struct {
	*Sealer
	SweepOptions
	report SweepReport
	seen   map[[16]byte]struct{}
	digest [Buckets][][32]byte
}

// Sweep verifies all rows of a table, in any order, and computes its roots.
// Findings are a result, not an error; the error says why the sweep did not
// reach the end, and then there are no roots and the report is not OK. An error
// of the sequence ends the sweep, unless it wraps [ErrTampered] as those of
// [Reader.Sealed] do: then it is a finding about the row beside it.
func (s *Sealer) Sweep(ctx context.Context, rows iter.Seq2[SealedRow, error], options SweepOptions) (report SweepReport, err error) {
	run := &sweep{Sealer: s, SweepOptions: options, seen: map[[16]byte]struct{}{}}
	run.report.Counts = map[Verdict]int64{}
	if err := run.check(ctx, rows); err != nil {
		return run.report, err
	}
	defer func() { s.past.swept(options.Tenant, options.Table, report) }()
	for row, err := range rows {
		if err == nil || errors.Is(err, ErrTampered) {
			err = run.take(ctx, row, err)
		}
		if err != nil {
			return run.report, err
		}
	}
	if err := ctx.Err(); err != nil { // a query that was cancelled may end like one that is through
		return run.report, err
	}
	err = run.finish(ctx)
	return run.report, err
}

func (s *sweep) check(ctx context.Context, rows iter.Seq2[SealedRow, error]) error {
	if err := s.Sealer.check(); err != nil {
		return err
	}
	if ctx == nil || rows == nil {
		return configErr("sweep: no context or no rows")
	}
	if err := errors.Join(ids.Check("tenant", s.Tenant), ids.Check("table", s.Table)); err != nil {
		return configErr("sweep: %w", err)
	}
	if s.Against != nil && (s.Against.tenant != s.Tenant || s.Against.table != s.Table) {
		return fmt.Errorf("%w: not of the same tenant and table", ErrRoots)
	}
	return nil
}

// take judges one row, or what its reader found about it.
func (s *sweep) take(ctx context.Context, row SealedRow, found error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if row.Ref.Tenant != s.Tenant || row.Ref.Table != s.Table {
		return rowErr("sweep of %q: a row of another tenant or table", s.Table)
	}
	s.report.Rows++
	if row.Ref.Version == 0 {
		s.report.Unversioned++
	}
	bucket := BucketOf(s.Tenant, s.Table, row.Ref.Key)
	s.digest[bucket] = append(s.digest[bucket], rowDigest(row))
	name := sha256.Sum256([]byte(row.Ref.Key))
	short := [16]byte(name[:16])
	if _, twice := s.seen[short]; twice && row.Ref.Key != "" { // without one a row is tampered as it is
		if err := s.found(row.Ref, DuplicateKey, "", bucket); err != nil {
			return err
		}
	}
	s.seen[short] = struct{}{}
	if s.Progress != nil && s.report.Rows%1000 == 0 {
		s.Progress(s.report.Rows)
	}
	if found != nil {
		return s.found(row.Ref, Tampered, columnOf(found), bucket)
	}
	return s.judge(ctx, row, bucket)
}

func (s *sweep) judge(ctx context.Context, row SealedRow, bucket int) error {
	err := s.Verify(ctx, row)
	if err == nil {
		s.report.Verified++
		return nil
	}
	if verdict := verdictOf(err); verdict != "" {
		return s.found(row.Ref, verdict, columnOf(err), bucket)
	}
	return err
}

// verdictOf is "" for an error that is no finding.
func verdictOf(err error) Verdict {
	switch {
	case errors.Is(err, ErrNoSeal):
		return MissingSeal
	case errors.Is(err, ErrTampered):
		return Tampered
	case errors.Is(err, ErrUnknownSchema):
		return UnknownSchema
	case errors.Is(err, ErrUnknownKey):
		return UnknownKey
	case errors.Is(err, ErrRow):
		return Misfit
	}
	return ""
}

func columnOf(err error) string {
	if unfit, ok := errors.AsType[*tamperError](err); ok {
		return unfit.column
	}
	return ""
}

func (s *sweep) found(ref Ref, verdict Verdict, column string, bucket int) error {
	f := SweepFinding{Verdict: verdict, Key: ref.Key, Version: ref.Version, Column: column, Bucket: bucket}
	s.report.Counts[verdict]++
	if len(s.report.Findings) < maxFindings {
		s.report.Findings = append(s.report.Findings, f)
	}
	if s.Found != nil {
		return s.Found(f)
	}
	return nil
}

// rowDigest stands for key, version and seal. The seal is a keyed tag, so the
// digest says nothing about the values; it stays in memory anyway.
func rowDigest(row SealedRow) [32]byte {
	in := frame.Append(nil, row.Ref.Key)
	in = binary.BigEndian.AppendUint64(in, uint64(row.Ref.Version))
	return sha256.Sum256(frame.Append(in, row.Seal))
}

// finish sorts and tags the buckets, so that the order of rows is without
// effect, and compares them with the anchored ones.
func (s *sweep) finish(ctx context.Context) error {
	var buckets [Buckets]bucketRoot
	for i := range s.digest {
		in := bucketInput(s.Tenant, s.Table, i, s.digest[i])
		tag, err := s.tagger.Tag(ctx, s.Tenant, in)
		if err != nil {
			return fmt.Errorf("integrity: sweep: %w", err)
		}
		buckets[i] = bucketRoot{rows: int64(len(s.digest[i])), tag: tag}
		if err := s.compare(ctx, i, in); err != nil {
			return err
		}
	}
	roots, err := newRoots(s.Tenant, s.Table, buckets)
	s.report.Roots, s.report.Complete = roots, err == nil
	return err
}

func (s *sweep) compare(ctx context.Context, bucket int, in []byte) error {
	if s.Against == nil {
		return nil
	}
	err := s.tagger.Verify(ctx, s.Tenant, in, s.Against.buckets[bucket].tag)
	if err == nil {
		return nil
	}
	err = s.verdict(ctx, s.Tenant, err)
	if errors.Is(err, ErrTampered) {
		return s.found(Ref{}, BucketChanged, "", bucket)
	}
	return err
}

func bucketInput(tenant, table string, bucket int, digests [][32]byte) []byte {
	slices.SortFunc(digests, func(a, b [32]byte) int { return slices.Compare(a[:], b[:]) })
	in := frame.Join("crmguard/roots/v1", tenant, table)
	in = append(in, byte(bucket))
	in = binary.BigEndian.AppendUint64(in, uint64(len(digests)))
	for _, d := range digests {
		in = append(in, d[:]...)
	}
	return in
}
