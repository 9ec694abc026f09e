package secret

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Scope bounds what references may reach. A link's configs come over the API:
// without it whoever may make a link could read any file of the engine, by
// having it sent as a password to a cluster of his own. The zero Scope reaches
// nothing.
type Scope struct {
	// Dirs are folders; files in them and below may be read.
	Dirs []string
	// Env are names of environment variables that may be read.
	Env []string
	// Paths are paths in Vault, mount first; secrets there and below may be read.
	Paths []string
	Vault *Vault // nil: none
}

// Resolve is the package's Resolve within the scope.
func (s Scope) Resolve(value string) (string, error) {
	return resolve(value, source{allows: s.allows, vault: s.Vault})
}

func (s Scope) allows(kind, name string) error {
	if kind == "env" {
		if slices.Contains(s.Env, name) {
			return nil
		}
		return fmt.Errorf("environment variable %s may not be used by links; add it to secrets.env of the engine's configuration", name)
	}
	if kind == "vault" {
		return underPaths(name, s.Paths)
	}
	// Links and ".." are followed first: what counts is where the file is.
	file, err := filepath.EvalSymlinks(name)
	if err != nil {
		return fmt.Errorf("secret file: %w", err)
	}
	for _, dir := range s.Dirs {
		root, err := filepath.EvalSymlinks(dir)
		if err != nil {
			continue
		}
		if rel, err := filepath.Rel(root, file); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			return nil
		}
	}
	return fmt.Errorf("secret file %s lies outside of the folders that links may use; move it, or add its folder to secrets.dirs of the engine's configuration", name)
}
