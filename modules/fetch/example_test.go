package fetch_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ds4-go/ds4/modules/fetch"
)

// A hub of our own stands in for the real one, so that the example runs anywhere.
func Example() {
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("weights"))
	}))
	defer hub.Close()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()

	client := fetch.Client{Endpoint: hub.URL} // the zero Client asks huggingface.co
	res, err := client.Get(context.Background(), fetch.Request{
		Repo: "owner/name",
		File: "model.gguf",
		Dest: filepath.Join(dir, "model.gguf"),
		Progress: func(p fetch.Progress) {
			if p.Note != "" {
				fmt.Println("note:", p.Note)
			}
		},
	})
	var wrong *fetch.HashError
	switch {
	case errors.As(err, &wrong):
		fmt.Println("not what was asked for")
	case err != nil:
		fmt.Println(err)
	default:
		fmt.Println(filepath.Base(res.Path), res.Size, "bytes, verified:", res.Verified)
	}
	// Output:
	// model.gguf 7 bytes, verified: true
}
