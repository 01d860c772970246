package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"time"

	"filippo.io/age"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

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
