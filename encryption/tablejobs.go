package encryption

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/encryption/internal/blindindex"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/internal/rowjob"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// The jobs over the rows of declared tables. What they do stands in package rowjob;
// here stands what they promise.

// job is the table as the jobs need it.
func (t *SealedTable) job() *rowjob.Table {
	def := &t.def
	out := &rowjob.Table{
		Vault: t.vault.jobs, Name: def.Name, SQL: def.SQL, Key: def.Key, Owner: def.Owner, Shared: def.Shared, Tenant: def.Tenant,
		Fenced: t.fenced, Promote: t.promote,
		IndexValues: func(ctx context.Context, tenant string) (func(i int, value string) (any, error), error) {
			keys, err := t.tenantIndexes(ctx, tenant)
			if err != nil {
				return nil, err
			}
			return func(i int, value string) (any, error) { return keys.rebuilt(t, i, value) }, nil
		},
		RecordWriter: func(ctx context.Context, tenant, owner, row string) (rowjob.Writer, error) {
			w, err := t.RecordWriter(ctx, tenant, owner)
			if err == nil {
				w, err = w.Row(row)
			}
			return rowWriter{w}, err
		},
	}
	for _, c := range def.Columns {
		out.Columns = append(out.Columns, rowjob.Column{Name: c.Name, SQL: c.SQL, Level: byte(c.Level), Text: c.Text, Pad: c.Pad, Stream: c.Stream})
	}
	for _, x := range t.indexes {
		out.Indexes = append(out.Indexes, rowjob.Index{Column: x.Column, Name: x.Name, Version: x.Version, Of: x.column, Bits: x.Bits})
	}
	return out
}

// rowWriter is a Writer as the jobs need it.
type rowWriter struct{ w *Writer }

func (w rowWriter) Sealed(column string, value []byte) (any, error) {
	return w.w.Bytes(column, value).Value()
}

func (w rowWriter) Index(column, value string) (any, error) { return w.w.Index(column, value).Value() }

// Reseal brings every sealed cell of a tenant under the active key version, in
// batches by the table's key. A cell is swapped only if it still holds the bytes
// that were read, so a change that falls between reading and writing survives.
// It may be interrupted anywhere, resumed with Last, and run in several
// processes; what is already under the active key version is left alone.
//
// A cell that does not open stops nothing: it stays as it is, is counted and
// listed, and the key version that it needs cannot be destroyed, unless its holder
// is given the list ([SealedTable.Holder]). A row of a person who was merged into
// another goes over to that one, owner column and all, when all of its cells
// open. Where the database makes the owner column itself no row goes over: what is
// under another key version is listed, until the application writes the row anew.
//
// Neither does a row stop it that the database refuses to change. The other rows
// of its batch are then changed one by one, each in a transaction with its hooks.
// A hook that fails stops the job.
func (t *SealedTable) Reseal(ctx context.Context, db *sql.DB, tenant string, options jobs.ResealOptions) (jobs.ResealReport, error) {
	return t.rows.Reseal(ctx, db, tenant, options)
}

// Redact reseals one record of several persons under a new record owner, with
// only what Edit leaves, and then erases the old record owner: without that
// the unredacted text would stay readable in backups. Old copies of the
// record become unreadable for all of its persons. The key is the row's, as
// [RowText] writes it. It returns the new owner. A record owner that another row
// of the table has, too, is refused (ErrDefinition): its keys go with the old one.
// Rows of other tables are not looked at.
//
// If it fails after the row was changed, a *jobs.RedactedError names the old owner:
// erase it with EraseRecord.
func (t *SealedTable) Redact(ctx context.Context, db *sql.DB, tenant, key string, redaction jobs.Redaction) (owner string, err error) {
	if owner, err = NewRecordOwner(); err != nil {
		return "", err
	}
	err = t.rows.Redact(ctx, db, tenant, key, owner, redaction)
	if half := (*jobs.RedactedError)(nil); err != nil && !errors.As(err, &half) {
		return "", err
	}
	return owner, err
}

