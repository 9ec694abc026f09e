package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// headway is how far a run is, for one line.
type headway struct {
	since   time.Time // of the run, as far as it was seen
	done    int       // steps that are over
	step    string    // what runs, "" for nothing
	begun   time.Time // of that step
	waiting string    // what is asked of people
	eta     *runbook.ETA
}

// note takes what has changed.
func (h *headway) note(e operator.Event) {
	switch {
	case e.ETA != nil:
		h.eta = e.ETA
	case e.Waiting != nil:
		h.waiting = e.Waiting.For
	case e.Step != nil:
		h.stepped(*e.Step, e.At)
	}
}

func (h *headway) stepped(s runbook.StepLine, seen time.Time) {
	begun := s.Started
	if begun.IsZero() {
		begun = seen
	}
	if h.since.IsZero() || begun.Before(h.since) {
		h.since = begun
	}
	switch s.State {
	case runbook.StateRunning:
		h.step, h.begun, h.waiting = s.Name, begun, ""
		return
	case runbook.StateWaiting:
		return
	case runbook.StateDone, runbook.StateSkipped, runbook.StateUndone:
		h.done++
	}
	if h.step == s.Name {
		h.step = ""
	}
	h.waiting = ""
}

// text is the line: what runs, for how long, and from earlier runs how far that is and when it will be over. Without
// earlier runs nothing is guessed.
func (h headway) text(now time.Time) string {
	var parts []string
	if bar := h.bar(now); bar != "" {
		parts = append(parts, bar)
	}
	switch {
	case h.waiting != "":
		parts = append(parts, "waiting for "+h.waiting)
	case h.step != "":
		parts = append(parts, fmt.Sprintf("%s, %s", h.step, clock(now.Sub(h.begun))))
	}
	steps := "steps"
	if h.done == 1 {
		steps = "step"
	}
	parts = append(parts, fmt.Sprintf("%d %s done", h.done, steps))
	if !h.since.IsZero() {
		parts = append(parts, clock(now.Sub(h.since))+" in all")
	}
	if h.eta != nil && !h.eta.Done.IsZero() && h.eta.Running != "" {
		if left := h.eta.Done.Sub(now); left > 0 {
			parts = append(parts, "about "+clock(left)+" left")
		} else {
			parts = append(parts, "longer than earlier runs by "+clock(-left))
		}
	}
	return strings.Join(parts, " · ")
}

const barWidth = 20

// bar shows the part of the expected time that is over; none without an estimate.
func (h headway) bar(now time.Time) string {
	if h.eta == nil || h.eta.TotalMillis <= 0 || h.eta.Done.IsZero() {
		return ""
	}
	left := max(0, h.eta.Done.Sub(now).Milliseconds())
	full := int(barWidth * max(0, h.eta.TotalMillis-left) / h.eta.TotalMillis)
	full = min(full, barWidth)
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", barWidth-full) + "]"
}

// clock shows a time that a person waits, to the second: 7s, 1m07s, 2h01m.
func clock(d time.Duration) string {
	s := int(max(0, d).Round(time.Second).Seconds())
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	}
	return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
}

const (
	eraseLine  = "\r\x1b[K" // back to the line's begin and nothing behind it
	eraseBelow = "\x1b[J"
	goHome     = "\x1b[H"
)

// liveLine keeps a line under what is told of a run. Where no terminal is it does nothing.
type liveLine struct {
	out  io.Writer
	stop chan struct{}
	over sync.WaitGroup

	mu  sync.Mutex // guards the line on the terminal, and now
	now headway
}

// startLive goes on from what shown has.
func startLive(out io.Writer, shown *workflows.Status) *liveLine {
	l := &liveLine{out: out, stop: make(chan struct{})}
	if shown != nil {
		l.now = headwayOf(*shown)
	}
	if _, ok := terminal(out); !ok {
		return l
	}
	l.over.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-l.stop:
				return
			case <-tick.C:
				l.mu.Lock()
				l.draw()
				l.mu.Unlock()
			}
		}
	})
	return l
}

// above tells e over the line.
func (l *liveLine) above(e operator.Event, tell func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now.note(e)
	if _, ok := terminal(l.out); !ok {
		tell()
		return
	}
	fmt.Fprint(l.out, eraseLine)
	tell()
	l.draw()
}

func (l *liveLine) draw() {
	text := []rune(l.now.text(time.Now()))
	if width := screenOf(l.out).width; width > 0 && len(text) >= width {
		text = text[:width-1] // a line that wraps could not be taken back
	}
	fmt.Fprint(l.out, eraseLine, string(text))
}

// end takes the line away.
func (l *liveLine) end() {
	close(l.stop)
	l.over.Wait()
	if _, ok := terminal(l.out); ok {
		fmt.Fprint(l.out, eraseLine)
	}
}
