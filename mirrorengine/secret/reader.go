package secret

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Reader resolves references with a Vault beside files and variables. The zero
// Reader has none. It reaches all that the process reaches.
type Reader struct {
	Vault *Vault // nil: none
}

// Resolve is the package's Resolve, with the Vault.
func (r Reader) Resolve(value string) (string, error) {
	return resolve(value, source{vault: r.Vault})
}

// Seen is what a look at a secret tells without the secret.
type Seen struct {
	// Expires is when it ends, as far as it tells; zero: it does not.
	Expires time.Time
	// Aged is why the value is one that was read before: its Vault does not serve.
	Aged error
}

// Look resolves value and tells what else is known of its secrets: the worst of
// them, if there are several.
func (r Reader) Look(value string) (Seen, error) {
	var seen Seen
	_, err := resolve(value, source{vault: r.Vault, seen: func(h held, err error) {
		if !h.expires.IsZero() && (seen.Expires.IsZero() || h.expires.Before(seen.Expires)) {
			seen.Expires = h.expires
		}
		if err != nil {
			seen.Aged = err
		}
	}})
	return seen, err
}

// source is where references lead, and which of them may be followed.
type source struct {
	allows func(kind, name string) error // nil: all
	vault  *Vault
	seen   func(held, error) // of secrets in a Vault; nil: nobody asks
}

func (s source) allowed(kind, name string) error {
	if s.allows == nil {
		return nil
	}
	return s.allows(kind, name)
}

func (s source) inVault(rest string) (string, error) {
	p, err := parsePlace(rest)
	if err == nil {
		err = s.allowed("vault", p.mount+"/"+p.path)
	}
	if err != nil {
		return "", err
	}
	text, h, err := s.vault.value(p)
	if s.seen != nil && h.data != nil {
		s.seen(h, err)
	}
	if errors.Is(err, ErrUnavailable) && text != "" {
		err = nil // as it was read before
	}
	return text, err
}

// underPaths tells whether a mount's path is one of those, or lies below.
func underPaths(name string, paths []string) error {
	if slices.ContainsFunc(paths, func(p string) bool {
		p = strings.Trim(strings.Replace(p, "//", "/", 1), "/")
		return p != "" && (name == p || strings.HasPrefix(name, p+"/"))
	}) {
		return nil
	}
	return fmt.Errorf("vault path %s may not be used by links; add it to secrets.vault of the engine's configuration", name)
}
