package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/torchwood"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A press makes events by the hundred thousand. A leaf is one that the library
// wrote, in which what differs from event to event stands in another place: an
// entry of our own making would not be what is measured.
type press struct {
	log                 *ourLog
	leaf                []byte
	id, at, actor, deal place
	before, after       place
	who, among          place
	persons             []namedPerson
	actors, deals       int
	chance              chance
	begin               time.Time
	n                   int // events so far
}

// pressed is an event as it goes into the tables.
type pressed struct {
	id, owner    [16]byte
	deal, actor  string
	at           time.Time
	leaf, sealed []byte
}

// A place is where something stands in a leaf.
type place struct{ from, to int }

func (p place) put(leaf []byte, text string) error {
	if len(text) != p.to-p.from {
		return fmt.Errorf("%q does not fit into %d bytes of a leaf", text, p.to-p.from)
	}
	copy(leaf[p.from:p.to], text)
	return nil
}

// newPress makes events for a log of about that many. A record has a hundred, an
// actor a twentieth of all.
func newPress(ctx context.Context, p *bench, log *ourLog, events int) (*press, error) {
	out := &press{log: log, actors: 20, deals: max(1, events/100), begin: time.Now().Add(-25 * time.Hour).UTC().Truncate(time.Millisecond)}
	if err := out.mould(ctx, p); err != nil {
		return nil, err
	}
	var err error
	if out.chance, err = newChance(7); err != nil {
		return nil, err
	}
	persons := 1000
	if p.small {
		persons = 5
	}
	var names []string
	for i := range persons {
		names = append(names, personID(i))
	}
	out.persons, err = log.name(ctx, names)
	return out, err
}

// mould lets a trail of its own record one event, and finds the places.
func (p *press) mould(ctx context.Context, b *bench) error {
	vault, err := newVault(ctx, b)
	if err != nil {
		return err
	}
	db, err := b.database(ctx, "mould")
	if err != nil {
		return err
	}
	dir, err := b.folder("mould")
	if err != nil {
		return err
	}
	log, err := openLog(ctx, vault, db, dir)
	if err != nil {
		return err
	}
	if err := log.prepare(ctx); err != nil {
		return err
	}
	if err := within(ctx, db, func(tx *sql.Tx) error { return log.record(ctx, tx, dealID(0)) }); err != nil {
		return err
	}
	if _, err := log.file(ctx); err != nil {
		return err
	}
	raw, leaf, err := log.firstLeaf(ctx)
	if err != nil {
		return err
	}
	p.leaf = bytes.Clone(raw)
	for _, one := range []struct {
		text string
		to   []*place
	}{
		{leaf.ID, []*place{&p.id}},
		{leafTime(leaf.At), []*place{&p.at}},
		{leaf.Actor, []*place{&p.actor}},
		{leaf.Object.ID, []*place{&p.deal}},
		{leaf.Changes[0].Old, []*place{&p.before}},
		{leaf.Changes[0].New, []*place{&p.after}},
		{leaf.Persons[0], []*place{&p.who, &p.among}},
	} {
		from := 0
		for _, to := range one.to {
			at := bytes.Index(p.leaf[from:], []byte(`"`+one.text+`"`))
			if at < 0 {
				return fmt.Errorf("a leaf does not hold %q", one.text)
			}
			*to = place{from + at + 1, from + at + 1 + len(one.text)}
			from = to.to
		}
		if bytes.Contains(p.leaf[from:], []byte(one.text)) {
			return fmt.Errorf("a leaf holds %q once more", one.text)
		}
	}
	return nil
}

// when is the time of an event: each comes a millisecond after the one before.
func (p *press) when(n int) time.Time { return p.begin.Add(time.Duration(n) * time.Millisecond) }

// next makes an event.
func (p *press) next() (pressed, error) {
	e := pressed{at: p.when(p.n), deal: dealID(p.chance.below(p.deals)), actor: actorID(p.chance.below(p.actors))}
	p.n++
	id := uuid.UUID(randomBytes(16))
	for i := range 6 { // version 7 begins with the time
		id[i] = byte(e.at.UnixMilli() >> (8 * (5 - i)))
	}
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	who := &p.persons[p.chance.below(len(p.persons))]
	e.id, e.owner = id, who.owner
	before, after, sealed, err := opening(id, who)
	if err != nil {
		return pressed{}, err
	}
	e.sealed, e.leaf = sealed, bytes.Clone(p.leaf)
	return e, errors.Join(
		p.id.put(e.leaf, id.String()), p.at.put(e.leaf, leafTime(e.at)), p.actor.put(e.leaf, e.actor), p.deal.put(e.leaf, e.deal),
		p.before.put(e.leaf, before), p.after.put(e.leaf, after), p.who.put(e.leaf, who.surrogate), p.among.put(e.leaf, who.surrogate),
	)
}

