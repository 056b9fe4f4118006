package servecmd

import (
	"fmt"
	"net"
	"strings"

	"github.com/ds4-go/ds4/cmd/internal/cli"
)

// banner says what runs where, and how to use it.
func (r *running) banner() {
	o := r.o
	scheme := "http"
	if o.tlsCert != "" {
		scheme = "https"
	}
	host := o.host
	addr, ok := r.listener.Addr().(*net.TCPAddr)
	port := o.port
	if ok {
		port = addr.Port
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	base := fmt.Sprintf("%s://%s", scheme, net.JoinHostPort(host, fmt.Sprint(port)))
	used := int64(0)
	if m, err := r.sched.Memory(); err == nil {
		for _, u := range m.Uses {
			used += u.Bytes
		}
	}
	key := "none"
	if len(r.keys) > 0 {
		key = "YOUR-KEY"
	}
	disk := "off (--kv-disk-dir)"
	if r.store != nil {
		st := r.store.Stats()
		disk = fmt.Sprintf("%s, %s of %s", o.kvDir, cli.Bytes(st.Bytes), cli.Bytes(st.BudgetBytes))
	}
	var b strings.Builder
	line := func(name, format string, a ...any) { fmt.Fprintf(&b, "  %-12s %s\n", name, fmt.Sprintf(format, a...)) }
	fmt.Fprintf(&b, "ds4 serves %s\n", r.model.Name)
	if r.model.Demo {
		line("note", "the demo model is small and often wrong; \"ds4 fetch\" gets the real one")
	}
	line("backend", "%s, %s in use", r.model.Backend, cli.Bytes(used))
	line("context", "%d tokens, %d sessions at once", o.Ctx, o.Seqs)
	line("disk cache", "%s", disk)
	line("address", "%s", base)
	line("OpenAI", "OPENAI_BASE_URL=%s/v1 OPENAI_API_KEY=%s", base, key)
	line("Claude Code", "ANTHROPIC_BASE_URL=%s ANTHROPIC_AUTH_TOKEN=%s ANTHROPIC_MODEL=deepseek-v4-flash claude", base, key)
	line("others", "docs/clients.md")
	_, _ = fmt.Fprint(r.stderr, b.String()) // a closed stderr is no reason to stop
}
