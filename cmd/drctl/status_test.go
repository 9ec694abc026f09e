package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
)

// A lost site's machines do not refuse, they are silent. That must not use up the time in which the other site answers.
func TestFencesOfOneSiteAreShownWhileTheOthersEngineIsSilent(t *testing.T) {
	over := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	t.Cleanup(silent.Close)
	t.Cleanup(func() { close(over) })
	engine, url := newFakeEngine(t)
	engine.fences = append(engine.fences, api.Fence{Pair: "orders", OperationID: "failover-1", Site: "east"})
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(fakeToken), 0o600); err != nil {
		t.Fatal(err)
	}

	p := &hashed{Plan: plan.Plan{Pair: "orders", Sites: []plan.Site{
		{Name: "east", Engine: plan.Engine{URL: silent.URL}},
		{Name: "west", Engine: plan.Engine{URL: url, TokenFile: token}},
	}}}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	got := readFences(ctx, p, tokenFlags{}, operator.Status{}, true)
	if got[0].Error == "" || got[1].Error != "" || len(got[1].Fences) != 1 {
		t.Errorf("%+v", got)
	}
}
