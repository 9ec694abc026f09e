//go:build real

package deploy

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// image is a Dockerfile as BuildKit reads it.
type image struct {
	Args []struct {
		Args []struct{ Key, Value string }
	}
	Stages []stage
}

type stage struct {
	Name, Base string
	Commands   []instruction
}

type instruction struct {
	Name, Text string
	Detail     struct {
		CmdLine     []string // RUN, CMD, ENTRYPOINT
		SourcePaths []string // COPY
		DestPath    string
		From, Chown string
		User, Path  string // USER, WORKDIR
	}
}

// dockerfile is the image of deploy/.
func dockerfile(t *testing.T) image {
	t.Helper()
	var out image
	manifest(t, &out, "dockerfile", file("Dockerfile"))
	if len(out.Stages) != 2 {
		t.Fatalf("%d stages", len(out.Stages))
	}
	return out
}

// root is the folder that the image is built from.
const root = "../.."

// ignored tells what .dockerignore keeps out of the build, for the few shapes of lines that ours has.
func ignored(t *testing.T, name string) bool {
	t.Helper()
	out := false
	for line := range strings.Lines(read(t, "Dockerfile.dockerignore")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		pattern, keep := strings.CutPrefix(line, "!")
		first, _, _ := strings.Cut(name, "/")
		match := pattern == "*" || pattern == first
		if below, ok := strings.CutPrefix(pattern, "**/"); ok {
			match = slices.ContainsFunc(strings.Split(name, "/"), func(part string) bool {
				is, err := path.Match(below, part)
				return err == nil && is
			})
		} else if pattern != "*" && strings.ContainsAny(pattern, "*?[/") {
			t.Fatalf("%q: teach the test to read it", line)
		}
		if match {
			out = !keep
		}
	}
	return out
}

func TestTheImageHasTheCommandsAndNobodyIsRoot(t *testing.T) {
	t.Parallel()
	img := dockerfile(t)
	build, final := img.Stages[0], img.Stages[1]
	for _, c := range build.Commands {
		for _, source := range c.Detail.SourcePaths {
			if _, err := os.Stat(filepath.Join(root, source)); err != nil {
				t.Errorf("%s: %v", c.Text, err)
			}
			if ignored(t, strings.TrimSuffix(source, "/")) {
				t.Errorf("%s: .dockerignore keeps it out", c.Text)
			}
		}
	}
	commands := map[string]bool{} // of this module, as `go build ./cmd/...` makes them
	mains, err := filepath.Glob(filepath.Join(root, "cmd", "*", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mains {
		commands["/out/"+filepath.Base(filepath.Dir(m))] = false
	}
	there := map[string]bool{}
	user, said := "", []string{}
	for _, c := range final.Commands {
		switch c.Name {
		case "COPY":
			if c.Detail.From != build.Name {
				t.Errorf("%s: from the stage %q", c.Text, c.Detail.From)
			}
			for _, source := range c.Detail.SourcePaths {
				if _, ok := commands[source]; ok {
					commands[source] = true
					there[c.Detail.DestPath+path.Base(source)] = true
				} else if source != "/out/state/" || c.Detail.Chown != "65532:65532" {
					t.Errorf("%s: nothing makes %s", c.Text, source)
				}
			}
		case "USER":
			user = c.Detail.User
		case "CMD":
			said = c.Detail.CmdLine
		case "RUN", "ENTRYPOINT", "ADD", "VOLUME":
			t.Errorf("%s: has no place in the last stage", c.Text)
		}
	}
	for c, copied := range commands {
		if !copied {
			t.Errorf("the image lacks %s", c)
		}
	}
	if user != "65532:65532" {
		t.Errorf("it runs as %q", user)
	}
	if len(said) == 0 || !there[said[0]] {
		t.Errorf("by itself it runs %v, it has %v", said, there)
	}
	// Whoever starts it names a command that it has.
	_, p := prepared(t)
	for name, s := range p.Services {
		if s.Build == nil {
			continue
		}
		if run := slices.Concat(s.Entrypoint, s.Command); !there[run[0]] {
			t.Errorf("%s runs %v, the image has %v", name, run, there)
		}
	}
}