func (p *press) some(n int) ([]pressed, error) {
	out := make([]pressed, n)
	for i := range out {
		var err error
		if out[i], err = p.next(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// queue makes events that wait in the tables.
func (p *press) queue(ctx context.Context, n int) error {
	return p.chunks(n, func(events []pressed) error { return p.log.queue(ctx, events) })
}

func (p *press) chunks(n int, each func([]pressed) error) error {
	for n > 0 {
		events, err := p.some(min(n, 20_000))
		if err == nil {
			err = each(events)
		}
		if err != nil {
			return err
		}
		n -= len(events)
	}
	return nil
}

// publish makes a whole log: the published folder and, if wanted, the tables.
func (p *press) publish(ctx context.Context, n int, tables bool) error {
	folder := &folderWriter{dir: p.log.dir}
	err := p.chunks(n, func(events []pressed) error {
		if tables {
			if err := p.log.filed(ctx, events, folder.size); err != nil {
				return err
			}
		}
		for _, e := range events {
			if err := folder.add(e.leaf); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	tree, tiles, signed, err := folder.finish(p.log.sign)
	if err == nil && tables {
		err = p.log.grown(ctx, tree, tiles, signed)
	}
	return err
}

// A folderWriter writes a published log, with torchwood and package tlog.
type folderWriter struct {
	dir    string
	stored []tlog.Hash
	bundle []byte
	size   int64
}

type tileData struct {
	tile tlog.Tile
	data []byte
}

// ReadHashes are those of the tree.
func (f *folderWriter) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		out[i] = f.stored[index]
	}
	return out, nil
}

func (f *folderWriter) add(leaf []byte) error {
	more, err := tlog.StoredHashes(f.size, leaf, f)
	if err != nil {
		return err
	}
	f.stored = append(f.stored, more...)
	if f.bundle, err = torchwood.AppendTileEntry(f.bundle, leaf); err != nil {
		return err
	}
	if f.size++; f.size%torchwood.TileWidth == 0 {
		return f.flush(torchwood.TileWidth)
	}
	return nil
}

func (f *folderWriter) flush(width int) error {
	err := f.write(torchwood.TilePath(tlog.Tile{H: torchwood.TileHeight, L: -1, N: (f.size - 1) / torchwood.TileWidth, W: width}), f.bundle)
	f.bundle = f.bundle[:0]
	return err
}

func (f *folderWriter) write(name string, data []byte) error {
	path := filepath.Join(f.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// finish writes the tiles and signs.
func (f *folderWriter) finish(sign note.Signer) (tree tlog.Tree, tiles []tileData, signed []byte, err error) {
	if len(f.bundle) > 0 {
		if err := f.flush(int(f.size % torchwood.TileWidth)); err != nil {
			return tree, nil, nil, err
		}
	}
	for _, tile := range tlog.NewTiles(torchwood.TileHeight, 0, f.size) {
		data, err := tlog.ReadTileData(tile, f)
		if err == nil {
			err = f.write(torchwood.TilePath(tile), data)
		}
		if err != nil {
			return tree, nil, nil, err
		}
		tiles = append(tiles, tileData{tile, data})
	}
	tree.N = f.size
	if tree.Hash, err = tlog.TreeHash(f.size, f); err != nil {
		return tree, nil, nil, err
	}
	signed, err = note.Sign(&note.Note{Text: torchwood.Checkpoint{Origin: sign.Name(), Tree: tree}.String()}, sign)
	if err != nil {
		return tree, nil, nil, err
	}
	return tree, tiles, signed, f.write("checkpoint", signed)
}

// copyRows writes rows by the fastest way that a database has.
func copyRows(ctx context.Context, db *sql.DB, table string, columns []string, rows [][]any) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // back to the pool
	foreign := false
	err = conn.Raw(func(driver any) error {
		c, ok := driver.(*stdlib.Conn)
		if !ok {
			foreign = true
			return nil
		}
		_, err := c.Conn().CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromRows(rows))
		return err
	})
	if err != nil || !foreign {
		return err
	}
	return insertRows(ctx, conn, table, columns, rows)
}

func insertRows(ctx context.Context, conn *sql.Conn, table string, columns []string, rows [][]any) error {
	const together = 50
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing, once it has committed
	statement := func(n int) string {
		row := "(?" + strings.Repeat(", ?", len(columns)-1) + ")"
		return "INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES " + row + strings.Repeat(", "+row, n-1)
	}
	whole, err := tx.PrepareContext(ctx, statement(together))
	if err != nil {
		return err
	}
	defer func() { _ = whole.Close() }() // with its transaction
	for len(rows) > 0 {
		n := min(together, len(rows))
		var args []any
		for _, r := range rows[:n] {
			args = append(args, r...)
		}
		if n == together {
			_, err = whole.ExecContext(ctx, args...)
		} else {
			_, err = tx.ExecContext(ctx, statement(n), args...)
		}
		if err != nil {
			return err
		}
		rows = rows[n:]
	}
	return tx.Commit()
}
