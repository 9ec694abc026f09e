package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// writeModule makes a module that builds in a second, to stand for a server.
func writeModule(t *testing.T, mainGo string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module example.test/small\n\ngo 1.26\n", "go.sum": "", "main.go": mainGo} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestToolIsBuiltOnceByManyWhoAskAtTheSameTime(t *testing.T) {
	dir, cache := writeModule(t, "package main\n\nfunc main() {}\n"), t.TempDir()
	var wg sync.WaitGroup
	paths, errs := make([]string, 4), make([]error, 4)
	for i := range paths {
		wg.Go(func() { paths[i], errs[i] = tool{pkg: "."}.build(t.Context(), "small", dir, cache) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	first, err := os.Stat(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if path != paths[0] {
			t.Errorf("two executables, %s and %s, of one module", paths[0], path)
		}
	}
	if _, err := (tool{pkg: "."}).build(t.Context(), "small", dir, cache); err != nil {
		t.Fatal(err)
	}
	second, err := os.Stat(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(first, second) {
		t.Error("the executable was built again though its module had not changed")
	}
}

func TestToolIsBuiltAgainWhenItsModuleChanges(t *testing.T) {
	dir, cache := writeModule(t, "package main\n\nfunc main() {}\n"), t.TempDir()
	before, err := tool{pkg: "."}.build(t.Context(), "small", dir, cache)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() { println(1) }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	after, err := tool{pkg: "."}.build(t.Context(), "small", dir, cache)
	if err != nil {
		t.Fatal(err)
	}
	if before == after {
		t.Errorf("the changed module is served by the old executable %s", before)
	}
}

func TestToolThatDoesNotCompileIsReportedWithTheCompilersWords(t *testing.T) {
	dir, cache := writeModule(t, "package main\n\nfunc main() { nonsense() }\n"), t.TempDir()
	_, err := tool{pkg: "."}.build(t.Context(), "small", dir, cache)
	if err == nil || !strings.Contains(err.Error(), "undefined: nonsense") {
		t.Fatalf("want the compiler's words in the error, got %v", err)
	}
}

func TestToolBuildGivesUpWhenItsContextEndsWhileAnotherProcessBuilds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lockFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lockFile(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("want the deadline as the reason, got %v", err)
	}
	unlock()
	again, err := lockFile(t.Context(), path)
	if err != nil {
		t.Fatalf("the freed lock cannot be taken: %v", err)
	}
	again()
}

func TestToolOnThePathIsTakenOnlyWhenItIsRecentEnough(t *testing.T) {
	for answer, want := range map[string]bool{
		"temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)": true,
		"temporal-dev version (Server v1.32.1)":             true,
		"temporal version 1.1.1 (Server 1.25.1, UI 2.31.2)": false,
		"temporal: unknown flag":                            false,
	} {
		if got := tools[ToolTemporal].recent(answer); got != want {
			t.Errorf("%q: taken %v, want %v", answer, got, want)
		}
	}
	for answer, want := range map[string]bool{"Consul v1.22.7\nRevision x": true, "Consul v1.9.0": false, "Consul v2.0.0": true} {
		if got := tools[ToolConsul].recent(answer); got != want {
			t.Errorf("%q: taken %v, want %v", answer, got, want)
		}
	}
}

func TestToolRefusesANameItDoesNotKnow(t *testing.T) {
	if path, err := Tool(t.Context(), "zookeeper"); err == nil {
		t.Fatalf("got %s", path)
	}
}
