package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// openDesk ties the desk to every store that holds anything about people. The
// order is that of an erasure: the database, while the keys still open a shared
// note, then the files that its rows have named, the values that the audit trail
// holds, and the person's keys last.
func (c *crm) openDesk(ctx context.Context, l *live) (*privacy.Desk, error) {
	database, err := sqlstore.Open(ctx, sqlstore.Config{DB: l.db, Map: dataMap(), Redact: c.redactActivity, EraseOwner: c.eraseRecordKey})
	if err != nil {
		return nil, err
	}
	files := datastore.Func{Name: "attachments", Class: datastore.Deleted, Sealed: true, Erase: c.eraseFiles, Remaining: c.filesLeft, Export: c.exportFiles}
	openings := datastore.Func{Name: "audit openings", Class: datastore.Deleted, Sealed: true, Erase: l.trail.Eraser(), Remaining: l.trail.Left}
	keys := datastore.Func{Name: "person keys", Class: datastore.Shredded, Erase: c.vault.Eraser(), Remaining: c.keysLeft}
	stores, rows := []datastore.Store{files.Store(), openings.Store(), keys.Store()}, datastore.Transactional(database)
	if c.settings.mutant == breakErase {
		nothing := func(context.Context, string, string) error { return nil }
		files.Erase, openings.Erase, keys.Erase = nothing, nothing, nothing
		stores, rows = []datastore.Store{files.Store(), openings.Store(), keys.Store()}, lazyDatabase{database}
	}
	return privacy.Open(ctx, privacy.Config{
		Map: dataMap(), DB: l.db, Ledger: c.ledger, Database: rows, Stores: stores, Sign: c.certKey,
		Record: l.trail.Recorder("privacy-desk"), Prepare: l.trail.Prepare, Note: l.trail.Noter("privacy-desk"), Open: c.openForExport, Aliases: c.vault.Aliases,
		NotCovered: []string{"file-system snapshots and remapped disk blocks", "swap and core dumps", "mail that was sent"},
		Delay:      erasureDelay, Lease: encryption.DefaultLease, Window: window, Now: c.clock.now,
	})
}

// lazyDatabase says it erased, and does nothing: the mutant of -break erase.
type lazyDatabase struct{ *sqlstore.Store }

// Erase does nothing.
func (lazyDatabase) Erase(context.Context, datastore.Scope, []datastore.Row) error { return nil }

// EraseIn does nothing but what the desk adds.
func (l lazyDatabase) EraseIn(ctx context.Context, _ []datastore.Scope, last func(context.Context, datastore.Tx, []datastore.Row) error) error {
	return l.Store.EraseIn(ctx, nil, last)
}

// openForExport opens one sealed value for the person who asked for their data.
// That of which an erasure has destroyed the key is left out of the export, which
// says so.
func (c *crm) openForExport(ctx context.Context, tenant, owner, table, column, row string, sealed []byte) (any, error) {
	declared := map[string]*encryption.SealedTable{"contacts": c.contacts, "deals": c.deals, "activities": c.activities}[table]
	if declared == nil {
		return nil, fmt.Errorf("table %s holds nothing sealed", table)
	}
	reader, err := declared.Reader(ctx, tenant, owner)
	if errors.Is(err, encryption.ErrErased) {
		return nil, fmt.Errorf("%w: %w", datastore.ErrShredded, err)
	}
	if err != nil {
		return nil, err
	}
	return reader.Row(owner, row).Text(ctx, column, sealed)
}

// redactActivity writes a note about several persons anew, without the one who
// is erased, under a new key; the old key is destroyed afterwards, so that the
// old text is gone from backups too.
func (c *crm) redactActivity(ctx context.Context, r sqlstore.JointRow) (sqlstore.Redaction, error) {
	var sealed []byte
	if err := c.live.db.QueryRowContext(ctx, `SELECT body FROM activities WHERE tenant = ? AND id = ?`, r.Tenant, r.Key).Scan(&sealed); err != nil {
		return sqlstore.Redaction{}, err
	}
	keyOwner, err := encryption.NewRecordOwner()
	if err != nil {
		return sqlstore.Redaction{}, err
	}
	w, err := c.activities.RecordWriter(ctx, r.Tenant, keyOwner)
	if err != nil {
		return sqlstore.Redaction{}, err
	}
	body := w.Text("body", "Meeting; one participant was erased on request")
	return sqlstore.Redaction{
		Apply: func(ctx context.Context, tx datastore.Tx) error {
			_, err := tx.ExecContext(ctx, `UPDATE activities SET key_owner = ?, body = ? WHERE tenant = ? AND id = ?`, keyOwner, body, r.Tenant, r.Key)
			return err
		},
		Retire: []string{r.Owner},
	}, nil
}

func (c *crm) eraseRecordKey(ctx context.Context, tenant, owner string) error {
	_, err := c.vault.EraseRecord(ctx, tenant, owner)
	return err
}

func (c *crm) eraseFiles(ctx context.Context, _, person string) error {
	files, err := c.filesOf(ctx, person)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.Remove(f.path(c.live.dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (c *crm) filesLeft(ctx context.Context, _, person string) (int, error) {
	files, err := c.filesOf(ctx, person)
	return len(files), err
}

// filesOf lists the person's files, and those that no row names any more: the
// database erases first.
func (c *crm) filesOf(ctx context.Context, person string) (files []attachment, err error) {
	rows, err := c.attachmentFiles(ctx, "")
	if err != nil {
		return nil, err
	}
	others := map[string]bool{}
	for _, f := range rows {
		others[f.id] = f.person != person
	}
	entries, err := os.ReadDir((attachment{}).path(c.live.dir))
	for _, e := range entries {
		if !others[e.Name()] {
			files = append(files, attachment{id: e.Name()})
		}
	}
	return files, err
}

func (c *crm) exportFiles(ctx context.Context, _, person string) iter.Seq2[datastore.Record, error] {
	return func(yield func(datastore.Record, error) bool) {
		files, err := c.attachmentFiles(ctx, person)
		if err != nil {
			yield(datastore.Record{}, err)
			return
		}
		for _, f := range files {
			name, content, err := c.readStream(ctx, f)
			if err != nil {
				yield(datastore.Record{}, err)
				return
			}
			record := datastore.Record{Table: "files", Key: f.id, Fields: []datastore.Field{{Name: "name", Value: name}}, Files: []datastore.File{{Name: name, Data: content}}}
			if !yield(record, nil) {
				return
			}
		}
	}
}

func (c *crm) keysLeft(ctx context.Context, tenant, person string) (int, error) {
	keys, err := c.vault.WrappedKeys(ctx, tenant, person)
	return len(keys), err
}

// anchoredLedgerHead reads the newest ledger head that the published audit log
// anchors. A ledger that knows less was rolled back.
func (c *crm) anchoredLedgerHead(ctx context.Context) ([]byte, error) {
	log := os.DirFS(c.path("audit", "log"))
	if _, err := fs.Stat(log, "checkpoint"); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var newest *auditlog.LeafHead
	for entry, err := range auditlog.Entries(ctx, log) {
		if err != nil {
			return nil, err
		}
		leaf, err := auditlog.ParseLeaf(entry.Leaf)
		if err != nil {
			return nil, err
		}
		if leaf.Kind == auditlog.KindBeat && leaf.Heads.Ledger != nil {
			newest = leaf.Heads.Ledger
		}
	}
	if newest == nil {
		return nil, nil
	}
	if _, err := base64.RawURLEncoding.DecodeString(newest.Hash); err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, `{"hash":%q,"n":%d}`, newest.Hash, newest.N), nil
}
