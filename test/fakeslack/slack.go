package fakeslack

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

// Tokens and the workspace that every Slack of this package has.
const (
	BotToken = "xoxb-fake-bot"
	AppToken = "xapp-fake-app"
	Secret   = "fake-signing-secret"
	Team     = "T0FAKE"
)

// Slack is a running fake. Its methods may be called from several goroutines.
type Slack struct {
	// Patience is how long it waits for an acknowledgement, and how long a trigger id may be used: longer than Slack's own three
	// seconds, which a busy machine may not keep. It is set before the app acts.
	Patience time.Duration

	served *local.Served

	mu       sync.Mutex // guards all below
	requests string     // URL that commands and clicks are sent to, "" for Socket Mode
	clock    int        // numbers of messages, views, envelopes
	messages []Message
	told     []Told
	views    map[string]*View
	triggers map[string]trigger
	hooks    map[string]*hook
	sockets  []*socket
	wrong    []string
	limits   map[string]int         // calls of a method that are answered with 429
	calls    map[string][]time.Time // by method and channel, of the last minute
	counted  map[string]int
	down     bool
	twice    bool
	paced    map[string]time.Time // channel → its last message, where each has its second; nil: as a rule
	refused  map[string]int       // calls that were turned away for the limits, by method
}

// Message of a channel.
type Message struct {
	Channel, TS, Thread string
	Text                string
	Blocks              []Block
	Edits               int
	deleted             bool
}

// Told is a message that only its user sees.
type Told struct {
	User   string
	Text   string
	Blocks []Block
}

type trigger struct {
	user string
	till time.Time
}

type hook struct {
	user  string
	calls int
}

// Start serves on loopback until Stop.
func Start() (*Slack, error) {
	s := &Slack{
		Patience: 2 * time.Minute,
		views:    map[string]*View{}, triggers: map[string]trigger{}, hooks: map[string]*hook{},
		limits: map[string]int{}, calls: map[string][]time.Time{}, counted: map[string]int{}, refused: map[string]int{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/{method}", s.api)
	mux.HandleFunc("GET /socket/{id}", s.connect)
	mux.HandleFunc("POST /hook/{id}", s.respond)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fault("no such place: %s %s", r.Method, r.URL.Path)
		http.NotFound(w, r)
	})
	var err error
	if s.served, err = local.Serve(mux); err != nil {
		return nil, err
	}
	return s, nil
}

// TB is the part of a test that ForTest needs.
type TB interface {
	Helper()
	Cleanup(func())
	Fatal(...any)
	Errorf(string, ...any)
}

// ForTest is a Slack that a test has to itself; what it found wrong fails the test.
func ForTest(t TB) *Slack {
	t.Helper()
	s, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("stop the fake Slack: %v", err)
		}
		for _, w := range s.Wrong() {
			t.Errorf("Slack would refuse: %s", w)
		}
	})
	return s
}

// Stop ends it with all its connections.
func (s *Slack) Stop() error {
	s.cut()
	return s.served.Close()
}

func (s *Slack) url() string { return s.served.URL() }

// API is the address of the Web API, as a client wants it.
func (s *Slack) API() string { return s.url() + "/api/" }

// SendTo has commands and interactions sent to an app's request URL, signed, in place of its sockets.
func (s *Slack) SendTo(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = url
}

// Down makes Slack answer nothing but 503 and cuts its sockets, or brings it back.
func (s *Slack) Down(down bool) {
	s.mu.Lock()
	s.down = down
	s.mu.Unlock()
	if down {
		s.cut()
	}
}

// Limit answers the next n calls of a method with 429 and a Retry-After of one second.
func (s *Slack) Limit(method string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits[method] = n
}

// EachSecond takes one message a second for each channel from now on and never two at once: Slack's own word for its limit, which it
// lets bursts pass for a while.
func (s *Slack) EachSecond() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paced = map[string]time.Time{}
}

// Refused counts the calls of a method that came too often.
func (s *Slack) Refused(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused[method]
}

// Twice delivers each envelope two times from now on, as Slack does when an acknowledgement is lost.
func (s *Slack) Twice(twice bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.twice = twice
}

// Messages of a channel, the oldest first, replies among them.
func (s *Slack) Messages(channel string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Message
	for _, m := range s.messages {
		if m.Channel == channel && !m.deleted {
			out = append(out, m)
		}
	}
	return out
}

// Delete is somebody who deletes a message; its thread stays.
func (s *Slack) Delete(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.find(m.Channel, m.TS); old != nil {
		old.deleted = true
	}
}

// Told is what only that user was told, the oldest first.
func (s *Slack) Told(user string) []Told {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.told), func(t Told) bool { return t.User != user })
}

// View is the dialog that a user has open; nil: none.
func (s *Slack) View(user string) *View {
	s.mu.Lock()
	defer s.mu.Unlock()
	var last *View
	for _, v := range s.views {
		if v.User == user && v.open && (last == nil || v.number > last.number) {
			last = v
		}
	}
	if last == nil {
		return nil
	}
	c := *last
	return &c
}

// Close is a user who closes the dialog that is open.
func (s *Slack) Close(v View) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if mine := s.views[v.ID]; mine != nil {
		mine.open = false
	}
}

// Calls counts the calls of a method that were not turned away.
func (s *Slack) Calls(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counted[method]
}

// Wrong is what a real Slack would have refused, or shown to a user as a fault.
func (s *Slack) Wrong() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.wrong)
}

// Forgive empties Wrong and returns what was in it.
func (s *Slack) Forgive() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.wrong
	s.wrong = nil
	return was
}

func (s *Slack) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}

// next numbers things; the caller holds mu.
func (s *Slack) next() int {
	s.clock++
	return s.clock
}

// Await waits until cond holds for this Slack.
func (s *Slack) Await(ctx context.Context, what string, cond func() error) error {
	return local.WaitFor(ctx, what, func(context.Context) error { return cond() })
}
