package encryption

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"iter"
	"time"
)

var errPending = errors.New("encryption: not built yet")

// Create makes a new installation in an empty key store and opens it.
func Create(ctx context.Context, cfg Config) (*Vault, error) { return nil, errPending }

// Open opens the vault of an installation that exists.
func Open(ctx context.Context, cfg Config) (*Vault, error) { return nil, errPending }

// RestoreCopy loads a key copy into an empty key store and opens it.
func RestoreCopy(ctx context.Context, cfg Config, path string, need ...[]byte) (*Vault, error) {
	return nil, errPending
}

// Vault holds the keys of an installation.
type Vault struct{}

func normalise(as Normaliser, v string) (string, bool) { return v, true }

const textPrefix = "cg1."

// AddTenant makes the keysets and the first generation of a tenant; idempotent.
func (v *Vault) AddTenant(ctx context.Context, tenant string) error { return errPending }

// Tenants lists the tenants.
func (v *Vault) Tenants(ctx context.Context) ([]string, error) { return nil, errPending }

// Ensure fetches or creates the keys of many persons, in few transactions.
func (v *Vault) Ensure(ctx context.Context, tenant string, persons ...string) error {
	return errPending
}

// Position returns canonical JSON {"epoch","sequence","store"}.
func (v *Vault) Position(ctx context.Context) ([]byte, error) { return nil, errPending }

// Status is for health pages.
func (v *Vault) Status(ctx context.Context) (Status, error) { return Status{}, errPending }

// Status is the answer of Vault.Status.
type Status struct {
	Store    string         // id of the key store
	Epoch    int64          // current epoch
	Sequence int64          // of the last change
	Closing  bool           // an epoch is half closed
	KEK      string         // name of the KEK for new keysets
	Tenants  []TenantStatus // sorted by name
	Warnings []string       // what needs an operator
}

// TenantStatus is the part of a Status about one tenant.
type TenantStatus struct {
	Tenant      string                     // its name
	Generations map[uint32]GenerationState // every one it ever had
	KEKs        []string                   // names of the KEKs that wrap its keysets
}

// Receipt says what an erasure did in the key store.
type Receipt struct {
	Tenant     string    // whose
	Owners     int       // owners that are tombstones now: the person and who was merged into it
	Keys       int       // key rows that were deleted by this call
	Sequence   int64     // of the change; 0 when nothing was left to do
	Epoch      int64     // older key copies stay readable until this epoch is closed
	At         time.Time // of the tombstone
	Unreadable time.Time // from then on no process opens or seals: At + lease
	Scrubbed   bool      // deleted bytes are gone from the store's own files
}

// Erase .
func (v *Vault) Erase(ctx context.Context, tenant, person string) (Receipt, error) {
	return Receipt{}, errPending
}

// EraseRecord erases a record owner r:<uuid>.
func (v *Vault) EraseRecord(ctx context.Context, tenant, owner string) (Receipt, error) {
	return Receipt{}, errPending
}

// Eraser .
func (v *Vault) Eraser() func(ctx context.Context, tenant, person string) error { return nil }

// AddAlias .
func (v *Vault) AddAlias(ctx context.Context, tenant, from, into string) error { return errPending }

// WrappedKeys .
func (v *Vault) WrappedKeys(ctx context.Context, tenant, person string) ([][]byte, error) {
	return nil, errPending
}

// Holder counts what needs a generation of a tenant, and says where.
type Holder = func(ctx context.Context, tenant string, generation uint32) (count int, where string, err error)

// NewGeneration .
func (v *Vault) NewGeneration(ctx context.Context, tenant string) (uint32, error) {
	return 0, errPending
}

// Generations lists the generations of a tenant.
func (v *Vault) Generations(ctx context.Context, tenant string) ([]GenerationRow, error) {
	return nil, errPending
}

// DestroyGeneration .
func (v *Vault) DestroyGeneration(ctx context.Context, tenant string, generation uint32, holders ...Holder) error {
	return errPending
}

