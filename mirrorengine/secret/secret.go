// Package secret resolves references to secrets (${file:/path:key},
// ${env:NAME}, ${vault:mount/path#key}) when they are used, and seals those that
// were given inline.
//
// No error of it contains a value. It writes nothing down, and is no key
// management: the key of a Sealer is a file. Start at Reader, Scope and Sealer.
package secret

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxFile bounds a secret's file, in bytes; a wrong path must not fill memory.
const maxFile = 1 << 20

const open = "${"

// Referenced tells whether value names a secret instead of being one: it
// contains at least one reference.
func Referenced(value string) bool { return strings.Contains(value, open) }

// Resolve puts the secrets in the place of value's references:
//
//	${file:/path}      the file's text without white space around it
//	${file:/path:key}  the value of key in a properties file
//	${env:NAME}        an environment variable
//	${vault:mount/path#key}  a key of a secret in Vault; Reader and Scope only
//
// References may stand inside of other text, as in a JAAS line. What was put
// in is not looked at again. Anything else that begins with "${" is an error,
// so that a misspelt reference is never sent as a password.
//
// It reaches everything that the process reaches: it is for the process's own
// configuration. What comes over the API is resolved within a Scope.
func Resolve(value string) (string, error) { return resolve(value, source{}) }

func resolve(value string, from source) (string, error) {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(value, open)
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		reference, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", errors.New("secret reference has no closing brace; write ${file:/path:key}, ${env:NAME} or ${vault:mount/path#key}")
		}
		resolved, err := from.lookUp(reference)
		if err != nil {
			return "", err
		}
		out.WriteString(resolved)
		value = after
	}
}

// Check reports what is wrong with the form of value's references, without
// resolving them.
func Check(value string) error {
	for {
		_, rest, found := strings.Cut(value, open)
		if !found {
			return nil
		}
		reference, after, closed := strings.Cut(rest, "}")
		if !closed {
			return errors.New("secret reference has no closing brace; write ${file:/path:key}, ${env:NAME} or ${vault:mount/path#key}")
		}
		if _, _, err := split(reference); err != nil {
			return err
		}
		value = after
	}
}

// split takes a reference apart. An unknown kind is not quoted: the text may
// be a password that happens to contain "${".
func split(reference string) (kind, rest string, err error) {
	kind, rest, _ = strings.Cut(reference, ":")
	switch kind {
	case "file", "env":
		if rest == "" {
			return "", "", fmt.Errorf("secret reference ${%s:…} names nothing", kind)
		}
		return kind, rest, nil
	case "vault":
		if _, err := parsePlace(rest); err != nil {
			return "", "", err
		}
		return kind, rest, nil
	default:
		return "", "", errors.New("unknown kind of secret reference; write ${file:/path:key}, ${env:NAME} or ${vault:mount/path#key}, and put a secret that contains \"${\" itself into a file")
	}
}

func (s source) lookUp(reference string) (string, error) {
	kind, rest, err := split(reference)
	if err != nil {
		return "", err
	}
	if kind == "vault" {
		return s.inVault(rest)
	}
	if kind == "env" {
		if err := s.allowed(kind, rest); err != nil {
			return "", err
		}
		value := os.Getenv(rest)
		if value == "" {
			return "", fmt.Errorf("environment variable %s, named by a secret reference, is not set or empty", rest)
		}
		return value, nil
	}
	path, key := rest, ""
	// A key has no slash; a path does. So a colon inside of a path is no key.
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.ContainsAny(rest[i+1:], `/\`) {
		path, key = rest[:i], rest[i+1:]
	}
	if err := s.allowed(kind, path); err != nil {
		return "", err
	}
	text, err := File(path)
	if err != nil {
		return "", err
	}
	if key == "" {
		return text, nil
	}
	value, ok := property(text, key)
	if !ok {
		return "", fmt.Errorf("secret file %s has no value for key %s; lines are key=value", path, key)
	}
	return value, nil
}

// File is the text of a file that holds one secret, without white space around
// it. An empty file is an error.
func File(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("secret file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", fmt.Errorf("secret file: %w", err)
	}
	text := strings.TrimSpace(string(b))
	switch {
	case len(b) > maxFile:
		return "", fmt.Errorf("secret file %s is larger than %d bytes", path, maxFile)
	case text == "":
		return "", fmt.Errorf("secret file %s is empty", path)
	}
	return text, nil
}

// property finds key in a properties text: key=value or key: value by line, #
// and ! comments. Values are taken as they stand, without Java's backslash
// escapes: passwords contain backslashes more often than files contain escapes.
func property(text, key string) (string, bool) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		i := strings.IndexAny(line, "=:")
		if i < 0 || strings.TrimSpace(line[:i]) != key {
			continue
		}
		value := strings.TrimSpace(line[i+1:])
		return value, value != ""
	}
	return "", false
}
