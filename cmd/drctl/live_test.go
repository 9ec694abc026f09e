package main

import (
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestTheLineOfARunSaysHowFarItIsAndGuessesNothing(t *testing.T) {
	begin := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	step := func(name, state string, started int) operator.Event {
		return operator.Event{At: at(started), Step: &runbook.StepLine{Name: name, State: state, Started: at(started)}}
	}
	eta := func(done int, total int64) operator.Event {
		return operator.Event{ETA: &runbook.ETA{Runs: 2, Running: "mirrors", Done: at(done), TotalMillis: total * 1000}}
	}
	var h headway
	for _, c := range []struct {
		e    operator.Event
		now  int
		want string
	}{
		{step("read record", runbook.StateRunning, 0), 3, "read record, 3s · 0 steps done · 3s in all"},
		{step("read record", runbook.StateDone, 0), 4, "1 step done · 4s in all"},
		{operator.Event{Waiting: &workflows.Waiting{For: "approval"}}, 64, "waiting for approval · 1 step done · 1m04s in all"},
		{step("fence source", runbook.StateRunning, 65), 66, "fence source, 1s · 1 step done · 1m06s in all"},
		{eta(110, 100), 70, "[############........] · fence source, 5s · 1 step done · 1m10s in all · about 40s left"},
		{step("fence source", runbook.StateFailed, 65), 71, "[############........] · 1 step done · 1m11s in all · about 39s left"},
		{eta(70, 100), 80, "[####################] · 1 step done · 1m20s in all · longer than earlier runs by 10s"},
	} {
		h.note(c.e)
		if got := h.text(at(c.now)); got != c.want {
			t.Errorf("after %d s:\n got %s\nwant %s", c.now, got, c.want)
		}
	}
}
