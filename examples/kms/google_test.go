package kms_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"hash/crc32"
	"net"
	"sync"
	"testing"

	googleapi "cloud.google.com/go/kms/apiv1"
	"cloud.google.com/go/kms/apiv1/kmspb"
	"github.com/stretchr/testify/require"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/crmguard/crmguard/examples/kms/gcpkek"
)

// ring is a key ring of Cloud KMS: it speaks its gRPC and encrypts with
// AES-256-GCM under the additional authenticated data.
type ring struct {
	kmspb.UnimplementedKeyManagementServiceServer
	mu   sync.Mutex
	keys map[string]cipher.AEAD
}

func (r *ring) key(name string) (cipher.AEAD, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if key := r.keys[name]; key != nil {
		return key, nil
	}
	return nil, status.Error(codes.NotFound, "no such key")
}

func sum(data []byte) int64 { return int64(crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))) }

func (r *ring) Encrypt(_ context.Context, in *kmspb.EncryptRequest) (*kmspb.EncryptResponse, error) {
	key, err := r.key(in.GetName())
	if err != nil {
		return nil, err
	}
	if in.GetPlaintextCrc32C().GetValue() != sum(in.GetPlaintext()) || in.GetAdditionalAuthenticatedDataCrc32C().GetValue() != sum(in.GetAdditionalAuthenticatedData()) {
		return nil, status.Error(codes.InvalidArgument, "checksum")
	}
	sealed := key.Seal(nil, nil, in.GetPlaintext(), in.GetAdditionalAuthenticatedData())
	return &kmspb.EncryptResponse{
		Name: in.GetName() + "/cryptoKeyVersions/1", Ciphertext: sealed, CiphertextCrc32C: wrapperspb.Int64(sum(sealed)),
		VerifiedPlaintextCrc32C: true, VerifiedAdditionalAuthenticatedDataCrc32C: true,
	}, nil
}

func (r *ring) Decrypt(_ context.Context, in *kmspb.DecryptRequest) (*kmspb.DecryptResponse, error) {
	key, err := r.key(in.GetName())
	if err != nil {
		return nil, err
	}
	plain, err := key.Open(nil, nil, in.GetCiphertext(), in.GetAdditionalAuthenticatedData())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "decryption failed")
	}
	return &kmspb.DecryptResponse{Plaintext: plain, PlaintextCrc32C: wrapperspb.Int64(sum(plain)), UsedPrimary: true}, nil
}

func randomAEAD(t *testing.T) cipher.AEAD {
	t.Helper()
	key := make([]byte, 32)
	_, err := rand.Read(key)
	require.NoError(t, err)
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	aead, err := cipher.NewGCMWithRandomNonce(block)
	require.NoError(t, err)
	return aead
}

// onGoogle is such a key ring behind Google's client.
func onGoogle(t *testing.T) service {
	t.Helper()
	const prefix = "projects/crm/locations/europe-west3/keyRings/crm/cryptoKeys/"
	keys := &ring{keys: map[string]cipher.AEAD{prefix + "kek-1": randomAEAD(t), prefix + "kek-2": randomAEAD(t)}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	kmspb.RegisterKeyManagementServiceServer(server, keys)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); require.NoError(t, <-ended) })
	client, err := googleapi.NewKeyManagementClient(t.Context(), option.WithEndpoint(listener.Addr().String()),
		option.WithoutAuthentication(), option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return service{
		kek: gcpkek.KEK(client), first: "gcp-kms://" + prefix + "kek-1", second: "gcp-kms://" + prefix + "kek-2",
		keks:   []string{"gcp-kms://" + prefix},
		others: []string{"gcp-kms://projects/other/locations/europe-west3/keyRings/crm/cryptoKeys/"},
		destroy: func(_ context.Context, kek string) error {
			keys.mu.Lock()
			defer keys.mu.Unlock()
			delete(keys.keys, kek[len("gcp-kms://"):])
			return nil
		},
	}
}
