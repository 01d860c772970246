package tilehttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"

	"github.com/crmguard/crmguard/audit/tilehttp"
)

// logged tells the operator what a client is not told.
type logged struct{ tilehttp.Source }

func (l logged) Published(ctx context.Context, name string) ([]byte, error) {
	data, err := l.Source.Published(ctx, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		fmt.Println("the published log:", err)
	}
	return data, err
}

func ExampleHandler() {
	// The source is an *audit.Trail in an application; asked stands in log_test.go.
	trail := asked(func(context.Context, string) ([]byte, error) {
		return nil, errors.New("audit: read: the database does not answer")
	})
	mux := http.NewServeMux()
	mux.Handle("/audit/", http.StripPrefix("/audit", tilehttp.Handler(logged{trail}))) // behind the application's login

	server := httptest.NewServer(mux)
	defer server.Close()
	for _, path := range []string{"/audit/checkpoint", "/audit/state"} {
		r, err := server.Client().Get(server.URL + path)
		if err != nil {
			fmt.Println(err)
			return
		}
		body, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		fmt.Print(r.StatusCode, " ", string(body))
	}
	// Output:
	// the published log: audit: read: the database does not answer
	// 500 Internal Server Error
	// 404 Not Found
}
