package sqlitesource

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A job shows that it lives by the modification time of its staging folder:
// that works on every system and across containers, where process ids mean
// nothing and file locks may not hold.
const (
	stagingPrefix  = "crmguard-backup-"
	stagingRefresh = 5 * time.Minute
	stagingStale   = 30 * time.Minute
)

// removeLeft removes the folders of jobs that were killed: they may hold the
// copy from which nothing was stripped yet.
func removeLeft(staging string) error {
	entries, err := os.ReadDir(staging)
	if err != nil {
		return fmt.Errorf("sqlitesource: look for what killed jobs left: %w", err)
	}
	for _, entry := range entries {
		if !entry.IsDir() || !strings.HasPrefix(entry.Name(), stagingPrefix) {
			continue
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // its job ended meanwhile
		}
		if err == nil && time.Since(info.ModTime()) > stagingStale {
			err = os.RemoveAll(filepath.Join(staging, entry.Name()))
		}
		if err != nil {
			return fmt.Errorf("sqlitesource: remove what a killed job left: %w", err)
		}
	}
	return nil
}

// keepAlive refreshes the folder until the returned func is called. Where it
// cannot, another job may take the folder away, and this one fails.
func keepAlive(dir string, every time.Duration) (stop func()) {
	end := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-end:
				return
			case now := <-ticker.C:
				_ = os.Chtimes(dir, now, now)
			}
		}
	})
	return func() {
		close(end)
		done.Wait()
	}
}
