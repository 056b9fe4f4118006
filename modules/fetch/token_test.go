package fetch

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestToken: the token is in no request to another host, no note, no error, no file.
func TestToken(t *testing.T) {
	const token = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz"
	h, j := newHub(t, small), &journalist{}
	dir := t.TempDir()
	dest := filepath.Join(dir, "model.gguf")
	h.onFront(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "Bearer "+token {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	})
	get := func() error {
		r := h.request(dest, j)
		r.Token = token
		_, err := h.client().Get(t.Context(), r)
		return err
	}
	// the store fails in every way it can, and the run ends with a part file
	h.onStore(func(w http.ResponseWriter, r *http.Request, n int) bool {
		if n > 4 {
			w.Header().Set("X-Error-Message", r.Header.Get("Authorization"))
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	})
	errs := []error{get()}
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), token) || strings.Contains(path, token) {
			t.Errorf("the token is in %s", d.Name())
		}
		return err
	})
	if err != nil || files < 2 {
		t.Fatalf("want a part and a journal, got %d files, %v", files, err)
	}
	// a hub that repeats what it is told
	h.onFront(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("X-Error-Code", "Bad "+r.Header.Get("Authorization"))
		w.Header().Set("X-Error-Message", "not good: "+r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	errs = append(errs, get())
	// a hub that would have us carry it elsewhere
	for _, where := range []string{"/steal?t=" + token, "/" + token, "/steal?t=%68%66" + token[2:]} {
		h.onFront(redirectFront(h.store.URL + where))
		errs = append(errs, get())
	}
	for i, err := range errs {
		if err == nil {
			t.Errorf("error %d: want one", i)
		} else if strings.Contains(err.Error(), token) {
			t.Errorf("the token is in an error: %v", err)
		}
	}
	if strings.Contains(j.text(), token) {
		t.Errorf("the token is in the notes:\n%s", j.text())
	}
	h.onFront(nil)
	h.onStore(nil)
	if err := get(); err != nil {
		t.Fatal(err)
	}
	wantFile(t, dest, small)
	fronts, stores := 0, 0
	for _, r := range h.requests() {
		var all strings.Builder
		all.WriteString(r.url)
		for k, v := range r.header {
			all.WriteString(k + strings.Join(v, " "))
		}
		has := strings.Contains(all.String(), token)
		if r.host == "store" {
			stores++
			if has || r.header.Get("Authorization") != "" {
				t.Errorf("the token went to the store: %s %s", r.method, r.url)
			}
		} else {
			fronts++
			if !has {
				t.Errorf("the hub got no token: %s %s", r.method, r.url)
			}
		}
	}
	if fronts == 0 || stores == 0 {
		t.Errorf("want requests to both hosts, got %d and %d", fronts, stores)
	}

	// nor over plain http to a host that is not this one
	c := &Client{Endpoint: "http://hub.example", Retries: -1}
	_, err = c.Get(t.Context(), Request{Repo: "a/b", File: "f", Dest: dest, Token: token})
	if err == nil || !strings.Contains(err.Error(), "in the clear") || strings.Contains(err.Error(), token) {
		t.Errorf("want a refusal, got %v", err)
	}
}
