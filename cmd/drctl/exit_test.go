package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows"
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
