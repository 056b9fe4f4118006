package serve

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Key is an API key with the name that it has in logs.
type Key struct{ Name, Secret string }

// admitted checks where a request comes from, and its key.
func (c *call) admitted(keyed bool) error {
	if !c.hostKnown() {
		return failure(http.StatusForbidden, "host_not_allowed", "Host: %q is not a name of this server; see --allow-host", clip(c.r.Host, 100))
	}
	if err := c.cors(); err != nil {
		return err
	}
	if keyed && len(c.s.c.Keys) > 0 {
		return c.authorize()
	}
	return nil
}

// hostKnown defends against DNS rebinding: a page of another site can make a browser ask this server under that site's name,
// but it cannot make the name one of ours. A request with a key proves more than a name can.
func (c *call) hostKnown() bool {
	host := c.r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if len(c.s.c.Keys) > 0 || host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") || net.ParseIP(host) != nil {
		return true // an address is no name that could be bound anew
	}
	return slices.Contains(c.s.c.Hosts, "*") || slices.ContainsFunc(c.s.c.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// cors answers to browsers: pages of other origins may not use the server unless they are listed.
func (c *call) cors() error {
	origin := c.r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	h := c.w.Header()
	h.Add("Vary", "Origin")
	if !slices.Contains(c.s.c.Origins, origin) && !slices.Contains(c.s.c.Origins, "*") && !c.sameOrigin(origin) {
		return failure(http.StatusForbidden, "origin_not_allowed", "Origin: %q may not use this server; see --cors", clip(origin, 100))
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "X-Request-Id, Retry-After, X-Ds4-Thinking, "+firstTokenHeader)
	return nil
}

func (c *call) sameOrigin(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, c.r.Host)
}

// preflight answers OPTIONS, on any path and without a key.
func (c *call) preflight() error {
	h := c.w.Header()
	if c.r.Header.Get("Origin") != "" {
		h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "*, Authorization, Content-Type, X-Api-Key, Anthropic-Version, Anthropic-Beta")
		h.Set("Access-Control-Max-Age", "600")
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// authorize finds the request's key among the server's. All are compared, in a time that does not depend on them.
func (c *call) authorize() error {
	given := c.r.Header.Get("X-Api-Key")
	if auth := c.r.Header.Get("Authorization"); auth != "" {
		if scheme, token, ok := strings.Cut(auth, " "); ok && strings.EqualFold(scheme, "Bearer") {
			given = strings.TrimSpace(token)
		}
	}
	got := sha256.Sum256([]byte(given))
	name, found := "", 0
	for _, k := range c.s.c.Keys {
		want := sha256.Sum256([]byte(k.Secret))
		if subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
			name, found = k.Name, 1
		}
	}
	if found == 0 || given == "" {
		c.w.Header().Set("WWW-Authenticate", "Bearer")
		return failure(http.StatusUnauthorized, "invalid_api_key", "invalid API key: send one of this server's as \"Authorization: Bearer KEY\" or \"x-api-key: KEY\"")
	}
	c.key = name
	return nil
}
