package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client"
	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
)

// A lost site's machines do not refuse, they are silent. That must not use up the time in which the other site answers.
func TestFencesOfOneSiteAreShownWhileTheOthersEngineIsSilent(t *testing.T) {
	t.Parallel() // it waits
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
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // the silent one uses all of it
	defer cancel()
	got := readFences(ctx, p, tokenFlags{}, operator.Status{}, true)
	if got[0].Error == "" || got[1].Error != "" || len(got[1].Fences) != 1 {
		t.Errorf("%+v", got)
	}
}

// What keeps clients out of the old primary looks like what a lost run left: nobody may be told to lift it.
func TestFencesOfASiteThatWasLeftAreNotCalledLost(t *testing.T) {
	west := recordCopy{Site: "west", Record: &record.Record{Epoch: 2, Active: []string{"west"}}}
	stale := recordCopy{Site: "east", Record: &record.Record{Epoch: 1, Active: []string{"east"}}}
	for name, c := range map[string]struct {
		site   string
		copies []recordCopy
		want   string
		never  string
	}{
		"the old primary's": {"east", []recordCopy{stale, west}, "east is not active", "unfence"},
		"the active site's": {"west", []recordCopy{stale, west}, "`drctl unfence orders` lifts it", "not active"},
		"no record answers": {"east", []recordCopy{{Site: "west", Error: "no answer"}}, "cannot be told from here: the Consul of west", "lifts it"},
		"the stale answers": {"east", []recordCopy{stale, {Site: "west", Error: "no answer"}}, "cannot be told from here: the Consul of west", "lifts it"},
		"the newer answers": {"east", []recordCopy{{Site: "east", Error: "no answer"}, west}, "east is not active", "unfence"},
		"no record is made": {"east", []recordCopy{{Site: "west", err: client.ErrNoRecord}}, "`drctl unfence orders` lifts it", "cannot be told"},
		"split":             {"east", []recordCopy{stale, {Site: "west", Record: &record.Record{Epoch: 1, OpID: "failover-2", Active: []string{"west"}}}}, "cannot be told from here: the copies", "lifts it"},
	} {
		t.Run(name, func(t *testing.T) {
			st := pairStatus{Copies: c.copies, Fences: []siteFences{{Engine: "west", Fences: []fenceLine{{Fence: api.Fence{Site: c.site, OperationID: "failover-1"}, Lost: true}}}}}
			st.Pair = "orders"
			keepFences(st.Fences, st.Copies)
			var b bytes.Buffer
			statusTable(&b, st)
			if got := b.String(); !strings.Contains(got, c.want) || strings.Contains(got, c.never) {
				t.Error(got)
			}
		})
	}
}
