package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// fakeSlack knows chat.postMessage and chat.update, and nothing else.
type fakeSlack struct {
	mu    sync.Mutex // guards what follows
	calls []string
	limit int // answers 429 so often first
	bad   []string
}

func (f *fakeSlack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.limit > 0 {
		f.limit--
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	if err := r.ParseForm(); err != nil || r.Method != http.MethodPost {
		f.bad = append(f.bad, fmt.Sprintf("%s %v", r.Method, err))
	}
	token := r.Form.Get("token")
	if auth := r.Header.Get("Authorization"); auth != "" {
		token = strings.TrimPrefix(auth, "Bearer ")
	}
	if token != "xoxb-secret" {
		fmt.Fprint(w, `{"ok":false,"error":"invalid_auth"}`)
		return
	}
	first, _, _ := strings.Cut(r.Form.Get("text"), "\n")
	switch r.URL.Path {
	case "/api/chat.postMessage":
		f.calls = append(f.calls, fmt.Sprintf("post %s thread=%s %s", r.Form.Get("channel"), r.Form.Get("thread_ts"), first))
		fmt.Fprintf(w, `{"ok":true,"channel":"C1","ts":"%d.0"}`, len(f.calls))
	case "/api/chat.update":
		f.calls = append(f.calls, fmt.Sprintf("update %s ts=%s %s", r.Form.Get("channel"), r.Form.Get("ts"), first))
		fmt.Fprint(w, `{"ok":true,"channel":"C1","ts":"1.0"}`)
	default:
		f.bad = append(f.bad, r.URL.Path)
		http.NotFound(w, r)
	}
}

// fakePager knows Events v2.
type fakePager struct {
	mu     sync.Mutex // guards what follows
	events []map[string]any
	limit  int
	bad    []string
}

func (f *fakePager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.limit > 0 {
		f.limit--
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	body, err := io.ReadAll(r.Body)
	var ev map[string]any
	if err != nil || json.Unmarshal(body, &ev) != nil || r.URL.Path != "/v2/enqueue" || r.Method != http.MethodPost {
		f.bad = append(f.bad, fmt.Sprintf("%s %s %s", r.Method, r.URL.Path, body))
	}
	f.events = append(f.events, ev)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprint(w, `{"status":"success","message":"Event processed","dedup_key":"k"}`)
}

type notified struct {
	*Activities
	slack *fakeSlack
	pager *fakePager
	to    runbook.Notify
}

func notifying(t *testing.T) *notified {
	t.Helper()
	n := &notified{slack: &fakeSlack{}, pager: &fakePager{}}
	s, p := httptest.NewServer(n.slack), httptest.NewServer(n.pager)
	t.Cleanup(s.Close)
	t.Cleanup(p.Close)
	n.Activities = newActivities(t, Options{SlackAPI: s.URL + "/api", PagerDutyAPI: p.URL})
	n.pace.every = time.Millisecond // Slack's own is TestAChannelGetsAMessageASecond's
	n.to = runbook.Notify{
		Slack:     &runbook.Slack{Token: secretFileFor(t, "xoxb-secret"), Channel: "#dr"},
		PagerDuty: &runbook.PagerDuty{RoutingKey: secretFileFor(t, "routing-key")},
	}
	return n
}

func (n *notified) tell(t *testing.T, kind, title string, page bool) workflows.NotifyResult {
	t.Helper()
	got, err := n.Notify(t.Context(), workflows.NotifyInput{Call: call("notify"), Notify: n.to, Kind: kind, Title: title, Text: "text of <" + kind + ">", Page: page})
	if err != nil {
		t.Fatalf("a notification failed its run: %v", err)
	}
	return got
}

// What belongs to no run is of weeks: a reply in an old thread, or an incident that
// nothing ends, would tell nobody.
func TestWhatBelongsToNoRunIsAMessageOfItsOwnAndItsPageEnds(t *testing.T) {
	n := notifying(t)
	for _, pair := range [][2]string{
		{workflows.NotifyUnready, workflows.NotifyReadyAgain}, {workflows.NotifyDrill, workflows.NotifyDrillAgain}, {workflows.NotifyDebt, workflows.NotifyDebtPaid},
	} {
		n.slack.calls, n.pager.events = nil, nil
		n.tell(t, pair[0], "first", true)
		n.tell(t, pair[0], "second", true)
		n.tell(t, pair[1], "over", false)
		if d := cmp.Diff([]string{"post #dr thread= *first*", "post #dr thread= *second*", "post #dr thread= *over*"}, n.slack.calls); d != "" {
			t.Errorf("%s (-want +got)\n%s", pair[0], d)
		}
		var actions []string
		for _, e := range n.pager.events {
			actions = append(actions, fmt.Sprint(e["event_action"]))
		}
		if d := cmp.Diff([]string{"trigger", "trigger", "resolve"}, actions); d != "" {
			t.Errorf("%s (-want +got)\n%s", pair[0], d)
		}
	}
}

func TestWhatEndsAPageQuietlyIsForMachinesOnly(t *testing.T) {
	n := notifying(t)
	got, err := n.Notify(t.Context(), workflows.NotifyInput{Call: call("notify"), Notify: n.to, Kind: workflows.NotifyDrillAgain, Title: "well", Quietly: true})
	if err != nil || got.Slack != "not asked" || got.PagerDuty != "sent" || got.Email != "not asked" {
		t.Errorf("%+v, %v", got, err)
	}
	if len(n.slack.calls) > 0 || len(n.pager.events) != 1 || n.pager.events[0]["event_action"] != "resolve" {
		t.Errorf("slack %v, pagerduty %v", n.slack.calls, n.pager.events)
	}
}

func TestARunIsOneThreadAndOneIncident(t *testing.T) {
	n := notifying(t)
	n.tell(t, workflows.NotifyApproval, "needs <you>", true)
	n.tell(t, workflows.NotifyPaused, "paused", false)
	n.tell(t, workflows.NotifyMove, "move group web", true)
	n.tell(t, workflows.NotifyAcknowledged, "bob looks after it", false)
	last := n.tell(t, workflows.NotifyFinished, "done", false)
	if last != (workflows.NotifyResult{Slack: "sent", PagerDuty: "sent", Webhook: "not configured", Email: "not configured"}) {
		t.Errorf("last %+v", last)
	}
	want := []string{
		"post #dr thread= *needs &lt;you&gt;*", "post C1 thread=1.0 *paused*", "post C1 thread=1.0 *move group web*",
		"post C1 thread=1.0 *bob looks after it*", "post C1 thread=1.0 *done*", "update C1 ts=1.0 *done*",
	}
	if d := cmp.Diff(want, n.slack.calls); d != "" {
		t.Errorf("slack (-want +got)\n%s", d)
	}
	var got []string
	for _, e := range n.pager.events {
		line := fmt.Sprintf("%v %v %v", e["event_action"], e["dedup_key"], e["routing_key"])
		if p, ok := e["payload"].(map[string]any); ok {
			line += fmt.Sprintf(" %v/%v/%v", p["severity"], p["source"], p["summary"])
		}
		got = append(got, line)
	}
	want = []string{
		"trigger drawbridge/orders/failover-1 routing-key critical/drawbridge/orders/needs <you>: text of <approval>",
		"trigger drawbridge/orders/failover-1/move group web routing-key critical/drawbridge/orders/move group web: text of <move>",
		"acknowledge drawbridge/orders/failover-1 routing-key",
		"resolve drawbridge/orders/failover-1 routing-key",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("pagerduty (-want +got)\n%s", d)
	}
	if len(n.slack.bad)+len(n.pager.bad) > 0 {
		t.Errorf("calls out of order: %v %v", n.slack.bad, n.pager.bad)
	}
}

func TestAnAbsentChannelIsSaidToBeNotConfigured(t *testing.T) {
	n := notifying(t)
	n.to = runbook.Notify{}
	if got := n.tell(t, workflows.NotifyPaused, "x", true); got != (workflows.NotifyResult{Slack: "not configured", PagerDuty: "not configured", Webhook: "not configured", Email: "not configured"}) {
		t.Errorf("%+v", got)
	}
}

func TestATooManyRequestsIsHonoured(t *testing.T) {
	n := notifying(t)
	n.slack.limit, n.pager.limit = 1, 1
	began := time.Now()
	if got := n.tell(t, workflows.NotifyPaused, "x", true); got != (workflows.NotifyResult{Slack: "sent", PagerDuty: "sent", Webhook: "not configured", Email: "not configured"}) {
		t.Errorf("%+v", got)
	}
	if d := time.Since(began); d < time.Second {
		t.Errorf("tried again after %s, Slack asked for a second", d)
	}
}

func TestADeadOrRefusingServerNeverFailsARunNorTellsASecret(t *testing.T) {
	n := notifying(t)
	dead := "http://" + nobodyThere(t)
	hook := dead + "/services/T0/B0/hook-secret"
	n.to.Slack = &runbook.Slack{Webhook: secretFileFor(t, hook)}
	n.opts.PagerDutyAPI = dead
	got := n.tell(t, workflows.NotifyPaused, "x", true)
	for _, text := range []string{got.Slack, got.PagerDuty} {
		if text == "sent" || text == "" || strings.Contains(text, "hook-secret") || strings.Contains(text, "routing-key") {
			t.Errorf("a dead server gives %q", text)
		}
	}
	n.to.Slack = &runbook.Slack{Token: secretFileFor(t, "xoxb-wrong"), Channel: "#dr"}
	if got := n.tell(t, workflows.NotifyPaused, "x", false); !strings.Contains(got.Slack, "invalid_auth") || got.PagerDuty != "not asked" {
		t.Errorf("a wrong token gives %+v", got)
	}
}

// An escalation names people in Slack and pages a second service, whose incident
// ends with the run as the first one's does.
func TestAnEscalationReachesThosePeopleToo(t *testing.T) {
	n := notifying(t)
	n.to.PagerDuty.EscalationRoutingKey = secretFileFor(t, "second-key")
	n.tell(t, workflows.NotifyApproval, "needs you", true)
	in := workflows.NotifyInput{Call: call("notify"), Notify: n.to, Kind: workflows.NotifyEscalated, Title: "still", Page: true, Wide: true, Mention: []string{"U1", "U2"}}
	if _, err := n.Notify(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if text := slackText(in); !strings.Contains(text, "<@U1> <@U2>") {
		t.Errorf("nobody is named: %q", text)
	}
	n.tell(t, workflows.NotifyFinished, "done", false)
	var got []string
	for _, e := range n.pager.events {
		got = append(got, fmt.Sprintf("%v %v", e["event_action"], e["routing_key"]))
	}
	want := []string{"trigger routing-key", "trigger routing-key", "trigger second-key", "resolve routing-key", "resolve second-key"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("pagerduty (-want +got)\n%s", d)
	}
}

// A team is an incident and a thread of its own, in its own service and channel, and
// escalations that it has no service for reach the pair's.
func TestATeamIsAnIncidentAndAThreadOfItsOwn(t *testing.T) {
	n := notifying(t)
	n.to.PagerDuty.EscalationRoutingKey = secretFileFor(t, "management-key")
	p := runbook.Plan{Notify: n.to}
	payments := runbook.Team{Name: "payments", Slack: &runbook.TeamSlack{Channel: "#payments"}, PagerDuty: &runbook.PagerDuty{RoutingKey: secretFileFor(t, "payments-key")}}
	web := runbook.Team{Name: strings.Repeat("w", 300), Slack: &runbook.TeamSlack{}}
	tell := func(team runbook.Team, kind, title string, page, wide bool) workflows.NotifyResult {
		t.Helper()
		got, err := n.Notify(t.Context(), workflows.NotifyInput{
			Call: call("notify"), Notify: p.Channels(team), Kind: kind, Title: title, Page: page, Wide: wide, Team: team.Name, Mild: page && !wide,
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	n.tell(t, workflows.NotifyStarted, "started", true)
	for _, team := range []runbook.Team{payments, web} {
		tell(team, workflows.NotifyMove, "move", true, false)
		tell(team, workflows.NotifyEscalated, "again", true, true)
		tell(team, workflows.NotifyAcknowledged, "ann", false, false)
		tell(team, workflows.NotifyMoved, "moved", false, false)
	}
	want := []string{
		"post #dr thread= *started*",
		"post #payments thread= *move*", "post C1 thread=2.0 *again*", "post C1 thread=2.0 *ann*", "post C1 thread=2.0 *moved*", "update C1 ts=2.0 *moved*",
		"post #dr thread= *move*", "post C1 thread=7.0 *again*", "post C1 thread=7.0 *ann*", "post C1 thread=7.0 *moved*", "update C1 ts=7.0 *moved*",
	}
	if d := cmp.Diff(want, n.slack.calls); d != "" {
		t.Errorf("slack (-want +got)\n%s", d)
	}
	var got []string
	keys := map[string]bool{}
	for _, e := range n.pager.events {
		key := fmt.Sprint(e["dedup_key"])
		if keys[key] = true; len(key) > 255 {
			t.Errorf("PagerDuty takes no key of %d characters", len(key))
		}
		line := fmt.Sprintf("%v %v", e["event_action"], e["routing_key"])
		if p, ok := e["payload"].(map[string]any); ok {
			line += fmt.Sprintf(" %v", p["severity"])
		}
		got = append(got, line)
	}
	want = []string{
		"trigger routing-key critical",
		"trigger payments-key warning", "trigger payments-key critical", "trigger management-key critical", "acknowledge payments-key", "acknowledge management-key", "resolve payments-key", "resolve management-key",
		"trigger management-key critical", "acknowledge management-key", "resolve management-key",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("pagerduty (-want +got)\n%s", d)
	}
	if len(keys) != 3 {
		t.Errorf("three incidents have the keys %v", keys)
	}
	if text := slackText(workflows.NotifyInput{Mention: []string{"U1", "S2"}}); !strings.Contains(text, "<@U1> <!subteam^S2>") {
		t.Errorf("nobody is named: %q", text)
	}
	if got := tell(web, workflows.NotifyMove, "move", true, false); got.PagerDuty != "not configured" {
		t.Errorf("a team without a service: %+v", got)
	}
}

// A step that times out is tried again, and would tell the other channels twice.
func TestAVaultThatHangsHoldsUpItsOwnChannelOnly(t *testing.T) {
	n := notifying(t)
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(over) })
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("tok-123"), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := secret.NewVault(secret.VaultConfig{Address: s.URL, TokenFile: token})
	if err != nil {
		t.Fatal(err)
	}
	n.opts.Secrets = secret.Reader{Vault: v}
	n.to.Slack.Token = "${vault:kv/slack#token}"
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // for PagerDuty; the Vault would give up after 5 s
	defer cancel()
	began := time.Now()
	got, err := n.Notify(ctx, workflows.NotifyInput{Call: call("notify"), Notify: n.to, Kind: workflows.NotifyMove, Title: "x", Page: true})
	if took := time.Since(began); err != nil || took >= time.Minute {
		t.Errorf("took %s, %v", took, err)
	}
	if got.PagerDuty != sent || !strings.Contains(got.Slack, "did not end in 8s: what holds its secret") {
		t.Errorf("%+v", got)
	}
}
