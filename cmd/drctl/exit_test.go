package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestExitCodesTellWhoIsAtFault(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		code int
	}{
		"nothing":                 {nil, codeOK},
		"anything":                {errors.New("x"), codeFailed},
		"usage":                   {fmt.Errorf("a: %w", usagef("x")), codeUsage},
		"own check":               {fmt.Errorf("a: %w", refusedf("x")), codeRefused},
		"run refused":             {&operator.EndedError{Type: workflows.ErrPrecondition}, codeRefused},
		"run refused, too late":   {&operator.EndedError{Type: workflows.ErrHeld, Outcome: runbook.Partly}, codeFailed},
		"run refused, all undone": {&operator.EndedError{Type: workflows.ErrHeld, Outcome: runbook.NoChange}, codeRefused},
		"run failed":              {&operator.EndedError{Type: workflows.ErrHalted}, codeFailed},
		"run found the pair held": {&operator.EndedError{Type: workflows.ErrPairBusy}, codeBusy},
		"held at Temporal":        {&operator.BusyError{}, codeBusy},
		"engine: not found":       {fmt.Errorf("a: %w", api.LinkNotFound()), codeRefused},
		"engine: held":            {api.Conflict("held"), codeBusy},
		"engine: source silent":   {api.Timeout("silent"), codeUnreachable},
		"engine: not ready":       {api.Unavailable("starting"), codeUnreachable},
		"engine: own fault":       {api.Internal("bug"), codeFailed},
		"no answer":               {&operator.UnreachableError{Err: errors.New("x")}, codeUnreachable},
		"a child's":               {exitError{code: 42}, 42},
	} {
		if got := exitCode(c.err); got != c.code {
			t.Errorf("%s: code %d, want %d", name, got, c.code)
		}
	}
}

func TestARunThatEndedEarlyIsNotDone(t *testing.T) {
	for name, c := range map[string]struct {
		result workflows.Result
		code   int
		says   []string
		not    string
	}{
		"done": {workflows.Result{Outcome: runbook.Done}, codeOK, []string{"done"}, "undone"},
		"owed": {workflows.Result{Outcome: runbook.Partly}, codeOK, []string{"partly: done"}, "undone"},
		"denied, all undone": {
			workflows.Result{Outcome: runbook.NoChange, Report: runbook.Report{Error: "denied by bob", Undone: "everything was undone: no change"}},
			codeNoChange,
			[]string{"no change", "denied by bob", "everything was undone"},
			"partly",
		},
		"denied, rebuilt": {
			workflows.Result{Outcome: runbook.Partly, Report: runbook.Report{Error: "denied by bob", Undone: "not all undone"}},
			codeFailed,
			[]string{"partly: ended before it was done", "denied by bob", "not all undone"},
			"partly: done",
		},
	} {
		var out, problems bytes.Buffer
		a := &app{stdout: &out, stderr: &problems, output: asTable}
		err := a.ended(t.Context(), operator.Run{Pair: "orders"}, c.result, nil)
		if got := exitCode(err); got != c.code {
			t.Errorf("%s: code %d, want %d (%v)", name, got, c.code, err)
		}
		for _, want := range c.says {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: nothing says %q:\n%s", name, want, out.String())
			}
		}
		if strings.Contains(out.String(), c.not) {
			t.Errorf("%s: says %q:\n%s", name, c.not, out.String())
		}
	}
}
