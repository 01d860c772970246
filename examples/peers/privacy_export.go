package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"filippo.io/age"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// exportOnly is the variable that makes a process one that takes the figures of
// an export and ends.
const exportOnly = "CRMGUARD_PEERS_EXPORT_ONLY"

// exportAlone takes the figures of an export in a process of its own.
func exportAlone(ctx context.Context, p *bench, e engine) (out []taken, err error) {
	if p.small {
		return exportOfMany(ctx, p, e)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	child := exec.CommandContext(ctx, self)
	child.Env, child.Stderr = append(os.Environ(), exportOnly+"=1"), os.Stderr
	printed, err := child.Output()
	if err != nil {
		return nil, fmt.Errorf("an export in a process of its own: %w", err)
	}
	return out, json.Unmarshal(printed, &out)
}

// exportHere is that process.
func exportHere(ctx context.Context, to io.Writer) (err error) {
	p, err := newBench(false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	all, err := engines(p)
	if err != nil {
		return err
	}
	figures, err := exportOfMany(ctx, p, all[0])
	if err != nil {
		return err
	}
	return json.NewEncoder(to).Encode(figures)
}

// exportOfMany exports a person who has a row for each thing that they ever did.
func exportOfMany(ctx context.Context, p *bench, e engine) ([]taken, error) {
	rows := 100_000
	if p.small {
		rows = 100
	}
	people, err := populate(ctx, e, "export", bystanders)
	if err != nil {
		return nil, err
	}
	one, err := people.add(ctx, 1)
	if err != nil {
		return nil, err
	}
	err = within(ctx, people.db, func(tx *sql.Tx) error {
		if err := people.exec(ctx, tx, `DELETE FROM activities WHERE person = ?`, one[0]); err != nil {
			return err
		}
		return people.insertRows(ctx, tx, "activities", one[0], rows)
	})
	if err != nil {
		return nil, err
	}
	dir, err := p.folder("ledger")
	if err != nil {
		return nil, err
	}
	s := deskSetup{people: people, medium: erasurelog.Folder(dir)}
	if err := s.install(ctx, dir, ""); err != nil {
		return nil, err
	}
	desk, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	recipient, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	exported, size, begun := 0, int64(0), time.Now()
	most, err := peak(func() error {
		bundle, err := desk.Export(ctx, tenant, one[0], recipient.Recipient().String(), io.Discard)
		if err != nil {
			return err
		}
		for _, table := range bundle.Manifest.Tables {
			exported += table.Rows
		}
		size = bundle.Size
		return nil
	})
	took := time.Since(begun)
	if err == nil && exported != rows+9 { // the contact, its deals and notes
		err = fmt.Errorf("%d rows were exported, of %d", exported, rows+9)
	}
	return []taken{
		{"Desk.Export", most, "MB", "<= 64 MB"},
		{"its bundle", float64(size) / 1e6, "MB", ""},
		{"it took", took.Seconds(), "s", ""},
	}, err
}
