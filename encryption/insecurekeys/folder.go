package insecurekeys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/internal/durable"
)

// Folder returns the KEKs of a folder in the shape of encryption.Config.KEK:
// each is a file of 32 random bytes that has the name of the KEK, the same for
// every tenant. Make one with
//
//	(umask 077 && head -c 32 /dev/urandom > kek-1)
//
// A file that others than its owner may write, or others than its group may
// read, is refused, and so is whatever is no plain file; a name with a path in
// it is no name. The file is
// read whenever a keyset is wrapped or opened: the destruction of a KEK is the
// deletion of its file, and of every copy of it.
func Folder(dir string) func(ctx context.Context, tenant, kek string) (tink.AEADWithContext, error) {
	return func(ctx context.Context, _, kek string) (tink.AEADWithContext, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !filepath.IsLocal(kek) || filepath.Base(kek) != kek || strings.ContainsAny(kek, `/\:`) {
			return nil, errors.New("insecurekeys: the name of a KEK is the name of a file in the folder")
		}
		key, err := read(filepath.Join(dir, kek))
		if err != nil {
			return nil, fmt.Errorf("insecurekeys: KEK from a file: %w", err)
		}
		return KEK(key)
	}
}

func read(path string) (key []byte, err error) {
	file, err := durable.OpenPlain(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o037 != 0 && runtime.GOOS != "windows" {
		return nil, &os.PathError{Op: "open", Path: path, Err: fmt.Errorf("%w: others than its owner write it, or others than its group read it (chmod 600)", fs.ErrPermission)}
	}
	return io.ReadAll(io.LimitReader(file, 33)) // KEK refuses another length than 32
}
