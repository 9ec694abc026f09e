package main

import (
	"sync"
	"time"
)

// sent remembers what became of the dialogs that people have sent, for as long as one may come again: Slack sends again what was
// answered late, and shows the last answer that it gets.
type sent struct {
	mu sync.Mutex // guards of
	of map[string]*outcome
}

// outcome is what became of one. text is there once over is closed.
type outcome struct {
	at   time.Time
	over chan struct{}
	text string
}

// take gives the outcome of a dialog, and tells whether it is new.
func (s *sent) take(view string, now time.Time) (o *outcome, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[string]*outcome{}
	}
	for k, o := range s.of {
		if now.Sub(o.at) > seenFor {
			delete(s.of, k)
		}
	}
	if o = s.of[view]; o == nil {
		o, first = &outcome{over: make(chan struct{})}, true
		s.of[view] = o
	}
	o.at = now
	return o, first
}
