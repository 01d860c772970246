package insecurekeys_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
)

func ExampleFolder() {
	dir, err := os.MkdirTemp("", "keks")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	fmt.Println(os.WriteFile(filepath.Join(dir, encryption.DefaultKEK), key, 0o600))

	_, err = encryption.Create(context.Background(), encryption.Config{Keys: encryptiontest.Keys(), KEK: insecurekeys.Folder(dir)})
	fmt.Println(err)
	// Output:
	// <nil>
	// <nil>
}
