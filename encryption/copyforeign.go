package encryption

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"path/filepath"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/durable"
)

// refuseForeign refuses a folder in which a copy of another key store lies. A
// copy has its name from the sequence alone, so that writing there would
// replace or delete what may be the only copy of that store.
func (v *Vault) refuseForeign(dir string) error {
	files, err := copiesIn(dir)
	if err != nil {
		return err
	}
	v.mu.RLock()
	own := v.state.Store
	v.mu.RUnlock()
	for _, name := range files {
		if store := storeOf(filepath.Join(dir, name)); isCopyFile(name) && store != "" && store != own {
			return fmt.Errorf("%w: write: %s in the folder is of another key store: each store needs a folder of its own", ErrCopy, name)
		}
	}
	return nil
}

// storeOf is the key store that the first line of a file names; empty where
// it is no header of a copy.
func storeOf(path string) string {
	file, err := durable.OpenPlain(path)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }() // only read
	line, err := bufio.NewReader(io.LimitReader(file, maxCopyLine)).ReadBytes('\n')
	var header copyHeader
	if err != nil || canon.Unmarshal(bytes.TrimSuffix(line, []byte("\n")), &header) != nil || header.V != 1 {
		return ""
	}
	return header.Store
}
