package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// builds are the commands built by this process, by command and tags.
var builds struct {
	mu  sync.Mutex // guards dir and done
	dir string
	all map[string]func() (string, error)
}

// Build compiles a command of this module (as in "mirrorengine") once per
// process and answers with the executable. tags are build tags: "mutant" gives
// an engine that can be wrong on purpose. The executable goes with Clean.
func Build(ctx context.Context, command string, tags ...string) (string, error) {
	builds.mu.Lock()
	if builds.dir == "" {
		dir, err := os.MkdirTemp("", "drawbridge-bin-")
		if err != nil {
			builds.mu.Unlock()
			return "", err
		}
		builds.dir, builds.all = dir, map[string]func() (string, error){}
	}
	key := command + " " + strings.Join(tags, ",")
	build := builds.all[key]
	if build == nil {
		target := filepath.Join(builds.dir, strings.Join(append([]string{command}, tags...), "-"))
		build = sync.OnceValues(func() (string, error) {
			cmd := exec.CommandContext(ctx, "go", "build", "-tags", strings.Join(tags, ","), "-o", target,
				"github.com/drawbridge-dr/drawbridge/cmd/"+command)
			if out, err := cmd.CombinedOutput(); err != nil {
				return "", fmt.Errorf("build %s: %w\n%s", command, err, out)
			}
			return target, nil
		})
		builds.all[key] = build
	}
	builds.mu.Unlock()
	return build()
}

// Clean removes what Build made.
func Clean() error {
	builds.mu.Lock()
	defer builds.mu.Unlock()
	dir := builds.dir
	builds.dir, builds.all = "", nil
	if dir == "" {
		return nil
	}
	return os.RemoveAll(dir)
}
