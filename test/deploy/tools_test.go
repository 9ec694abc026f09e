//go:build real

package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := harness.Clean(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// folder is deploy/, seen from this package.
const folder = "../../deploy"

// file is the path of a file of deploy/.
func file(parts ...string) string { return filepath.Join(append([]string{folder}, parts...)...) }

// read is the text of a file of deploy/.
func read(t *testing.T, parts ...string) string {
	t.Helper()
	text, err := os.ReadFile(file(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// tool runs one of package local's tools and returns what it says; how it ended is told by err.
func tool(t *testing.T, name string, args ...string) (out string, err error) {
	t.Helper()
	path, err := local.Tool(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return command(t, path, args...)
}

// command runs a program to its end and returns what it says on both outputs.
func command(t *testing.T, path string, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), err
}

// good fails the test unless the tool was content.
func good(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := tool(t, name, args...); err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// manifest decodes what the manifests tool read from a file or folder.
func manifest(t *testing.T, into any, kind, name string) {
	t.Helper()
	path, err := local.Tool(t.Context(), local.ToolManifests)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, kind, name)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", kind, name, err, said.String())
	}
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatal(err)
	}
}
