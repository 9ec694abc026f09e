package fakepager

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

const key = "0123456789abcdef0123456789abcdef"

func send(t *testing.T, p *Pager, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL()+"/v2/enqueue", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode
}

func trigger(routing, dedup, summary string) string {
	return `{"routing_key":"` + routing + `","event_action":"trigger","dedup_key":"` + dedup + `","payload":{"summary":"` + summary + `","source":"s","severity":"critical"}}`
}

func started(t *testing.T) *Pager {
	t.Helper()
	p, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestWhatPagerDutyWouldRefuseIsRefused(t *testing.T) {
	p := started(t)
	for name, body := range map[string]string{
		"no JSON":                    `{`,
		"a key that is too short":    trigger("short", "a", "s"),
		"no summary":                 trigger(key, "a", ""),
		"a summary that is too long": trigger(key, "a", strings.Repeat("s", 1025)),
		"a dedup key too long":       trigger(key, strings.Repeat("a", 256), "s"),
		"an unknown severity":        strings.Replace(trigger(key, "a", "s"), "critical", "bad", 1),
		"an unknown action":          strings.Replace(trigger(key, "a", "s"), "trigger", "shout", 1),
		"a resolve of nothing":       `{"routing_key":"` + key + `","event_action":"resolve"}`,
		"an event of 600 kB":         trigger(key, "a", strings.Repeat("s", 600<<10)),
	} {
		before := len(p.Wrong())
		if got := send(t, p, body); got != http.StatusBadRequest || len(p.Wrong()) != before+1 {
			t.Errorf("%s: %d, %q", name, got, p.Wrong()[before:])
		}
	}
	if len(p.Incidents()) > 0 {
		t.Errorf("incidents %+v", p.Incidents())
	}
}

func TestAnIncidentIsOneUntilItIsResolved(t *testing.T) {
	p := started(t)
	act := func(action string) string {
		return `{"routing_key":"` + key + `","event_action":"` + action + `","dedup_key":"a"}`
	}
	for _, body := range []string{
		trigger(key, "a", strings.Repeat("s", 1024)), trigger(key, "a", "again"), act("acknowledge"), trigger(key, "a", "once more"), act("resolve"), act("resolve"),
		trigger(key, "a", "anew"), trigger(key, "", "one"), trigger(key, "", "another"),
	} {
		if got := send(t, p, body); got != http.StatusAccepted {
			t.Errorf("%.60s: %d", body, got)
		}
	}
	var got []string
	for _, i := range p.Incidents() {
		got = append(got, i.Summary+": "+strings.Join(i.States, " "))
	}
	want := []string{"once more: triggered acknowledged resolved", "anew: triggered", "one: triggered", "another: triggered"}
	if !slices.Equal(got, want) || len(p.Wrong()) > 0 {
		t.Errorf("%q, wrong %q", got, p.Wrong())
	}
}
