//go:build real

package deploy

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/mirrorengine"
	"github.com/drawbridge-dr/drawbridge/worker"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
)

// place is a container, or a unit: what it finds under which path.
type place struct {
	name string
	// files are what it finds there; folders are mounted whole.
	files   map[string]string // by path: where it comes from
	folders map[string]string
}

// finds tells whether a path is there.
func (p place) finds(path string) bool {
	if _, ok := p.files[path]; ok {
		return true
	}
	for folder := range p.folders {
		if path == folder || strings.HasPrefix(path, folder+"/") {
			return true
		}
	}
	return slices.ContainsFunc(slices.Collect(keys(p.files)), func(f string) bool { return strings.HasPrefix(f, path+"/") })
}

func keys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// pathIn is an absolute path in a configuration: not behind a host's name, nor in a comment.
var pathIn = regexp.MustCompile(`(?m)(?:^|[\s"'{:,\[])(/[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)+)`)

// findsAll fails the test for each path of a configuration that the place does not have.
func (p place) findsAll(t *testing.T, what, text string) {
	t.Helper()
	found := pathIn.FindAllStringSubmatch(regexp.MustCompile(`(?m)(^|\s)#.*$`).ReplaceAllString(text, ""), -1)
	if len(found) == 0 {
		t.Errorf("%s names no path: the test does not find them any more", what)
	}
	for _, m := range found {
		if !p.finds(m[1]) {
			t.Errorf("%s names %s, which %s does not have", what, m[1], p.name)
		}
	}
}

// noEnvironment is what our loaders see of the environment.
func noEnvironment(string) string { return "" }

// loadEngine reads and validates a configuration as the engine does.
func loadEngine(t *testing.T, path string) mirrorengine.Config {
	t.Helper()
	c, err := mirrorengine.Load(path, noEnvironment)
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
	return c
}

// loadWorker reads and validates a configuration as the worker does.
func loadWorker(t *testing.T, path string) worker.Config {
	t.Helper()
	c, err := worker.Load(path, noEnvironment)
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
	return c
}

// loadPlan reads and validates a plan as the worker does, by its folder and its pair's name.
func loadPlan(t *testing.T, path string) plan.Plan {
	t.Helper()
	p, err := plan.Load(filepath.Dir(path), strings.TrimSuffix(filepath.Base(path), ".yaml"))
	if err != nil {
		t.Error(err)
	}
	return p
}

// agrees tells whether an engine's configuration fits the plan that sends links to it.
func agrees(t *testing.T, c mirrorengine.Config, p plan.Plan) {
	t.Helper()
	i := slices.IndexFunc(p.Sites, func(s plan.Site) bool { return s.Name == c.Name })
	if i < 0 {
		t.Errorf("the plan knows no site %s", c.Name)
		return
	}
	secret := strings.TrimSuffix(strings.TrimPrefix(p.Sites[i].Engine.LinkSecurity.Password, "${file:"), "}")
	if !slices.ContainsFunc(c.Secrets.Dirs, func(dir string) bool { return strings.HasPrefix(secret, dir+"/") }) {
		t.Errorf("the engine of %s may not read %s for its links (secrets.dirs)", c.Name, secret)
	}
	own := []string{c.TokenFile, c.TLS.KeyFile, c.EncryptionKeyFile, strings.TrimSuffix(strings.TrimPrefix(c.Kafka.Password, "${file:"), "}")}
	for _, dir := range c.Secrets.Dirs {
		for _, secret := range own {
			if strings.HasPrefix(secret, dir+"/") {
				t.Errorf("whoever may make a link at %s can send %s to a broker of theirs: it lies in %s (secrets.dirs)", c.Name, secret, dir)
			}
		}
	}
}

// copyTree copies deploy/ to another place, without what somebody who uses it has made there.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := os.CopyFS(to, os.DirFS(from))
	for _, made := range []string{"secrets", "keys"} {
		err = errors.Join(err, os.RemoveAll(filepath.Join(to, "compose", made)))
	}
	if err != nil {
		t.Fatal(err)
	}
}
