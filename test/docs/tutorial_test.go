//go:build real

package docs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/harness"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := harness.Clean(); err != nil {
		code = 1
	}
	os.Exit(code)
}

// prelude stands for what takes minutes or a network: the clone, and the builds, which the test has made. Everything else is
// run as it stands in the page, in one shell; a command that fails fails the test.
const prelude = `
set -eu -o pipefail
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
git() { test "$1" = clone; }
cd() { test "$1" = drawbridge; }
make() {
  case $1 in
  build) ;;
  playground) command playground & until test -f out/playground/env; do kill -0 $!; sleep 0.1; done ;;
  *) echo "nothing stands for make $1" >&2; return 1 ;;
  esac
}
set -x
`

var shell = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

func TestTheTutorialsCommandsWork(t *testing.T) {
	blocks := shell.FindAllStringSubmatch(read(t, "docs/tutorial.md"), -1)
	if len(blocks) < 15 {
		t.Fatalf("the tutorial has %d blocks of commands: it has lost some", len(blocks))
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"mirrorengine", "worker", "drctl"} {
		built, err := harness.Build(t.Context(), command)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(built, filepath.Join(bin, command)); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "playground"), "../playground")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	script := prelude
	for _, b := range blocks {
		script += b[1]
	}
	out, err := inShell(t, dir, script)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"read at east: orders/", "read at west: orders/", // the client was moved
		"3000 records in 3 partitions alike at east, at west after the failover and after the rebuild",
		"answer:     approved, 1 of 1", "rpo exact:",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing says %q\n%s", want, out)
		}
	}
}

// inShell runs a script in a process group of its own, and leaves none of it running.
func inShell(t *testing.T, dir, script string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	file := filepath.Join(dir, "tutorial.sh")
	log, err := os.Create(filepath.Join(dir, "tutorial.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "bash", file)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log // a file: what the script leaves behind must not hold a pipe
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	runErr := cmd.Run()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // nothing is left, as a rule
	out, err := os.ReadFile(log.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(out), runErr
}