// Rebuild fills every index column of the table from the sealed columns, until a
// whole pass finds nothing to correct; then versions that were fenced before
// (FenceOldWriters) become live and are searched. It runs after a restore
// (snapshots carry no index columns), for an index that was added, and at any
// other time: writers may go on. What belongs to an erased person, or to a
// destroyed key version, loses its index value, once the key is gone. A cell that does
// not open for another reason (the key stands, and a row says that it is gone), or is
// not sealed, stops nothing: its index value stays as it is, and the report counts and
// lists it. Where such a cell is mended, a search finds
// it after the next Rebuild.
//
// Neither stops it that the database refuses a value, be it a trigger or a UNIQUE
// index column, in which two rows of one value, or of two that collide, have no
// place: all other rows are corrected, and the answer is ErrIncomplete with a
// *jobs.RefusedError that names what is left. What was not searched before is not
// searched then.
//
// Before a version becomes live, all who write to the table when Rebuild is called
// have ended, however long they take ([SealedTable.Holder] says how they are waited
// for), and one unchanging view of the table was compared with what the pass
// found: a row whose key changed meanwhile is not passed over. That takes eight
// bytes of memory a row.
func (t *SealedTable) Rebuild(ctx context.Context, db *sql.DB, tenant string) (jobs.RebuildReport, error) {
	return t.rows.Rebuild(ctx, db, tenant)
}

// RebuildIndexes is [SealedTable.Rebuild] in the shape that the steps of a restore
// take.
func (t *SealedTable) RebuildIndexes(db *sql.DB, tenant string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		_, err := t.Rebuild(ctx, db, tenant)
		return err
	}
}

// ClearRows returns an eraser for the table: every sealed and index column of
// the person's rows becomes NULL. Erase makes the sealed bytes unreadable;
// this takes the index values away too, which the person's key does not
// protect. Declare the columns nullable, or delete the rows instead. Rows of
// those who were merged with the person are those of other ids (Vault.Aliases).
// A UUID is found in small letters, in capital ones, and as it is named.
//
// Where the database refuses to change some of the rows, all others are cleared,
// and the answer is a *jobs.RefusedError with those that are left.
func (t *SealedTable) ClearRows(db *sql.DB) func(ctx context.Context, tenant, person string) error {
	return t.rows.ClearRows(db)
}

// Census counts by the first bytes of every declared column: no key is needed
// and no value leaves the database. It reads pages in the order of the table's
// key, all of one unchanging view. Columns that the definition forgot, and
// streams, are not counted.
func (t *SealedTable) Census(ctx context.Context, db *sql.DB, tenant string) (jobs.Census, error) {
	return t.rows.Census(ctx, db, tenant)
}

// Holder returns the table's answer to DestroyKeyVersion. It counts what all
// transactions leave that are writing to the table when it is asked, and waits for
// them to end, however long they take and as long as the context runs;
// encryption.holder.writers tells how many are waited for. Nothing must call it
// inside of a transaction that has written to the table: it would wait for itself.
// On MariaDB and MySQL it needs the right LOCK TABLES.
//
// Cells that a job has listed as unreadable ([jobs.ResealReport],
// [jobs.ResealOptions].Unreadable) and that are handed in here are not counted, as long
// as they hold what they held then: this is how somebody says that they may be
// lost.
func (t *SealedTable) Holder(db *sql.DB, lost ...jobs.Unreadable) jobs.Holder {
	return t.rows.Holder(db, lost...)
}

// Counts returns a func that answers tenant -> key version -> count over tables:
// what a backup manifest names, so that its snapshot can be a Holder later.
func (v *Vault) Counts(db *sql.DB, tenant string, tables ...*SealedTable) func(ctx context.Context) (map[string]map[uint32]int64, error) {
	return func(ctx context.Context) (map[string]map[uint32]int64, error) {
		sum := map[uint32]int64{}
		for _, table := range tables {
			census, err := table.Census(ctx, db, tenant)
			if err != nil {
				return nil, err
			}
			for keyVersion, count := range census.KeyVersions {
				sum[keyVersion] += count
			}
		}
		return map[string]map[uint32]int64{tenant: sum}, nil
	}
}

// Undeclared searches every column of bytes or text in every table of a database
// (JSON and arrays as their text; on SQLite every column at all) for what is
// sealed under a key version that the tenant has, and lists where no table that
// this vault declares says so. It reads the whole database, in pages of a primary
// key where there is one, in one pass where there is none: call it before a key
// version goes, not in passing. No value leaves the database and no key is needed.
//
// known are columns ("table.column", or "schema.table.column") that another holder
// counts, the tables of other packages for one: they are left out.
//
// It finds neither values that were encoded or compressed after they were sealed,
// nor streams, nor what stands in other databases, foreign tables, or the history
// of system-versioned tables. A value of five chance bytes is one in 2^40.
func (v *Vault) Undeclared(ctx context.Context, db *sql.DB, tenant string, known ...string) ([]jobs.UndeclaredColumn, error) {
	all, err := v.KeyVersions(ctx, tenant)
	if err != nil {
		return nil, err
	}
	var versions []uint32
	for _, row := range all {
		if row.State != keystore.Destroyed {
			versions = append(versions, row.KeyVersion)
		}
	}
	return rowjob.Undeclared(ctx, db, versions, v.declared.sealed, known)
}

