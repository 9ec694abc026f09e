package activities

import (
	"errors"
	"fmt"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
)

// secretError is a secret that cannot be read; it never contains one. A Vault that
// does not serve is none: another try may help.
type secretError struct{ text string }

func (e *secretError) Error() string { return e.text }

func badSecret(format string, args ...any) error {
	return &secretError{fmt.Sprintf(format, args...)}
}

// resolve reads what a plan's reference names, now; no reference is no secret. A
// plan holds references only, so that anything else is a mistake.
func (a *Activities) resolve(reference string) (string, error) {
	if reference == "" {
		return "", nil
	}
	if !secret.Referenced(reference) {
		return "", badSecret("a secret of the plan is no reference: write ${file:/path}, ${env:NAME} or ${vault:mount/path#key}")
	}
	text, err := a.opts.Secrets.Resolve(reference)
	return text, unread(err)
}

// secretFile is a file that holds one secret, without white space around it;
// no path is no secret.
func secretFile(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := secret.File(path)
	return text, unread(err)
}

func unread(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, secret.ErrUnavailable):
		return fmt.Errorf("a secret of the plan: %w", err)
	}
	return badSecret("a secret of the plan: %v", err)
}
