package main

import (
	"context"

	"github.com/compose-spec/compose-go/v2/cli"
)

// compose loads a file as `docker compose config` does: against the specification's schema, with defaults and short
// forms written out, and consistent in itself (networks, volumes, secrets and services that are referred to exist). The
// environment is empty, so that what it prints depends on the file only.
func compose(ctx context.Context, file string) (any, error) {
	options, err := cli.NewProjectOptions([]string{file}, cli.WithName("drawbridge"), cli.WithResolvedPaths(true))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(ctx)
}
