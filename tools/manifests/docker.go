package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// stage is one FROM of a Dockerfile.
type stage struct {
	Name, Base string
	Commands   []command
}

// command is one instruction of a stage: its name, as it stands there, and what it says.
type command struct {
	Name, Text string
	Detail     any
}

// dockerfile parses a file as BuildKit does, instruction by instruction; BuildKit's own warnings are faults.
func dockerfile(_ context.Context, file string) (any, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	var faults []error
	for _, w := range parsed.Warnings {
		faults = append(faults, errors.New(w.Short))
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, msg string, at []parser.Range) {
		line := 0
		if len(at) > 0 {
			line = at[0].Start.Line
		}
		faults = append(faults, fmt.Errorf("line %d: %s: %s", line, rule, msg))
	}})
	stages, args, err := instructions.Parse(parsed.AST, lint)
	if err != nil {
		return nil, err
	}
	out := struct {
		Args   []instructions.ArgCommand
		Stages []stage
	}{Args: args}
	for _, s := range stages {
		st := stage{Name: s.Name, Base: s.BaseName}
		for _, c := range s.Commands {
			st.Commands = append(st.Commands, command{c.Name(), fmt.Sprint(c), c})
		}
		out.Stages = append(out.Stages, st)
	}
	return out, errors.Join(faults...)
}
