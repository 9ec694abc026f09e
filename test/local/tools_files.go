package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// modulePath is how the root of the repository is known.
const modulePath = "github.com/drawbridge-dr/drawbridge"

// repositoryRoot finds the folder with the root module's go.mod: above this source file, where the binary was built, else
// above the working directory (for a binary built with -trimpath, or moved to another machine).
func repositoryRoot() (string, error) {
	var starts []string
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		starts = append(starts, filepath.Dir(file))
	}
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	for _, start := range starts {
		for dir := start; ; dir = filepath.Dir(dir) {
			if isRoot(dir) {
				return dir, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", fmt.Errorf("no go.mod of module %s above %s: run it inside a clone of the repository",
		modulePath, strings.Join(starts, " or "))
}

func isRoot(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "module" {
			return fields[1] == modulePath
		}
	}
	return false
}

// lockFile takes the lock of a file that all processes of this user share, waiting for its holder. The system frees it
// when the holder ends, however it ends; the file stays.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	told := false
	err = WaitFor(ctx, "the lock "+path, func(context.Context) error {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) && !told {
			told = true
			fmt.Fprintf(os.Stderr, "waiting for another process that holds %s\n", path)
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { f.Close() }, nil // closing frees the lock
}
