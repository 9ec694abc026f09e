package activities

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// secretError is a secret that cannot be read; it never contains one.
type secretError struct{ text string }

func (e *secretError) Error() string { return e.text }

func badSecret(format string, args ...any) error {
	return &secretError{fmt.Sprintf(format, args...)}
}

// maxSecret bounds a secret's file in bytes.
const maxSecret = 1 << 20

// resolve reads what a plan's reference names, now: ${file:/path},
// ${file:/path:key} (key=value lines) or ${env:NAME}. The plan lets nothing else
// pass; ${vault:…} is not read by this release.
func resolve(reference string) (string, error) {
	if reference == "" {
		return "", nil
	}
	body, ok := strings.CutPrefix(reference, "${")
	body, closed := strings.CutSuffix(body, "}")
	kind, rest, _ := strings.Cut(body, ":")
	if !ok || !closed || rest == "" {
		return "", badSecret("a secret of the plan is no reference: write ${file:/path} or ${env:NAME}")
	}
	switch kind {
	case "env":
		if v := os.Getenv(rest); v != "" {
			return v, nil
		}
		return "", badSecret("environment variable %s, which the plan names, is not set at this worker", rest)
	case "file":
		path, key := rest, ""
		if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.ContainsAny(rest[i+1:], `/\`) {
			path, key = rest[:i], rest[i+1:]
		}
		text, err := secretFile(path)
		if err != nil || key == "" {
			return text, err
		}
		for line := range strings.Lines(text) {
			name, value, found := strings.Cut(strings.TrimSpace(line), "=")
			if found && strings.TrimSpace(name) == key && strings.TrimSpace(value) != "" {
				return strings.TrimSpace(value), nil
			}
		}
		return "", badSecret("secret file %s has no value for key %s; lines are key=value", path, key)
	case "vault":
		return "", badSecret("${vault:…} is not read by this release: have the vault's agent write a file and use ${file:/path}")
	}
	return "", badSecret("unknown kind of secret reference: write ${file:/path} or ${env:NAME}")
}

// secretFile is a file that holds one secret, without white space around it;
// no path is no secret.
func secretFile(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", badSecret("secret file: %v", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", badSecret("secret file: %v", err)
	}
	text := strings.TrimSpace(string(b))
	if text == "" || len(b) > maxSecret {
		return "", badSecret("secret file %s is empty or larger than %d bytes", path, maxSecret)
	}
	return text, nil
}
