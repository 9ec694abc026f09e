package main

import (
	"context"
	"errors"
	"io"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/sirupsen/logrus"
)

// compose loads a file as `docker compose config` does: with the .env beside it, against the specification's schema, with
// defaults and short forms written out, and consistent in itself (networks, volumes, secrets and services that are referred
// to exist). Nothing of this process's environment counts. What Compose only warns of, as a variable that nothing sets, is a
// fault. Services of profiles are there too.
func compose(ctx context.Context, file string) (any, error) {
	var warned warnings
	logrus.SetOutput(io.Discard)
	logrus.AddHook(&warned)
	options, err := cli.NewProjectOptions([]string{file}, cli.WithName("drawbridge"), cli.WithEnvFiles(), cli.WithDotEnv,
		cli.WithResolvedPaths(true), cli.WithProfiles([]string{"*"}))
	if err != nil {
		return nil, err
	}
	project, err := options.LoadProject(ctx)
	return project, errors.Join(append(warned, err)...)
}

// warnings are what Compose said and would have gone on from.
type warnings []error

// Levels are those that are kept.
func (*warnings) Levels() []logrus.Level { return []logrus.Level{logrus.WarnLevel, logrus.ErrorLevel} }

// Fire keeps one.
func (w *warnings) Fire(e *logrus.Entry) error {
	*w = append(*w, errors.New(e.Message))
	return nil
}
