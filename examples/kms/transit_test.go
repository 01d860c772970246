package kms_test

import (
	"context"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/examples/kms/transitkek"
)

// transit speaks the HTTP of a transit engine with keys of type aes256-gcm96.
type transit struct {
	t    *testing.T
	mu   sync.Mutex
	keys map[string]cipher.AEAD

	deaf bool        // it leaves associated_data out of account, as servers before it was invented
	fail func() bool // says whether it is out of order now
}

func (e *transit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	answer := func(status int, body any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body) // who has gone does not read it
	}
	refuse := func(status int, text string) { answer(status, map[string]any{"errors": []string{text}}) }
	if e.fail != nil && e.fail() {
		refuse(http.StatusServiceUnavailable, "Vault is sealed")
		return
	}
	verb, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/transit/"), "/")
	var in map[string]string
	if r.Method != http.MethodDelete && verb != "keys" {
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			refuse(http.StatusBadRequest, err.Error())
			return
		}
	}
	bound, err := base64.StdEncoding.DecodeString(in["associated_data"])
	if err != nil {
		refuse(http.StatusBadRequest, err.Error())
		return
	}
	if e.deaf {
		bound = nil
	}
	key := e.keys[name]
	switch {
	case verb == "keys" && r.Method == http.MethodDelete:
		delete(e.keys, name)
		w.WriteHeader(http.StatusNoContent)
	case verb == "keys" && !strings.HasSuffix(name, "/config"):
		e.keys[name] = randomAEAD(e.t)
		w.WriteHeader(http.StatusNoContent)
	case verb == "keys":
		w.WriteHeader(http.StatusNoContent)
	case key == nil:
		refuse(http.StatusBadRequest, "encryption key not found")
	case verb == "encrypt":
		plain, err := base64.StdEncoding.DecodeString(in["plaintext"])
		if err != nil {
			refuse(http.StatusBadRequest, err.Error())
			return
		}
		text := "vault:v1:" + base64.StdEncoding.EncodeToString(key.Seal(nil, nil, plain, bound))
		answer(http.StatusOK, map[string]any{"data": map[string]any{"ciphertext": text}})
	case verb == "decrypt":
		sealed, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(in["ciphertext"], "vault:v1:"))
		if err == nil {
			sealed, err = key.Open(nil, nil, sealed, bound)
		}
		if err != nil {
			refuse(http.StatusBadRequest, "cipher: message authentication failed")
			return
		}
		answer(http.StatusOK, map[string]any{"data": map[string]any{"plaintext": base64.StdEncoding.EncodeToString(sealed)}})
	default:
		refuse(http.StatusNotFound, "unsupported path")
	}
}

// transitClient returns a client of the engine.
func transitClient(t *testing.T, engine *transit) *api.Client {
	t.Helper()
	server := httptest.NewServer(engine)
	t.Cleanup(server.Close)
	return clientOf(t, server.URL)
}

func clientOf(t *testing.T, address string) *api.Client {
	t.Helper()
	config := api.DefaultConfig()
	require.NoError(t, config.Error)
	config.Address, config.MaxRetries = address, 0
	client, err := api.NewClient(config)
	require.NoError(t, err)
	return client
}

// onTransit is the engine above, or that of a Vault or OpenBao server whose
// address CRMGUARD_TRANSIT holds; it is reached with VAULT_TOKEN, and mounted at
// transit.
func onTransit(t *testing.T) service {
	t.Helper()
	var client *api.Client
	if address := os.Getenv("CRMGUARD_TRANSIT"); address != "" {
		client = clientOf(t, address)
	} else {
		client = transitClient(t, &transit{t: t, keys: map[string]cipher.AEAD{}})
	}
	for _, name := range []string{"kek-1", "kek-2"} {
		_, err := client.Logical().WriteWithContext(t.Context(), "transit/keys/"+name, map[string]any{"type": "aes256-gcm96"})
		require.NoError(t, err)
	}
	destroy := func(ctx context.Context, kek string) error {
		if _, err := client.Logical().WriteWithContext(ctx, "transit/keys/"+kek+"/config", map[string]any{"deletion_allowed": true}); err != nil {
			return err
		}
		_, err := client.Logical().DeleteWithContext(ctx, "transit/keys/"+kek)
		return err
	}
	return service{kek: transitkek.KEK(client, "transit"), first: "kek-1", second: "kek-2", others: []string{"kek-of-others"}, destroy: destroy}
}

// A server that leaves associated data out of account is found at the start.
func TestATransitKeyThatBindsNothingIsRefused(t *testing.T) {
	engine := &transit{t: t, keys: map[string]cipher.AEAD{"kek-1": randomAEAD(t)}, deaf: true}
	kek := transitkek.KEK(transitClient(t, engine), "/transit/")
	for range 2 {
		key, err := kek(t.Context(), "a", "kek-1")
		require.ErrorIs(t, err, transitkek.ErrUnbound)
		require.Nil(t, key)
	}
	_, err := encryption.Create(t.Context(), encryption.Config{Keys: encryptiontest.Keys(), KEK: kek})
	require.ErrorIs(t, err, encryption.ErrKEK)
	require.ErrorIs(t, err, transitkek.ErrUnbound)

	engine.deaf = false // another server
	_, err = encryption.Create(t.Context(), encryption.Config{Keys: encryptiontest.Keys(), KEK: kek})
	require.NoError(t, err)
}

// A server that does not answer in the middle of the proof has proved nothing.
func TestAServerThatFailsProvesNothing(t *testing.T) {
	for failing := range 3 { // the call that fails: seal, open as another, open
		calls := 0
		engine := &transit{t: t, keys: map[string]cipher.AEAD{"kek-1": randomAEAD(t)}, deaf: true}
		engine.fail = func() bool { calls++; return calls == failing+1 }
		kek := transitkek.KEK(transitClient(t, engine), "transit")
		var key tink.AEADWithContext
		var err error
		for range 3 {
			key, err = kek(t.Context(), "a", "kek-1")
			require.Error(t, err)
			require.Nil(t, key)
		}
		require.ErrorIs(t, err, transitkek.ErrUnbound)
	}
}

// A mount that is no transit engine is named.
func TestAnAnswerThatIsNotTransitsIsRefused(t *testing.T) {
	for _, body := range []string{`{"data":{}}`, `{"data":{"ciphertext":7}}`, `{"data":{"ciphertext":""}}`, `null`, `{}`} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
		t.Cleanup(server.Close)
		_, err := transitkek.KEK(clientOf(t, server.URL), "secret")(t.Context(), "a", "kek-1")
		require.ErrorContains(t, err, "is secret a transit engine?", body)
	}
}
