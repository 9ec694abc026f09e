package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each of the 24 rows names a test that exists, or says "not yet"; most do the former.
func TestEveryMustHaveNamesATestThatExistsOrSaysNotYet(t *testing.T) {
	raw, err := os.ReadFile("../../docs/must-haves.md")
	if err != nil {
		t.Fatal(err)
	}
	claim := regexp.MustCompile("`(Test[A-Za-z0-9_]+)` \\(([a-z/]+)\\)")
	rows, shown := 0, 0
	for line := range strings.Lines(string(raw)) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 || !regexp.MustCompile(`^ \d+ $`).MatchString(cells[1]) {
			continue
		}
		rows++
		claims := claim.FindAllStringSubmatch(line, -1)
		if n := strings.Count(line, "`Test"); n != len(claims) {
			t.Errorf("row%s: %d tests are named, %d with their package", cells[1], n, len(claims))
		}
		if len(claims) > 0 {
			shown++
		} else if !strings.Contains(strings.ToLower(line), "not yet") {
			t.Errorf("row%snames neither a test nor why there is none", cells[1])
		}
		for _, c := range claims {
			if !defined(t, c[1], c[2]) {
				t.Errorf("row%s: package %s has no %s", cells[1], c[2], c[1])
			}
		}
	}
	if rows != 24 || shown < 22 {
		t.Errorf("%d rows, %d with tests: want 24, and at least 22", rows, shown)
	}
}

func defined(t *testing.T, name, pkg string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), "\nfunc "+name+"(t *testing.T)") {
			return true
		}
	}
	return false
}
