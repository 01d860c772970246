// Package transitkek makes the key encryption keys of a vault from keys of the
// transit engine of HashiCorp Vault or OpenBao.
//
// The name of a KEK is the name of a transit key. [KEK] says which Config
// members go with it. Every call ends with its context. Associated data is sent
// as transit's associated_data, which AEAD keys (aes256-gcm96,
// chacha20-poly1305) bind. Servers and proxies that leave the parameter out
// of account exist, and then a keyset that is copied from tenant to tenant
// opens; so each process proves, for each key that it uses, that the key
// binds, and asks nothing of one that does not ([ErrUnbound]). Who may update
// transit/decrypt/NAME unwraps every keyset, so that is the right to guard.
// Errors are those of the server; they show no key. What it returns is safe
// for concurrent use.
// Stability: settling.
package transitkek

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/hashicorp/vault/api"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// ErrUnbound says that a transit key opens under other associated data than it
// sealed with.
var ErrUnbound = errors.New("transitkek: the transit key does not bind associated data, and a keyset of one tenant would open as another's: make a key of type aes256-gcm96, on a server that knows associated_data")

// KEK returns the keys of a transit engine, by the path where it is mounted
// ("transit"), in the shape of Config.KEK. The plain name of a key needs no
// Config.KEKs: it leads to no other server and no other mount.
//
//	client, err := api.NewClient(api.DefaultConfig()) // VAULT_ADDR, VAULT_TOKEN
//	encryption.Config{KEK: transitkek.KEK(client, "transit")} // the first key is kek-1
//
// Make each key beforehand, and permit its use alone. With the capability
// create, a misspelt name would make a new key:
//
//	vault write -f transit/keys/kek-1 type=aes256-gcm96
//	path "transit/encrypt/kek-1" { capabilities = ["update"] }
//	path "transit/decrypt/kek-1" { capabilities = ["update"] }
//
// Transit keeps a key's older versions, under which keysets stay wrapped: do
// not raise min_decryption_version before RewrapKeys has moved them to another
// key.
func KEK(client *api.Client, mount string) func(ctx context.Context, tenant, kek string) (tink.AEADWithContext, error) {
	e := &engine{logical: client.Logical(), mount: strings.Trim(mount, "/"), proven: map[string]bool{}}
	return func(ctx context.Context, _, kek string) (tink.AEADWithContext, error) {
		if !isKeyName(kek) {
			return nil, errors.New("transitkek: the name of a KEK is the name of a transit key: letters, digits, '-', '_' and '.'")
		}
		k := &key{engine: e, name: kek}
		if err := k.prove(ctx); err != nil {
			return nil, err
		}
		return k, nil
	}
}

// isKeyName keeps whoever writes the key store on the path of the mount.
func isKeyName(name string) bool {
	return name != "" && name[0] != '.' && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") == ""
}

type engine struct {
	logical *api.Logical
	mount   string

	mu     sync.Mutex // held for moments: never while the server is asked
	proven map[string]bool
}

// key is one transit key.
type key struct {
	*engine
	name string
}

// prove seals something and opens it under other associated data, which must
// be refused, and under its own. Only keys that bind are remembered.
func (k *key) prove(ctx context.Context) error {
	k.mu.Lock()
	known := k.proven[k.name]
	k.mu.Unlock()
	if known {
		return nil
	}
	text, own, other := []byte("crmguard"), []byte("crmguard/transit/tenant/a"), []byte("crmguard/transit/tenant/b")
	sealed, err := k.EncryptWithContext(ctx, text, own)
	if err != nil {
		return err
	}
	switch _, err := k.DecryptWithContext(ctx, sealed, other); {
	case err == nil:
		return ErrUnbound
	case !isRefusal(err): // the server did not answer, which proves nothing
		return err
	}
	opened, err := k.DecryptWithContext(ctx, sealed, own)
	if err != nil {
		return err
	}
	if !bytes.Equal(opened, text) {
		return fmt.Errorf("transitkek: key %s opens something else than it sealed", k.name)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.proven[k.name] = true
	return nil
}

// isRefusal reports whether the server looked at the ciphertext and refused it.
func isRefusal(err error) bool {
	response, ok := errors.AsType[*api.ResponseError](err)
	return ok && response.StatusCode == http.StatusBadRequest
}

// EncryptWithContext seals.
func (k *key) EncryptWithContext(ctx context.Context, plaintext, associatedData []byte) ([]byte, error) {
	text, err := k.ask(ctx, "encrypt", "ciphertext", map[string]any{
		"plaintext":       base64.StdEncoding.EncodeToString(plaintext),
		"associated_data": base64.StdEncoding.EncodeToString(associatedData),
	})
	return []byte(text), err
}

// DecryptWithContext opens.
func (k *key) DecryptWithContext(ctx context.Context, ciphertext, associatedData []byte) ([]byte, error) {
	text, err := k.ask(ctx, "decrypt", "plaintext", map[string]any{
		"ciphertext":      string(ciphertext),
		"associated_data": base64.StdEncoding.EncodeToString(associatedData),
	})
	if err != nil {
		return nil, err
	}
	plaintext, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("transitkek: the server's plaintext is no base64 (%d bytes)", len(text))
	}
	return plaintext, nil
}

// ask returns one member of the server's answer.
func (k *key) ask(ctx context.Context, verb, member string, data map[string]any) (string, error) {
	secret, err := k.logical.WriteWithContext(ctx, k.mount+"/"+verb+"/"+k.name, data)
	if err != nil {
		return "", fmt.Errorf("transitkek: %w", err)
	}
	if secret != nil {
		if text, ok := secret.Data[member].(string); ok && text != "" {
			return text, nil
		}
	}
	return "", fmt.Errorf("transitkek: the server's answer to %s has no %s: is %s a transit engine?", verb, member, k.mount)
}