// Epoch says how an epoch is closed.
type Epoch struct {
	KEK     string                                      // name of the new KEK
	Copy    func(ctx context.Context) error             // writes a verified key copy and deletes older ones: Vault.Copier(dir)
	Destroy func(ctx context.Context, kek string) error // destroys an old KEK that no keyset names any more; nil leaves it to the caller
}

// EpochReport .
type EpochReport struct {
	Epoch     int64    // the new epoch
	Rewrapped int      // key rows
	Old       []string // names of KEKs that nothing needs any more
}

// CloseEpoch .
func (v *Vault) CloseEpoch(ctx context.Context, epoch Epoch) (EpochReport, error) {
	return EpochReport{}, errPending
}

// Copy is a verified key copy.
type Copy struct {
	Path     string    // of the file
	Store    string    // id of the key store
	Epoch    int64     // of the key store
	Sequence int64     // of the last change it holds
	Written  time.Time // when
	Rows     int       // lines but the last
}

// Position .
func (c Copy) Position() []byte { return nil }

// Covers returns nil when a snapshot with this key position can be restored with the copy.
func (c Copy) Covers(position []byte) error { return errPending }

// WriteCopy .
func (v *Vault) WriteCopy(ctx context.Context, dir string) (Copy, error) { return Copy{}, errPending }

// VerifyCopy .
func (v *Vault) VerifyCopy(ctx context.Context, path string) (Copy, error) { return Copy{}, errPending }

// Copier returns Epoch.Copy for a folder.
func (v *Vault) Copier(dir string) func(ctx context.Context) error { return nil }

// KeyCopy returns a func that answers nil once a verified copy in dir covers the position; it writes one when needed.
func (v *Vault) KeyCopy(dir string) func(ctx context.Context, position []byte) error { return nil }

// NewestCopy returns the path of the newest key copy in a folder.
func NewestCopy(dir string) (string, error) { return "", errPending }

// PersonSealer .
func (v *Vault) PersonSealer(purpose string) PersonSealer { return PersonSealer{} }

// PersonSealer .
type PersonSealer struct{}

// Seal .
func (s PersonSealer) Seal(ctx context.Context, tenant, person string, plaintext, ad []byte) ([]byte, error) {
	return nil, errPending
}

// Open .
func (s PersonSealer) Open(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
	return nil, errPending
}

// Ensure .
func (s PersonSealer) Ensure(ctx context.Context, tenant string, persons ...string) error {
	return errPending
}

// Reseal .
func (s PersonSealer) Reseal(ctx context.Context, tenant, person string, sealed, ad []byte) (resealed []byte, changed bool, err error) {
	return nil, false, errPending
}

// Census .
func (s PersonSealer) Census(cells iter.Seq2[[]byte, error]) (map[uint32]int64, error) {
	return nil, errPending
}

// Tagger .
type Tagger struct{}

// Tagger .
func (v *Vault) Tagger(purpose string) Tagger { return Tagger{} }

// Tag .
func (t Tagger) Tag(ctx context.Context, tenant string, data []byte) ([]byte, error) {
	return nil, errPending
}

// Verify .
func (t Tagger) Verify(ctx context.Context, tenant string, data, tag []byte) error { return errPending }

// ManifestTagger .
type ManifestTagger struct{}

// ManifestTagger .
func (v *Vault) ManifestTagger() ManifestTagger { return ManifestTagger{} }

// Tag .
func (t ManifestTagger) Tag(ctx context.Context, data []byte) ([]byte, error) { return nil, errPending }

// Verify .
func (t ManifestTagger) Verify(ctx context.Context, data, tag []byte) error { return errPending }

// Digests .
func (v *Vault) Digests(purpose string) func(ctx context.Context, tenant, label string, data []byte) (roots []uint32, digests [][]byte, err error) {
	return nil
}

// LedgerDigests .
func (v *Vault) LedgerDigests() func(ctx context.Context, label string, data []byte) (roots []uint32, digests [][]byte, err error) {
	return nil
}

