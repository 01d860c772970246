package localstore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/crmguard/crmguard/backup/localstore"
)

func ExampleOpen() {
	ctx := context.Background()
	dir, _ := os.MkdirTemp("", "example-")
	defer os.RemoveAll(dir)
	store, _ := localstore.Open(filepath.Join(dir, "repository"))
	fmt.Println(store.Make(ctx)) // backup.Create does that
	fmt.Println(store.Put(ctx, "index/00", []byte("hello")))
	fmt.Println(errors.Is(store.Put(ctx, "index/00", []byte("other")), fs.ErrExist))
	data, err := store.Read(ctx, "index/00", 1, 3)
	fmt.Println(string(data), err)
	// Output:
	// <nil>
	// <nil>
	// true
	// ell <nil>
}
