package rest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

func TestEachEndpointWantsItsRole(t *testing.T) {
	const c = "/kafka/v3/clusters/{cluster_id}"
	for pattern, want := range map[string]Role{
		"GET /healthz": 0, "GET /readyz": 0, "GET /metrics": RoleRead, "GET /debug/mirrors": RoleAdmin, "GET /debug/pprof/": RoleAdmin,
		"GET " + c + "/links": RoleRead, "POST " + c + "/links": RoleAdmin, "GET " + c + "/links/{link}/configs": RoleRead,
		"DELETE " + c + "/links/{link}": RoleAdmin, "PUT " + c + "/links/{link}/configs:alter": RoleAdmin, "DELETE /v3/clusters/{cluster_id}/links/{link}/configs/{name}": RoleAdmin,
		"POST " + c + "/links/{link}/mirrors": RoleOperate, "POST " + c + "/links/{link}/mirrors:failover": RoleOperate,
		"GET /drawbridge/v1/links/{link}/acls": RoleRead, "POST /drawbridge/v1/links/{link}/groups:own": RoleOperate,
		"PUT /drawbridge/v1/links/{link}/operation": RoleOperate, "DELETE /drawbridge/v1/pairs/{pair}/lock": RoleOperate, "GET /drawbridge/v1/links/{link}/ledger": RoleRead,
	} {
		if got := needs(pattern); got != want {
			t.Errorf("%s wants %q, want %q", pattern, got, want)
		}
	}
}

// three gives each role a token of its name.
func three() Access {
	var a Access
	for role, name := range roleNames {
		a.Tokens = append(a.Tokens, Token{Name: name, Role: role, Secret: name + "-token"})
	}
	return a
}

func TestARoleIsLetInAsFarAsItGoesAndEachChangeIsLoggedWithWhoMadeIt(t *testing.T) {
	fake := &fakeLinks{}
	log := &local.Output{}
	base := start(t, Options{Links: fake, Access: three(), Logger: slog.New(slog.NewTextHandler(log, nil))})
	calls := map[Role]func(c *api.Client) error{
		RoleRead: func(c *api.Client) error { return drop(c.Progress(t.Context(), "l")) },
		RoleOperate: func(c *api.Client) error {
			return drop(c.PutLock(t.Context(), "orders", api.Lock{OperationID: "op-1"}))
		},
		RoleAdmin: func(c *api.Client) error { return c.DeleteLink(t.Context(), "l", false, false) },
	}
	for has, name := range roleNames {
		c := &api.Client{BaseURL: base, Token: name + "-token"}
		for wants, call := range calls {
			fake.take()
			err := call(c)
			reached := len(fake.take()) > 0
			switch {
			case has >= wants && err != nil:
				t.Errorf("%s may not do what %s may: %v", has, wants, err)
			case has < wants && (!errors.Is(err, api.Forbidden("This call wants the role %s; token %s has %s.", wants, has, has)) || reached):
				t.Errorf("%s does what %s may: %v", has, wants, err)
			}
		}
	}
	for _, want := range []string{
		`method=DELETE path=/kafka/v3/clusters/cluster-west/links/l status=200 .*who="token admin"`,
		`method=DELETE path=/kafka/v3/clusters/cluster-west/links/l status=403 .*who="token operate"`,
		`method=PUT path=/drawbridge/v1/pairs/orders/lock status=200 .*who="token operate" .*pair=orders`,
	} {
		if !regexp.MustCompile(want).MatchString(log.String()) {
			t.Errorf("the log has no %s:\n%s", want, log)
		}
	}
	if strings.Contains(log.String(), "-token") {
		t.Errorf("a token is in the log:\n%s", log)
	}
}

// authority signs certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.write(t, "ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) write(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(a.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// issue writes name.crt and name.key.
func (a *authority) issue(t *testing.T, name, commonName string, dns ...string) {
	t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: commonName}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: dns, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	a.write(t, name+".crt", "CERTIFICATE", der)
	a.write(t, name+".key", "PRIVATE KEY", keyDER)
}

func (a *authority) client(t *testing.T, base, name, token string) *api.Client {
	t.Helper()
	files := api.TLSFiles{CAFile: a.path("ca.pem")}
	if name != "" {
		files.CertFile, files.KeyFile = a.path(name+".crt"), a.path(name+".key")
	}
	hc, err := files.HTTPClient()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hc.CloseIdleConnections)
	return &api.Client{BaseURL: base, Token: token, HTTP: hc}
}