// FormatText returns the text form cg1.…
func FormatText(sealed []byte) (string, error) { return "", errPending }

// ParseText .
func ParseText(text string) ([]byte, error) { return nil, errPending }

// GenerationOf returns the generation of a sealed field (binary or text form) or of the first 5 bytes of a stream.
func GenerationOf(sealed []byte) (uint32, error) { return 0, errPending }

// Writer .
type Writer struct{}

// Writer returns a writer for one person.
func (t *SealedTable) Writer(ctx context.Context, tenant, person string) (*Writer, error) {
	return nil, errPending
}

// RecordWriter returns a writer for a record owner r:<uuid>.
func (t *SealedTable) RecordWriter(ctx context.Context, tenant, owner string) (*Writer, error) {
	return nil, errPending
}

// TenantWriter returns a writer for the tenant's own data.
func (t *SealedTable) TenantWriter(ctx context.Context, tenant string) (*Writer, error) {
	return nil, errPending
}

// Row binds the writer to a row: needed for columns of LevelRow.
func (w *Writer) Row(id string) (*Writer, error) { return nil, errPending }

// Text .
func (w *Writer) Text(column, value string) Sealed { return Sealed{} }

// Bytes seals; nil is NULL.
func (w *Writer) Bytes(column string, value []byte) Sealed { return Sealed{} }

// Int64 .
func (w *Writer) Int64(index, value string) IndexValue { return IndexValue{} }

// Index .
func (w *Writer) Index(index, value string) IndexValue { return IndexValue{} }

// Seal .
func (w *Writer) Seal(column string, plaintext []byte) ([]byte, error) { return nil, errPending }

// AppendSeal .
func (w *Writer) AppendSeal(dst []byte, column string, plaintext []byte) ([]byte, error) {
	return nil, errPending
}

// Reader .
type Reader struct{}

// Reader fetches the keys of all owners with one query. Owners are as stored in the rows: persons, r:<uuid>, t:.
func (t *SealedTable) Reader(ctx context.Context, tenant string, owners ...string) (*Reader, error) {
	return nil, errPending
}

// Open opens one cell. Row is used by columns of LevelRow only.
func (r *Reader) Open(ctx context.Context, owner, row, column string, sealed []byte) ([]byte, error) {
	return nil, errPending
}

// Text .
func (r *Reader) Text(ctx context.Context, owner, row, column string, sealed []byte) (string, error) {
	return "", errPending
}

// AppendOpen .
func (r *Reader) AppendOpen(ctx context.Context, dst []byte, owner, row, column string, sealed []byte) ([]byte, error) {
	return nil, errPending
}

// Cell is one sealed column of a Record and where its value goes.
type Cell struct {
	Column string  // logical column
	Sealed []byte  // binary or text form; nil is NULL and leaves the targets alone
	Text   *string // receives the value as text, may be nil
	Bytes  *[]byte // receives the value, may be nil
}

// Record is a row that OpenAll can open; implement it on the pointer.
type Record interface {
	// SealedCells returns the owner of the row, its key and its sealed columns.
	SealedCells() (owner, row string, cells []Cell)
}

// OpenAll opens every cell of every row with one key query.
func OpenAll[R Record](ctx context.Context, table *SealedTable, tenant string, rows []R) error {
	return errPending
}

// Probe is one value to look for.
type Probe struct {
	Column  string     // SQL column
	Version uint32     // of the index
	Value   IndexValue // to compare with
}

// Probes is one Probe per live version of an index.
type Probes []Probe

// Where returns (alias.column = ? OR …) and its arguments.
func (p Probes) Where(alias string) (where string, args []any) { return "", nil }

// Lookup .
func (t *SealedTable) Lookup(ctx context.Context, tenant, index, value string) (Probes, error) {
	return nil, errPending
}

// Match reports whether two opened values are the same to an index: the confirmation after a lookup.
func (t *SealedTable) Match(index, a, b string) bool { return false }

