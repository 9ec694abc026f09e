// Package fakepager is PagerDuty's Events API v2 as a worker sees it: it takes events, refuses what PagerDuty would refuse, and
// keeps the incidents that come of them. Source: developer.pagerduty.com, Events API v2 (Send an Event, PD-CEF).
package fakepager

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

// States of an incident.
const (
	Triggered    = "triggered"
	Acknowledged = "acknowledged"
	Resolved     = "resolved"
)

// Incident is what people's phones ring for, by dedup key.
type Incident struct {
	Key     string
	Summary string   // of its last trigger
	States  []string // that it went through, a repeated one once
}

// State is the last.
func (i Incident) State() string { return i.States[len(i.States)-1] }

// Pager is a running fake.
type Pager struct {
	served *local.Served

	mu        sync.Mutex // guards what follows
	incidents []Incident
	wrong     []string
}

// Start serves on loopback until Stop.
func Start() (*Pager, error) {
	p := &Pager{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v2/enqueue", p.enqueue)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		p.fault("no such place: %s %s", r.Method, r.URL.Path)
		http.NotFound(w, r)
	})
	var err error
	if p.served, err = local.Serve(mux); err != nil {
		return nil, err
	}
	return p, nil
}

// URL is where the Events API is.
func (p *Pager) URL() string { return p.served.URL() }

// Stop ends it.
func (p *Pager) Stop() error { return p.served.Close() }

// Incidents, the oldest first.
func (p *Pager) Incidents() []Incident {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.incidents)
}

// Wrong is what PagerDuty would have refused.
func (p *Pager) Wrong() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.wrong)
}

func (p *Pager) fault(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wrong = append(p.wrong, fmt.Sprintf(format, args...))
}

// event is what Events v2 takes of a body.
type event struct {
	RoutingKey string `json:"routing_key"`
	Action     string `json:"event_action"`
	DedupKey   string `json:"dedup_key"`
	Payload    *struct {
		Summary  string `json:"summary"`
		Source   string `json:"source"`
		Severity string `json:"severity"`
	} `json:"payload"`
}

// Limits of the API.
const (
	keyLength = 32
	maxEvent  = 512 << 10 // bytes
)

func (e event) faults() (out []string) {
	if len(e.RoutingKey) != keyLength {
		out = append(out, "'routing_key' is no integration key of 32 characters")
	}
	switch {
	case e.Action == "trigger" && (e.Payload == nil || e.Payload.Summary == "" || e.Payload.Source == ""):
		out = append(out, "a trigger needs payload.summary and payload.source")
	case e.Action == "trigger" && utf8.RuneCountInString(e.Payload.Summary) > 1024:
		out = append(out, "'payload.summary' is too long (maximum is 1024 characters)")
	case e.Action == "trigger" && !slices.Contains([]string{"critical", "error", "warning", "info"}, e.Payload.Severity):
		out = append(out, "'payload.severity' is invalid")
	case e.Action != "trigger" && e.Action != "acknowledge" && e.Action != "resolve":
		out = append(out, "'event_action' is invalid")
	case e.Action != "trigger" && e.DedupKey == "":
		out = append(out, "'dedup_key' is missing")
	}
	if len(e.DedupKey) > 255 {
		out = append(out, "'dedup_key' is too long (maximum is 255 characters)")
	}
	return out
}

func (p *Pager) enqueue(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	var e event
	faults := []string{}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxEvent)).Decode(&e); err != nil {
		faults = append(faults, err.Error())
	} else {
		faults = append(faults, e.faults()...)
	}
	if len(faults) > 0 {
		p.fault("%v", faults)
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "invalid event", "message": "Event object is invalid", "errors": faults}) // a client that is gone reads nothing
		return
	}
	if e.DedupKey == "" {
		e.DedupKey = rand.Text() // a new incident: nothing else has its key
	}
	p.take(e)
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": "success", "message": "Event processed", "dedup_key": e.DedupKey}) // likewise
}

// take brings an event to its incident. One that is resolved is over: a trigger by its key makes another.
func (p *Pager) take(e event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	open := -1
	for i, o := range p.incidents {
		if o.Key == e.DedupKey && o.State() != Resolved {
			open = i
		}
	}
	switch {
	case open < 0 && e.Action == "trigger":
		p.incidents = append(p.incidents, Incident{Key: e.DedupKey, Summary: e.Payload.Summary, States: []string{Triggered}})
	case open < 0: // PagerDuty drops what has no incident
	case e.Action == "trigger": // one that is acknowledged stays so
		p.incidents[open].Summary = e.Payload.Summary
	default:
		i := &p.incidents[open]
		state := map[string]string{"acknowledge": Acknowledged, "resolve": Resolved}[e.Action]
		if i.State() != state {
			i.States = append(i.States, state)
		}
	}
}