// UndeclaredHolder is Undeclared as a [jobs.Holder]: DestroyKeyVersion does not go on
// while a column that nothing declares needs the key version, or could not be
// read. It does not wait for transactions that are writing to such a column.
func (v *Vault) UndeclaredHolder(db *sql.DB, known ...string) jobs.Holder {
	return func(ctx context.Context, tenant string, keyVersion uint32) (int, string, error) {
		columns, err := rowjob.Undeclared(ctx, db, []uint32{keyVersion}, v.declared.sealed, known)
		if err != nil {
			return 0, "undeclared columns", err
		}
		var where []string
		total := 0
		for _, c := range columns {
			if c.Unread != nil {
				return 0, "undeclared columns", fmt.Errorf("encryption: table %s may hold sealed values and could not be read: %w", c.Table, c.Unread)
			}
			total += int(c.KeyVersions[keyVersion])
			where = append(where, c.Table+"."+c.Column)
		}
		return total, "columns that no table declares: " + strings.Join(where[:min(len(where), 10)], ", "), nil
	}
}

// CheckIn reports whether a database holds the table as it is declared: its
// columns, a key to read it by, all of its rows, the tenant spelt as it is named.
func (t *SealedTable) CheckIn(ctx context.Context, db *sql.DB, tenant string) error {
	return t.rows.CheckIn(ctx, db, tenant)
}

// Opened reads a sealed column of a tenant, value by value, in pages: to measure
// what stands there. What has no value (NULL, erased, destroyed) and what does not
// open is left out. An error is the last answer.
func (t *SealedTable) Opened(ctx context.Context, db *sql.DB, tenant, column string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := t.opened(ctx, db, tenant, column, func(value string) bool { return yield(value, nil) }); err != nil {
			yield("", err)
		}
	}
}

func (t *SealedTable) opened(ctx context.Context, db *sql.DB, tenant, column string, yield func(value string) bool) error {
	col, err := t.column(column)
	if err != nil {
		return err
	}
	if col.Stream {
		return &KeyError{Op: "the column is a stream:", Table: t.def.Name, Column: column, Err: ErrDefinition}
	}
	return t.rows.Opened(ctx, db, tenant, t.columns[column], yield)
}

// RowText is the text that stands for the key of a row: what [Writer.Row] and
// [RowReader.Open] take for columns of LevelRow, and what the jobs over whole tables
// (Reseal, RebuildIndexes) make of the key themselves. It is given the values of
// the key's columns in the order of [Table].Key, each as the driver hands it out:
//
//   - text as it is; integers in decimal; a UUID in lower case with hyphens;
//   - bytes that are text (MariaDB's VARBINARY) as text, all others as \x and
//     their hexadecimal digits;
//   - several columns joined by /, after % and / in them became %25 and %2F.
//
// To the keys a UUID is the same in capitals, alone and as one of several columns.
//
// What is none of these (times, booleans, numbers with a fraction) is named by
// the text that the database writes for it: select the column cast to text.
func RowText(key ...any) (string, error) {
	return rowjob.RowText(key...)
}

// FindConditions returns what to search for to find rows by what is known of a
// person, by the name of each table in SQL: her e-mail addresses or telephone
// numbers, in the sealed columns of every table that the vault declares. An access
// request, and an erasure, must also reach rows which name no person.
//
// identities are values by the family of a normaliser, its name without the
// version ("email", "acme.e164"), which searches each index of every version of it
// in every table, or by one index ("contacts.member_idx", both logical).
//
// Narrow indexes collide: FindRows opens what is found and compares. An index that
// is not searched yet is ErrIncomplete, and an identity that no index is declared
// for ErrDefinition: both would find nothing and look like an answer.
func (v *Vault) FindConditions(ctx context.Context, tenant string, identities map[string][]string) (map[string]Conditions, error) {
	searches, err := v.searches(ctx, tenant, identities)
	if err != nil {
		return nil, err
	}
	out := map[string]Conditions{}
	for _, s := range searches {
		out[s.table.def.SQL] = append(out[s.table.def.SQL], s.conditions...)
	}
	return out, nil
}