// RebuildIndexes returns a func that fills all index columns from the sealed columns, verifies them and makes building versions live.
func (t *SealedTable) RebuildIndexes(db *sql.DB, tenant string) func(ctx context.Context) error {
	return nil
}

// RetireIndex .
func (t *SealedTable) RetireIndex(ctx context.Context, tenant, index string, version uint32) error {
	return errPending
}

// ClearRows returns an eraser for the table: sealed and index columns of the person's rows become NULL.
func (t *SealedTable) ClearRows(db *sql.DB) func(ctx context.Context, tenant, person string) error {
	return nil
}

// ResealOptions .
type ResealOptions struct {
	Batch     int                                                             // rows a transaction; 0 is 100
	After     string                                                          // resume after this key; "" begins
	BeforeRow func(ctx context.Context, tx *sql.Tx, tenant, key string) error // in the transaction, before the row changes: verify its seal
	AfterRow  func(ctx context.Context, tx *sql.Tx, tenant, key string) error // in the transaction, after: seal it anew, record the event
	Progress  func(ResealReport)                                              // after each batch
	Pause     time.Duration                                                   // between batches
}

// ResealReport .
type ResealReport struct {
	Rows      int    // rows read
	Cells     int    // cells resealed
	Conflicts int    // cells that someone else changed meanwhile and that were read again
	Erased    int    // cells of erased owners, left as they are
	Last      string // key of the last row, for ResealOptions.After
}

// Reseal .
func (t *SealedTable) Reseal(ctx context.Context, db *sql.DB, tenant string, options ResealOptions) (ResealReport, error) {
	return ResealReport{}, errPending
}

// Census counts sealed cells by generation.
type Census struct {
	Generations map[uint32]int64 // cells a generation
	Null        int64            // cells that are NULL
	Unsealed    int64            // cells that do not begin like a sealed field
}

// Census .
func (t *SealedTable) Census(ctx context.Context, db *sql.DB, tenant string) (Census, error) {
	return Census{}, errPending
}

// Holder counts the table's cells for DestroyGeneration.
func (t *SealedTable) Holder(db *sql.DB) Holder { return nil }

// Counts returns tenant -> generation -> count over tables, for a backup manifest.
func Counts(db *sql.DB, tenant string, tables ...*SealedTable) func(ctx context.Context) (map[string]map[uint32]int64, error) {
	return nil
}

// Redaction .
type Redaction struct {
	Edit      func(column string, plaintext []byte) ([]byte, error)           // returns what stays; nil becomes NULL
	BeforeRow func(ctx context.Context, tx *sql.Tx, tenant, key string) error // as in ResealOptions
	AfterRow  func(ctx context.Context, tx *sql.Tx, tenant, key string) error // as in ResealOptions
}

// Redact reseals one record of several persons under a new record owner, then erases the old owner.
func (t *SealedTable) Redact(ctx context.Context, db *sql.DB, tenant, key string, redaction Redaction) (owner string, err error) {
	return "", errPending
}

// StreamRef says what a stream belongs to.
type StreamRef struct {
	Tenant string // its tenant
	Owner  string // person or record owner
	Column string // logical column, declared as Stream
	Row    string // key of the row it belongs to
}

// SealStream .
func (t *SealedTable) SealStream(ctx context.Context, dst io.Writer, ref StreamRef, name string, size int64, src io.Reader) error {
	return errPending
}

// Stream is an opened stream.
type Stream struct {
	Name string // file name as sealed
	Size int64  // bytes that Read will give
	src  io.Reader
}

// Read .
func (s *Stream) Read(p []byte) (int, error) { return s.src.Read(p) }

// OpenStream .
func (t *SealedTable) OpenStream(ctx context.Context, src io.Reader, ref StreamRef) (*Stream, error) {
	return nil, errPending
}

// ResealStream .
func (t *SealedTable) ResealStream(ctx context.Context, dst io.Writer, src io.Reader, ref StreamRef) error {
	return errPending
}
