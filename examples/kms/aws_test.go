package kms_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsapi "github.com/aws/aws-sdk-go-v2/service/kms"
	localkms "github.com/nsmithuk/local-kms/src"
	localconfig "github.com/nsmithuk/local-kms/src/config"
	localdata "github.com/nsmithuk/local-kms/src/data"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/examples/kms/awskek"
)

// onAWS is local-kms, which speaks the HTTP of AWS KMS, behind Amazon's client.
func onAWS(t *testing.T) service {
	t.Helper()
	localconfig.AWSAccountId, localconfig.AWSRegion = "111122223333", "eu-west-2"
	database := localdata.NewDatabase(t.TempDir())
	t.Cleanup(database.Close)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { localkms.HandleRequest(w, r, database) }))
	t.Cleanup(server.Close)
	client := awsapi.New(awsapi.Options{
		Region: "eu-west-2", BaseEndpoint: aws.String(server.URL),
		Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "of nobody", ""),
	})
	newKey := func() string {
		made, err := client.CreateKey(t.Context(), &awsapi.CreateKeyInput{})
		require.NoError(t, err)
		return *made.KeyMetadata.Arn
	}
	return service{
		kek: awskek.KEK(client), first: newKey(), second: newKey(),
		keks:   []string{"arn:aws:kms:eu-west-2:111122223333:key/"},
		others: []string{"arn:aws:kms:eu-west-2:999999999999:key/"},
		destroy: func(ctx context.Context, kek string) error {
			_, err := client.ScheduleKeyDeletion(ctx, &awsapi.ScheduleKeyDeletionInput{KeyId: &kek})
			return err
		},
	}
}
