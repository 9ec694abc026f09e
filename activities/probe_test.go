package activities

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestOnlyAProbesClearAnswerIsAViewOfTheSite(t *testing.T) {
	a := newActivities(t, Options{})
	for name, c := range map[string]struct {
		status           int
		body             string
		known, reachable bool
		detail           string
	}{
		"reaches":      {200, "# TYPE probe_success gauge\nprobe_success 1\n", true, true, ""},
		"does not":     {200, "probe_duration_seconds 5\nprobe_success  0", true, false, ""},
		"error page":   {502, "probe_success 0", false, false, "502"},
		"another page": {200, "<html>login</html>", false, false, "no probe_success"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			}))
			defer srv.Close()
			v := a.probe(t.Context(), runbook.Probe{Name: "frankfurt", URL: srv.URL})
			if v.From != "probe frankfurt" || v.Known != c.known || v.Reachable != c.reachable || !strings.Contains(v.Detail, c.detail) || v.LastContact.IsZero() == c.reachable {
				t.Errorf("%+v", v)
			}
		})
	}
}

// A probe that hangs holds up nothing for longer than its bound, and one that
// still reaches the site outweighs all that do not.
func TestAnOutageIsAttestedFromEveryVantagePoint(t *testing.T) {
	a := newActivities(t, Options{})
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "probe_success 1") }))
	defer up.Close()
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hangs.Close()
	dead := runbook.Site{Name: "east", Kafka: runbook.Kafka{Bootstrap: []string{"127.0.0.1:1"}, Security: runbook.Security{Protocol: "PLAINTEXT"}}}
	got, err := a.AttestOutage(t.Context(), workflows.AttestOutageInput{
		Call: call("attest"), Site: dead, Other: runbook.Site{Name: "west", Engine: runbook.Engine{URL: "http://127.0.0.1:1"}},
		Probes: []runbook.Probe{{Name: "up", URL: up.URL}, {Name: "hangs", URL: hangs.URL}},
	})
	if err != nil || len(got.Vantages) != 4 {
		t.Fatalf("%+v, %v", got, err)
	}
	worker, engine, yes, none := got.Vantages[0], got.Vantages[1], got.Vantages[2], got.Vantages[3]
	if !worker.Known || worker.Reachable || engine.Known || !yes.Known || !yes.Reachable || none.Known || none.Detail == "" {
		t.Errorf("%+v", got.Vantages)
	}
	v := runbook.Outage("east", got.Vantages)
	if v.OK || len(v.Overrides) != 1 || v.Overrides[0] != runbook.OverrideAlive || !strings.Contains(v.Text(), "probe up still reaches east") || !strings.Contains(v.Text(), "probe hangs could not be asked") {
		t.Errorf("%+v", v)
	}
}
