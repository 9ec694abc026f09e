package secret

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAScopeReachesOnlyItsFoldersAndVariables(t *testing.T) {
	in, out := t.TempDir(), t.TempDir()
	write := func(dir, name string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte("hidden"), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	inside, outside := write(in, "a"), write(out, "b")
	link := filepath.Join(in, "link")
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SCOPE_YES", "hidden")
	t.Setenv("SCOPE_NO", "hidden")
	s := Scope{Dirs: []string{in}, Env: []string{"SCOPE_YES"}}
	for ref, allowed := range map[string]bool{
		"${file:" + inside + "}":                             true,
		"${file:" + outside + "}":                            false,
		"${file:" + in + "/../" + filepath.Base(out) + "/b}": false,
		"${file:" + link + "}":                               false,
		"${env:SCOPE_YES}":                                   true,
		"${env:SCOPE_NO}":                                    false,
		"${env:SCOPE_YES}${file:" + outside + "}":            false,
	} {
		got, err := s.Resolve(ref)
		if (err == nil) != allowed {
			t.Errorf("%s: allowed %v, error %v", ref, allowed, err)
		}
		if !allowed && (got != "" || strings.Contains(err.Error(), "hidden")) {
			t.Errorf("%s gave the secret away: %q %v", ref, got, err)
		}
	}
	if _, err := (Scope{}).Resolve("${file:" + inside + "}"); err == nil {
		t.Error("the zero scope reached a file")
	}
}