// FindRows searches the tables in the database for the identities of
// [Vault.FindConditions], opens what is found and lists it, each row once for each
// index that found it. An error is the last answer. Where the database does not have
// all tables that are to be searched, the last answer, behind the rows of those that
// it has, is a *jobs.NotSearchedError with the others: where the tables stand in
// several databases, call it with each of them.
func (v *Vault) FindRows(ctx context.Context, db *sql.DB, tenant string, identities map[string][]string) iter.Seq2[jobs.FoundRow, error] {
	return func(yield func(jobs.FoundRow, error) bool) {
		searches, err := v.searches(ctx, tenant, identities)
		if err != nil {
			yield(jobs.FoundRow{}, err)
			return
		}
		var elsewhere []string
		for _, s := range searches {
			more, err := s.rows(ctx, db, tenant, func(row jobs.FoundRow) bool { return yield(row, nil) })
			if table, ok := errors.AsType[*sqldb.KeyError](err); ok && table.Absent {
				elsewhere = append(elsewhere, s.table.def.SQL)
				continue
			}
			if err != nil {
				yield(jobs.FoundRow{}, err)
				return
			}
			if !more {
				return
			}
		}
		if len(elsewhere) > 0 {
			slices.Sort(elsewhere) // once for each index
			yield(jobs.FoundRow{}, &jobs.NotSearchedError{Tables: slices.Compact(elsewhere)})
		}
	}
}

// identitySearch looks for some values by one index.
type identitySearch struct {
	table      *SealedTable
	index      string
	values     []string
	conditions Conditions
}

func (v *Vault) searches(ctx context.Context, tenant string, identities map[string][]string) (out []identitySearch, err error) {
	if err := keyring.CheckTenant(tenant); err != nil {
		return nil, err
	}
	tables := v.declared.all()
	for _, kind := range slices.Sorted(maps.Keys(identities)) {
		known := false
		for _, t := range tables {
			for _, index := range t.identifiedBy(kind) {
				known = true
				s := identitySearch{table: t, index: index, values: identities[kind]}
				for _, value := range s.values {
					conditions, err := t.Lookup(ctx, tenant, index, value)
					if err != nil {
						return nil, err
					}
					s.conditions = append(s.conditions, conditions...)
				}
				if len(s.conditions) > 0 {
					out = append(out, s)
				}
			}
		}
		if !known {
			return nil, fmt.Errorf("%w: no declared table has an index for the identity %q: it is the family of a normaliser (email) or table.index, both logical", ErrDefinition, kind)
		}
	}
	return out, nil
}

// all lists the declared tables, in the order of their names.
func (d *declared) all() []*SealedTable {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []*SealedTable
	for _, name := range slices.Sorted(maps.Keys(d.tables)) {
		out = append(out, d.tables[name])
	}
	return out
}

// identifiedBy lists the indexes, by logical name, that an identity is looked for
// by.
func (t *SealedTable) identifiedBy(kind string) (out []string) {
	for _, x := range t.indexes {
		if (kind == blindindex.Family(string(x.As)) || kind == t.def.Name+"."+x.Name) && !slices.Contains(out, x.Name) {
			out = append(out, x.Name)
		}
	}
	return out
}

// rows hands out the rows of the search.
func (s identitySearch) rows(ctx context.Context, db *sql.DB, tenant string, yield func(jobs.FoundRow) bool) (more bool, err error) {
	probes := make([]rowjob.Probe, len(s.conditions))
	for i, c := range s.conditions {
		probes[i] = rowjob.Probe{Index: slices.IndexFunc(s.table.indexes, func(x tableIndex) bool { return x.Column == c.Column }), Value: c.Value}
	}
	return s.table.rows.Find(ctx, db, tenant, probes, func(row rowjob.Found) bool {
		hers := slices.ContainsFunc(s.values, func(wanted string) bool { return s.table.Match(s.index, row.Value, wanted) })
		if row.Opens && !hers {
			return true // another value, which is equal in so many bits
		}
		return yield(jobs.FoundRow{Table: s.table.def.SQL, Key: row.Key, Owner: row.Owner, Confirmed: row.Opens})
	})
}
