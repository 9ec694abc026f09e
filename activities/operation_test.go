package activities

import (
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// silent is a way to a site that nobody answers at: it notes how long each call would have waited.
type silent struct {
	mu    sync.Mutex
	waits []time.Duration // of each call, 0 for no end
}

func (s *silent) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := time.Duration(0)
	if end, ok := r.Context().Deadline(); ok {
		wait = time.Until(end)
	}
	s.waits = append(s.waits, wait)
	return nil, errors.New("no answer")
}

// Undoing is given up after some tries, each of which must not hang until the end of its step: that is minutes, since turning
// many mirrors back takes its time.
func TestNoUndoHangsAtAnEngineThatDoesNotAnswer(t *testing.T) {
	site := runbook.Site{Name: "west", Engine: runbook.Engine{URL: "http://west"}}
	for name, do := range map[string]func(*Activities) error{
		"RevokeOperation": func(a *Activities) error {
			_, err := a.RevokeOperation(t.Context(), workflows.OperationTokenInput{Call: call("revoke"), Site: site, Link: runbook.Link{Name: "there"}, Also: []string{"x.2"}})
			return err
		},
		"EngineUnlock": func(a *Activities) error {
			_, err := a.EngineUnlock(t.Context(), workflows.EngineLockInput{Call: call("unlock"), Site: site})
			return err
		},
	} {
		a, way := newActivities(t, Options{}), &silent{}
		a.http = &http.Client{Transport: way}
		typed(t, do(a), workflows.ErrUnreachable, true)
		if len(way.waits) != 1 || way.waits[0] == 0 || way.waits[0] > callTimeout {
			t.Errorf("%s waits %v for an answer, want one call of %s at most", name, way.waits, callTimeout)
		}
	}
}
