package workflows

import (
	"fmt"
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// World is the fake world for tests that stand outside of the package.
type World struct{ w *world }

// NewWorld is a pair before its set-up.
func NewWorld() World { return World{newWorld()} }

// Steps is what to register as activities.
func (w World) Steps() Steps { return w.w }

// Lose takes a site away.
func (w World) Lose(site string) { w.set(site, true) }

// Return brings a site back, with records behind the stop offsets.
func (w World) Return(site string, lagged int64) {
	w.set(site, false)
	w.w.mu.Lock()
	defer w.w.mu.Unlock()
	w.w.topics[away] = w.w.topics[home]
	w.w.ledger = []runbook.LedgerLine{{Topic: "a", Records: lagged, Decision: runbook.LedgerUndecided}}
}

// Abandon leaves what a failover leaves that was terminated behind its fence.
func (w World) Abandon() {
	w.w.mu.Lock()
	defer w.w.mu.Unlock()
	abandon(w.w)
}

// AskUnfence is ann's request to take what Abandon left.
func AskUnfence() UnfenceInput { return unfencing(runbook.OverrideLock) }

func (w World) set(site string, down bool) {
	w.w.mu.Lock()
	defer w.w.mu.Unlock()
	for _, part := range []string{"kafka", "consul", "engine"} {
		w.w.down[site+" "+part] = down
	}
}

// Left says what a run has left behind, "" for nothing.
func (w World) Left() string {
	w.w.mu.Lock()
	defer w.w.mu.Unlock()
	for site, r := range w.w.consul {
		if r.Lock != nil || r.Phase != "open" || len(r.FenceDebt) > 0 {
			return fmt.Sprintf("record at %s: %+v", site, r)
		}
	}
	n := len(w.w.locks)
	for _, m := range []map[string]map[string]bool{w.w.fences, w.w.groups} {
		for _, ops := range m {
			n += len(ops)
		}
	}
	if n > 0 {
		return fmt.Sprintf("locks %v, fences %v, groups %v", w.w.locks, w.w.fences, w.w.groups)
	}
	return ""
}

// RequestBy is a signed start.
func RequestBy(who, op string) Start {
	s := request(op)
	s.Request.By, s.Request.Signature = who, "by "+who
	return s
}

// SignedBy is a command that fits a status.
func SignedBy(st Status, who, decision string) runbook.Command {
	c := signed(st, who, decision)
	c.Expires = time.Now().Add(time.Hour)
	return c
}

// Agree approves, as bob, whatever is asked.
func Agree(st Status) []runbook.Command { return agree(st) }
