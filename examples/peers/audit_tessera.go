//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"

	"github.com/crmguard/crmguard/audit"
)

// tesseraLog is a log that tessera writes into a folder; add returns when the signed
// checkpoint covers what it adds, in this order.
func tesseraLog(ctx context.Context, p *bench) (dir, key string, add func(entries []*tessera.Entry) error, err error) {
	const batch = 8192
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	if dir, err = p.folder("tessera"); err != nil {
		return "", "", nil, err
	}
	secret, key, err := audit.GenerateKey("tessera.example/log", 0)
	if err != nil {
		return "", "", nil, err
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return "", "", nil, err
	}
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		return "", "", nil, err
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx)) // the log is closed when all else is over
	options := tessera.NewAppendOptions().WithCheckpointSigner(signer).WithCheckpointInterval(100*time.Millisecond).WithBatching(batch, 50*time.Millisecond).WithPushback(1 << 20)
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		stop()
		return "", "", nil, err
	}
	p.atEnd(func() error {
		err := shutdown(ctx)
		stop()
		return err
	})
	return dir, key, func(entries []*tessera.Entry) error {
		futures := make([]tessera.IndexFuture, len(entries))
		for i, e := range entries {
			futures[i] = appender.Add(ctx, e)
		}
		last := uint64(0)
		for _, f := range futures {
			index, err := f()
			if err != nil {
				return err
			}
			last = max(last, index.Index)
		}
		return covers(ctx, reader, key, last)
	}, nil
}

// tesseraFiler adds entries of so many random bytes.
func tesseraFiler(ctx context.Context, p *bench, size int) (*filer, error) {
	dir, key, add, err := tesseraLog(ctx, p)
	if err != nil {
		return nil, err
	}
	var entries []*tessera.Entry
	return &filer{
		name: "Tessera, POSIX, asynchronous", role: peer, dir: dir, key: key,
		ready: func(n int) error {
			entries = make([]*tessera.Entry, n)
			for i := range entries {
				entries[i] = tessera.NewEntry(randomBytes(size))
			}
			return nil
		},
		file: func() error { return add(entries) },
	}, nil
}

// covers waits until the signed checkpoint covers an entry.
func covers(ctx context.Context, reader tessera.LogReader, key string, index uint64) error {
	for range 10_000 {
		signed, err := reader.ReadCheckpoint(ctx)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil {
			tree, err := checkpointOf(signed, key)
			if err != nil {
				return err
			}
			if tree.N > int64(index) {
				return nil
			}
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("no checkpoint covers entry %d", index)
}
