package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/workflows"
)

// state is which run has which thread, in a file.
type state struct {
	path string

	mu      sync.Mutex // guards threads
	threads map[string]*thread
}

// thread is a run's place in Slack.
type thread struct {
	Pair      string    `json:"pair"`
	Operation string    `json:"operation,omitempty"`
	Channel   string    `json:"channel"`
	TS        string    `json:"ts"`
	Begun     time.Time `json:"begun"`
	// Said are the replies in it, by what they are about.
	Said map[string]bool `json:"said"`
	// Ended: the run is over and the thread says so.
	Ended bool `json:"ended,omitempty"`
}

// threadsKept bounds the file; what is older is of runs long over.
const threadsKept = 30 * 24 * time.Hour

// loadState puts a damaged file aside: what it costs is second threads, and a bot that
// does not start costs every approval that is asked for in Slack.
func loadState(path string, log *slog.Logger) (*state, error) {
	s := &state{path: path, threads: map[string]*thread{}}
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state_file: %w", err)
	}
	err = json.Unmarshal(raw, &s.threads)
	if err == nil && (s.threads == nil || slices.Contains(slices.Collect(maps.Values(s.threads)), nil)) {
		err = errors.New("null in the place of a thread")
	}
	if err == nil {
		return s, nil
	}
	aside := path + ".damaged"
	if rerr := os.Rename(path, aside); rerr != nil {
		return nil, fmt.Errorf("state_file %s: it is not one of mine (%w), and it cannot be put aside: %w", path, err, rerr)
	}
	log.Error("the state file was damaged and is put aside: open runs get a second thread, and the first ones will not tell their ends", "state_file", path, "aside", aside, "error", err)
	return &state{path: path, threads: map[string]*thread{}}, nil
}

// get copies the thread of a run, if there is one.
func (s *state) get(run string) (thread, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.threads[run]
	if t == nil {
		return thread{}, false
	}
	c := *t
	c.Said = maps.Clone(t.Said)
	return c, true
}

// open are a pair's runs whose thread has not told their end, the oldest first.
func (s *state) open(pair string) []operator.Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []operator.Run
	for id, t := range s.threads {
		if t.Pair == pair && !t.Ended {
			out = append(out, operator.Run{Pair: pair, ID: workflows.ID(pair), RunID: id, Operation: t.Operation})
		}
	}
	slices.SortFunc(out, func(a, b operator.Run) int { return s.threads[a.RunID].Begun.Compare(s.threads[b.RunID].Begun) })
	return out
}

// put keeps a run's thread. The file is replaced whole: after a power cut the old one
// or the new one is there.
func (s *state) put(run string, t thread) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Said = maps.Clone(t.Said)
	s.threads[run] = &t
	for id, o := range s.threads {
		if o.Ended && t.Begun.Sub(o.Begun) > threadsKept {
			delete(s.threads, id)
		}
	}
	raw, err := json.Marshal(s.threads)
	if err != nil {
		return err
	}
	return renameio.WriteFile(s.path, raw, 0o600)
}
