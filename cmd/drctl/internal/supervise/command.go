package supervise

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/template"
)

// ownPrefix begins the names of the variables that the child is given.
const ownPrefix = "DRAWBRIDGE_"

// values are what a command's arguments may name: {{.Bootstrap}} (host:port list joined by commas), {{.Site}}, {{.Epoch}},
// {{.SecurityRef}}, {{.Pair}}, {{.Group}}.
type values struct {
	Pair, Group, Site, Bootstrap, SecurityRef string
	Epoch                                     int64
}

// command is the child's command line and environment, made anew for each start.
type command struct {
	args        []*template.Template
	credentials map[string]string // env file by site
	resolve     func(string) (string, error)
	pair, group string
	pass        []string // see Config
}

// newCommand parses all arguments, so that a mistyped placeholder is found at the start and not in a failover.
func newCommand(cfg Config) (command, error) {
	c := command{credentials: cfg.Credentials, resolve: cfg.Resolve, pair: cfg.Pair, group: cfg.Group, pass: cfg.Pass}
	var faults []error
	for i, arg := range cfg.Command {
		t, err := template.New(fmt.Sprintf("argument %d", i)).Option("missingkey=error").Parse(arg)
		if err == nil {
			err = t.Execute(&strings.Builder{}, values{})
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("argument %q: %w; placeholders are {{.Bootstrap}}, {{.Site}}, {{.Epoch}}, {{.SecurityRef}}, {{.Pair}}, {{.Group}}", arg, err))
		}
		c.args = append(c.args, t)
	}
	if len(cfg.Command) == 0 || cfg.Command[0] == "" {
		faults = append(faults, errors.New("no command given: put it behind --"))
	}
	return c, errors.Join(faults...)
}

// forTarget returns the argument list and the environment for a start at t. The credentials file is read each time, so that
// rotated credentials are taken at the next start.
func (c command) forTarget(t target) (argv, env []string, err error) {
	v := values{
		Pair: c.pair, Group: c.group, Site: t.place.Site, Epoch: t.epoch,
		Bootstrap: strings.Join(t.place.Bootstrap, ","), SecurityRef: t.place.SecurityRef,
	}
	for _, tmpl := range c.args {
		var b strings.Builder
		if err := tmpl.Execute(&b, v); err != nil {
			return nil, nil, err
		}
		argv = append(argv, b.String())
	}
	env = inherited(os.Environ(), c.pass)
	if len(c.credentials) > 0 {
		file, ok := c.credentials[t.place.Site]
		if !ok {
			return nil, nil, fmt.Errorf("no credentials for site %s: name its file in --credentials", t.place.Site)
		}
		secrets, err := c.secrets(file)
		if err != nil {
			return nil, nil, err
		}
		env = append(env, secrets...) // later entries win
	}
	env = append(env,
		ownPrefix+"PAIR="+v.Pair, ownPrefix+"GROUP="+v.Group, ownPrefix+"SITE="+v.Site, ownPrefix+"BOOTSTRAP="+v.Bootstrap,
		ownPrefix+"EPOCH="+strconv.FormatInt(v.Epoch, 10), ownPrefix+"SECURITY_REF="+v.SecurityRef)
	return argv, env, nil
}

// secrets reads an env file and resolves the references in it. An error names the key, never a value.
func (c command) secrets(file string) ([]string, error) {
	env, err := readEnvFile(file)
	if err != nil || c.resolve == nil {
		return env, err
	}
	var faults []error
	for i, kv := range env {
		key, value, _ := strings.Cut(kv, "=")
		resolved, err := c.resolve(value)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %s: %w", file, key, err))
		}
		env[i] = key + "=" + resolved
	}
	return env, errors.Join(faults...)
}
