package activities

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

const hookSecret = "hook-secret-of-the-night"

// receiver checks calls as docs/clients.md says that one should.
type receiver struct {
	mu     sync.Mutex // guards what follows
	bodies []map[string]any
	wrong  []string
	codes  []int // answered first, then 204
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	body, err := io.ReadAll(q.Body)
	stamp := q.Header.Get("Drawbridge-Timestamp")
	seconds, serr := strconv.ParseInt(stamp, 10, 64)
	mac := hmac.New(sha256.New, []byte(hookSecret))
	fmt.Fprintf(mac, "%s.%s", stamp, body)
	var got map[string]any
	switch {
	case err != nil || serr != nil || q.Method != http.MethodPost || q.Header.Get("Content-Type") != "application/json":
		r.wrong = append(r.wrong, fmt.Sprintf("%s %v %v %v", q.Method, q.Header, err, serr))
	case time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute:
		r.wrong = append(r.wrong, "replayed: "+stamp)
	case q.Header.Get("Drawbridge-Signature") != "v1="+hex.EncodeToString(mac.Sum(nil)):
		r.wrong = append(r.wrong, "forged")
	case json.Unmarshal(body, &got) != nil:
		r.wrong = append(r.wrong, string(body))
	}
	if len(r.codes) > 0 {
		w.Header().Set("Location", "/elsewhere")
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(r.codes[0])
		r.codes = r.codes[1:]
		return
	}
	r.bodies = append(r.bodies, got)
	w.WriteHeader(http.StatusNoContent)
}

func hooked(t *testing.T, r *receiver) *runbook.Webhook {
	t.Helper()
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	return &runbook.Webhook{URL: s.URL + "/drawbridge", Secret: secretFileFor(t, hookSecret)}
}

// hanging reads the call and never answers.
func hanging(t *testing.T) *runbook.Webhook {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body) // only then does the server see that the client hangs up
		<-q.Context().Done()
	}))
	t.Cleanup(s.Close)
	return &runbook.Webhook{URL: s.URL, Secret: secretFileFor(t, hookSecret)}
}

func TestAWebhookIsSignedOverTimeAndBody(t *testing.T) {
	r := &receiver{codes: []int{http.StatusTooManyRequests}}
	a := newActivities(t, Options{})
	in := workflows.NotifyInput{
		Call: call("notify"), Notify: runbook.Notify{Webhook: hooked(t, r)}, Kind: workflows.NotifyMove, Title: "move <a>", Text: "now", Page: true,
		Team: "payments", Groups: []string{"billing"}, Site: "west",
	}
	got, err := a.Notify(t.Context(), in)
	if err != nil || got.Webhook != "sent" || len(r.wrong) > 0 || len(r.bodies) != 1 {
		t.Fatalf("%+v, %v, faults %v, %d calls", got, err, r.wrong, len(r.bodies))
	}
	if at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(r.bodies[0]["at"])); err != nil || time.Since(at) > time.Minute {
		t.Errorf("at %v: %v", r.bodies[0]["at"], err)
	}
	delete(r.bodies[0], "at")
	want := map[string]any{
		"key": "drawbridge/orders/failover-1/team payments", "kind": "move", "page": true, "title": "move <a>", "text": "now", "pair": "orders",
		"operation": "failover", "operation_id": "failover-1", "team": "payments", "groups": []any{"billing"}, "site": "west",
	}
	if d := cmp.Diff(want, r.bodies[0]); d != "" {
		t.Errorf("body (-want +got)\n%s", d)
	}
}

// The signature is of both: with another time, another body or another secret it is
// another one.
func TestASignatureFitsNothingElse(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range []string{signature("a", "1", []byte("{}")), signature("b", "1", []byte("{}")), signature("a", "2", []byte("{}")), signature("a", "1", []byte("{ }")), signature("a", "", []byte("1.{}"))} {
		seen[s] = true
	}
	if len(seen) != 5 {
		t.Errorf("two of these signatures are one: %v", seen)
	}
	// By openssl: printf '1700000000.{"kind":"move"}' | openssl dgst -sha256 -hmac 0123456789abcdef
	if got := signature("0123456789abcdef", "1700000000", []byte(`{"kind":"move"}`)); got != opensslSaid {
		t.Errorf("signature %s, openssl says %s", got, opensslSaid)
	}
}

func TestAWebhookThatDoesNotTakeItIsAFactOfTheResult(t *testing.T) {
	gone := "http://" + nobodyThere(t) + "/path-secret"
	for name, c := range map[string]struct {
		codes  []int
		want   string
		change func(*runbook.Webhook)
	}{
		"an error":          {[]int{500}, "answered 500, not 2xx", nil},
		"a redirect":        {[]int{307}, "answered 307, not 2xx", nil},
		"busy twice":        {[]int{429, 429}, "answered 429, not 2xx", nil},
		"nobody there":      {nil, "did not answer", func(w *runbook.Webhook) { w.URL = secretFileFor(t, gone) }},
		"no URL behind it":  {nil, "URL is none", func(w *runbook.Webhook) { w.URL = secretFileFor(t, "http://[path-secret") }},
		"no such secret":    {nil, "a secret of the plan", func(w *runbook.Webhook) { w.Secret = "${file:/no/such/file}" }},
		"a secret, written": {nil, "no reference", func(w *runbook.Webhook) { w.Secret = hookSecret }},
		"too short a one":   {nil, "shorter than 16", func(w *runbook.Webhook) { w.Secret = secretFileFor(t, "path-secret") }},
	} {
		t.Run(name, func(t *testing.T) {
			r := &receiver{codes: c.codes}
			var log bytes.Buffer
			a := newActivities(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			to := hooked(t, r)
			if c.change != nil {
				c.change(to)
			}
			got, err := a.Notify(t.Context(), workflows.NotifyInput{Call: call("notify"), Notify: runbook.Notify{Webhook: to}, Kind: workflows.NotifyMove, Title: "x", Page: true})
			if err != nil || !strings.Contains(got.Webhook, c.want) || len(r.bodies)+len(r.wrong) > 0 {
				t.Errorf("%q, %v; want %q; taken %v, faults %v", got.Webhook, err, c.want, r.bodies, r.wrong)
			}
			for _, text := range []string{got.Webhook, log.String()} {
				if strings.Contains(text, "path-secret") || strings.Contains(text, hookSecret) {
					t.Errorf("a secret is told: %s", text)
				}
			}
		})
	}
}

const opensslSaid = "b6455536b441224da357cc14c7e9fc4971ece0d684cb1d14799fb9165f2a7375"
