package supervise

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
)

// readEnvFile reads KEY=VALUE lines: blank lines and lines that begin with # are skipped, the value is everything after
// the first =, without one pair of surrounding quotes ("…" or '…'). References to secrets are left to command.secrets. All faults are reported at once,
// by line number and key, never with a value, which is a secret.
func readEnvFile(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	defer f.Close()
	var env []string
	var faults []error
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		switch {
		case !ok:
			faults = append(faults, fmt.Errorf("%s:%d: no KEY=VALUE; one per line, comments begin with #", path, n))
			continue
		case key == "" || strings.ContainsAny(key, " \t\"'"):
			faults = append(faults, fmt.Errorf("%s:%d: the key before = is empty or has blanks or quotes", path, n))
			continue
		case strings.HasPrefix(key, ownPrefix):
			faults = append(faults, fmt.Errorf("%s:%d: %s: names that begin with %s are set by drctl exec", path, n, key, ownPrefix))
			continue
		}
		env = append(env, key+"="+unquote(strings.TrimSpace(value)))
	}
	if err := lines.Err(); err != nil {
		faults = append(faults, fmt.Errorf("credentials: read %s: %w", path, err))
	}
	return env, errors.Join(faults...)
}

func unquote(v string) string {
	if len(v) >= 2 && (v[0] == '"' || v[0] == '\'') && v[len(v)-1] == v[0] {
		return v[1 : len(v)-1]
	}
	return v
}
