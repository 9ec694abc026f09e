package main

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
)

func TestAnEngineIsTrustedByTheAuthoritiesThatAreNamed(t *testing.T) {
	srv := httptest.NewTLSServer(&fakeEngine{links: map[string]*api.Link{}})
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(fakeToken), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := engineFlags{url: srv.URL, tokenFile: token}.client()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Links(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an engine that nobody vouches for: %v", err)
	}
	t.Setenv("DRCTL_ENGINE_CA_FILE", ca)
	if c, err = (engineFlags{url: srv.URL, tokenFile: token}).client(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Links(t.Context()); err != nil {
		t.Error(err)
	}
	// As a plan names them; files that are the worker's only are left out.
	c, err = tokenFlags{}.engineOf("west", plan.Engine{URL: srv.URL, TokenFile: token, CAFile: ca, CertFile: "/no/such.crt", KeyFile: "/no/such.key"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Links(t.Context()); err != nil {
		t.Error(err)
	}
}
