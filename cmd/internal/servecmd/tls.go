package servecmd

import (
	"crypto/tls"
	"fmt"
	stdlog "log"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// certificate is a pair of files, read again when one of them changes.
type certificate struct {
	cert, key string

	mu      sync.Mutex
	changed [2]time.Time
	pair    *tls.Certificate
}

func reloading(cert, key string) (*tls.Config, error) {
	c := &certificate{cert: cert, key: key}
	if _, err := c.get(nil); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}, nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var now [2]time.Time
	for i, path := range []string{c.cert, c.key} {
		if info, err := os.Stat(path); err == nil {
			now[i] = info.ModTime()
		}
	}
	if c.pair != nil && now == c.changed {
		return c.pair, nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		if c.pair != nil {
			return c.pair, nil // half written; the old one serves until it is whole
		}
		return nil, fmt.Errorf("--tls-cert and --tls-key: %w", err)
	}
	c.pair, c.changed = &pair, now
	return c.pair, nil
}

// quietLog takes what net/http complains about: mostly of clients that speak something else.
func quietLog(log zerolog.Logger) *stdlog.Logger { return stdlog.New(toDebug{log}, "", 0) }

type toDebug struct{ log zerolog.Logger }

func (d toDebug) Write(p []byte) (int, error) {
	d.log.Debug().Msg(strings.TrimSpace(string(p)))
	return len(p), nil
}