func TestClientCertificatesGiveRolesBesideTokens(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	a.issue(t, "server", "engine")
	a.issue(t, "worker", "worker")
	a.issue(t, "dashboard", "whatever", "dashboard.example.com")
	a.issue(t, "nobody", "nobody")
	stranger.issue(t, "worker", "worker")
	access := Access{
		Tokens:       []Token{{Name: "ops", Role: RoleOperate, Secret: "ops-token"}},
		Certificates: []Certificate{{Name: "worker", Role: RoleAdmin}, {Name: "dashboard.example.com", Role: RoleRead}},
	}
	ln, err := Listen(t.Context(), "127.0.0.1:0", access, TLS{a.path("server.crt"), a.path("server.key"), a.path("ca.pem")})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: New(Options{Links: &fakeLinks{}, Access: access, Logger: slog.New(slog.DiscardHandler)}), ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
	base := "https://" + ln.Addr().String()
	for _, tc := range []struct {
		cert, token string
		want        Role
	}{
		{"worker", "", RoleAdmin}, {"dashboard", "", RoleRead}, {"dashboard", "ops-token", RoleOperate}, {"", "ops-token", RoleOperate}, {"nobody", "ops-token", RoleOperate}, {"nobody", "", 0}, {"", "", 0},
	} {
		c := a.client(t, base, tc.cert, tc.token)
		for role, err := range map[Role]error{
			RoleRead: drop(c.Progress(t.Context(), "l")), RoleOperate: drop(c.PutLock(t.Context(), "p", api.Lock{OperationID: "o"})), RoleAdmin: c.DeleteLink(t.Context(), "l", false, false),
		} {
			if (err == nil) != (tc.want >= role) {
				t.Errorf("certificate %q token %q wants %s: %v", tc.cert, tc.token, role, err)
			}
		}
		if err := c.Ready(t.Context()); err != nil {
			t.Errorf("the probe wants more than TLS: %v", err)
		}
	}
	foreign := stranger.client(t, base, "worker", "")
	foreign.HTTP.Transport.(*http.Transport).TLSClientConfig.RootCAs = a.client(t, base, "", "").HTTP.Transport.(*http.Transport).TLSClientConfig.RootCAs
	var refused *api.Error
	if err := foreign.Ready(t.Context()); err == nil || errors.As(err, &refused) {
		t.Errorf("a certificate of another authority: %v", err)
	}

	// A renewed certificate is shown without a restart.
	serial := func() string {
		c := a.client(t, base, "worker", "")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+api.PathHealth, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.HTTP.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.TLS.PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	a.issue(t, "server", "engine")
	later := time.Now().Add(time.Minute) // as a renewal a while later has
	for _, f := range []string{"server.crt", "server.key"} {
		if err := os.Chtimes(a.path(f), later, later); err != nil {
			t.Fatal(err)
		}
	}
	if after := serial(); after == before {
		t.Error("the renewed certificate is not shown")
	}
	if err := os.WriteFile(a.path("server.key"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_ = serial() // the last one holds while the files are half written
}

func TestAnOpenListenerIsRefusedWithTheCure(t *testing.T) {
	a := newAuthority(t)
	a.issue(t, "server", "engine")
	files := TLS{CertFile: a.path("server.crt"), KeyFile: a.path("server.key")}
	for name, tc := range map[string]struct {
		access Access
		files  TLS
	}{"neither": {}, "a token without TLS": {access: tokenOf("t")}, "TLS without a token": {files: files}} {
		_, err := Listen(t.Context(), "0.0.0.0:0", tc.access, tc.files)
		if err == nil || !strings.Contains(err.Error(), "set tls (cert_file, key_file) and tokens") {
			t.Errorf("%s: %v", name, err)
		}
	}
	ln, err := Listen(t.Context(), "0.0.0.0:0", tokenOf("t"), files)
	if err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	for what, bad := range map[string]TLS{"key_file": {CertFile: a.path("server.crt"), KeyFile: a.path("ca.pem")}, "client_ca_file": {files.CertFile, files.KeyFile, a.path("server.key")}} {
		if _, err := Listen(t.Context(), "127.0.0.1:0", Access{}, bad); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("bad %s: %v", what, err)
		}
	}
}
