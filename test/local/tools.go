package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The servers that this package runs and does not bring itself, and the tools that read what deploy/ holds.
const (
	ToolTemporal       = "temporal-dev" // the Temporal development server of tools/temporal-dev
	ToolConsul         = "consul"
	ToolPromtool       = "promtool"        // Prometheus: configuration, rules and their unit tests
	ToolAmtool         = "amtool"          // Alertmanager: configuration and routes
	ToolManifests      = "manifests"       // our own reader of kustomizations, compose files and Dockerfiles
	ToolConsulTemplate = "consul-template" // runs the templates of deploy/clients
	ToolKube           = "kube-dev"        // Kubernetes' API server and workload controllers
)

// tool says how one of them is found on the PATH, and how it is built when it is not there.
type tool struct {
	pkg      string         // package to build inside the module tools/<name>
	tags     string         // build tags
	onPath   []string       // names tried on the PATH, in order
	askFor   []string       // arguments that print the version
	version  *regexp.Regexp // major and minor version in that answer
	oldest   [2]int         // an older one on the PATH is passed over
	building string         // how long a first build takes, for the person who waits
}

var tools = map[string]tool{
	ToolTemporal: {
		pkg:    ".",
		onPath: []string{"temporal-dev", "temporal"},
		askFor: []string{"--version"},
		// The CLI's own version says nothing about updates or priorities; the server's in brackets does.
		version:  regexp.MustCompile(`Server v?(\d+)\.(\d+)`),
		oldest:   [2]int{1, 29},
		building: "about 4 minutes on two cores",
	},
	ToolConsul: {
		pkg:      "github.com/hashicorp/consul",
		onPath:   []string{"consul"},
		askFor:   []string{"version"},
		version:  regexp.MustCompile(`Consul v(\d+)\.(\d+)`),
		oldest:   [2]int{1, 18},
		building: "about 4 minutes on two cores",
	},
	ToolPromtool: {
		pkg:      "github.com/prometheus/prometheus/cmd/promtool",
		tags:     "remove_all_sd", // service discoveries are half of it, and no rule needs one
		onPath:   []string{"promtool"},
		askFor:   []string{"--version"},
		version:  regexp.MustCompile(`promtool, version (\d+)\.(\d+)`),
		oldest:   [2]int{2, 42},
		building: "about 3 minutes on two cores",
	},
	ToolAmtool: {
		pkg:      "github.com/prometheus/alertmanager/cmd/amtool",
		onPath:   []string{"amtool"},
		askFor:   []string{"--version"},
		version:  regexp.MustCompile(`amtool, version (\d+)\.(\d+)`),
		oldest:   [2]int{0, 25},
		building: "about a minute on two cores",
	},
	ToolConsulTemplate: {
		pkg:      "github.com/hashicorp/consul-template",
		onPath:   []string{"consul-template"},
		askFor:   []string{"-version"},
		version:  regexp.MustCompile(`consul-template v(\d+)\.(\d+)`),
		oldest:   [2]int{0, 30},
		building: "about half a minute on two cores",
	},
	ToolKube:      {pkg: ".", building: "about 7 minutes on two cores"}, // not to be had elsewhere
	ToolManifests: {pkg: ".", building: "about 2 minutes on two cores"}, // not to be had elsewhere
}

// Tool returns the path of an executable: from the PATH when there is one that is not too old, else built from
// its pinned module in tools/ and kept in the user's cache folder under the hash of that module. Processes that ask at
// the same time build once. A first build is announced on stderr.
func Tool(ctx context.Context, name string) (string, error) {
	t, ok := tools[name]
	if !ok {
		return "", fmt.Errorf("tool %q: not one of %s", name, strings.Join(slices.Sorted(maps.Keys(tools)), ", "))
	}
	if path := t.find(ctx); path != "" {
		return path, nil
	}
	root, err := repositoryRoot()
	if err != nil {
		return "", fmt.Errorf("tool %s is not on the PATH and cannot be built: %w", name, err)
	}
	cache, err := cacheDir("tools")
	if err != nil {
		return "", fmt.Errorf("tool %s is not on the PATH and a built one cannot be kept: %w", name, err)
	}
	path, err := t.build(ctx, name, filepath.Join(root, "tools", name), cache)
	if err != nil {
		return "", fmt.Errorf("tool %s: %w", name, err)
	}
	return path, nil
}

// find looks on the PATH. One that is too old, or does not answer, is passed over: building a right one always works.
func (t tool) find(ctx context.Context) string {
	for _, name := range t.onPath {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		out, err := exec.CommandContext(ctx, path, t.askFor...).CombinedOutput()
		cancel()
		if err == nil && t.recent(string(out)) {
			return path
		}
	}
	return ""
}

func (t tool) recent(answer string) bool {
	m := t.version.FindStringSubmatch(answer)
	if m == nil {
		return false
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	return major > t.oldest[0] || major == t.oldest[0] && minor >= t.oldest[1]
}

// build returns the executable of the module in dir, from the cache folder if it is there.
func (t tool) build(ctx context.Context, name, dir, cache string) (string, error) {
	sum, err := hashModule(dir)
	if err != nil {
		return "", err
	}
	target := filepath.Join(cache, name+"-"+sum)
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	unlock, err := lockFile(ctx, target+".lock")
	if err != nil {
		return "", fmt.Errorf("wait for the process that builds it: %w", err)
	}
	defer unlock()
	if _, err := os.Stat(target); err == nil {
		return target, nil // built while we waited
	}
	fmt.Fprintf(os.Stderr, "building %s from %s: the first time this takes %s (log: %s.log)\n", name, dir, t.building, target)
	began := time.Now()
	half := target + ".building" // the lock keeps it ours; renamed only when whole
	if err := t.compile(ctx, name, dir, half, target+".log"); err != nil {
		return "", err
	}
	if err := os.Rename(half, target); err != nil {
		return "", fmt.Errorf("keep the built executable: %w", err)
	}
	fmt.Fprintf(os.Stderr, "built %s in %s\n", name, time.Since(began).Round(time.Second))
	return target, nil
}

// compile runs go build as a child of ours, so that it ends with us.
func (t tool) compile(ctx context.Context, name, dir, target, log string) error {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return fmt.Errorf("go is not on the PATH (install Go, or put %s itself on the PATH): %w", name, err)
	}
	p, err := Start(Spec{
		Name: "go build " + name,
		Path: goTool,
		// No symbol table: it halves the file. No -trimpath or other flag that would keep these packages apart
		// from the ones already in the build cache.
		Args:    []string{"build", "-ldflags=-s -w", "-tags=" + t.tags, "-o", target, t.pkg},
		Env:     []string{"GOWORK=off", "GOOS=", "GOARCH="},
		Dir:     dir,
		LogFile: log,
	})
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("build in %s: %w", dir, context.Cause(ctx)), p.Stop(10*time.Second))
	}
	if err := p.Err(); err != nil {
		return fmt.Errorf("go build in %s: %w; end of %s:\n%s", dir, err, log, p.Log(30))
	}
	return nil
}

// hashModule names what a build depends on: go.mod, go.sum and the Go files of the module's folder.
func hashModule(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, file := range append(files, filepath.Join(dir, "go.mod"), filepath.Join(dir, "go.sum")) {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read the tool's module: %w", err)
		}
		fmt.Fprintf(h, "%s %d\n", filepath.Base(file), len(text))
		h.Write(text)
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}
