package link

import (
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// rightError is a refusal by an authorizer, with the entry that is missing. What
// each principal needs, and for what, is in ARCHITECTURE.md.
type rightError struct {
	err       error
	side      string // whose authorizer it was
	principal string // empty if it is not known
	operation string
	kind      string
	name      string
}

func (e *rightError) Unwrap() error { return e.err }

// Error names the cure.
func (e *rightError) Error() string {
	if errors.Is(e.err, kerr.SecurityDisabled) {
		return fmt.Sprintf("%v: %s has no authorizer: set authorizer.class.name on its brokers, or set acl.sync.enable to false", e.err, e.side)
	}
	who, what, option := e.principal, e.kind, "--cluster"
	if who == "" {
		who = "User:<its principal>"
	}
	if e.kind != resourceCluster {
		what = e.kind + " " + e.name
		option = "--" + strings.ToLower(strings.ReplaceAll(e.kind, "_", "-")) + " " + e.name
	}
	return fmt.Sprintf("%v: %s needs %s on %s of %s: kafka-acls --bootstrap-server … --add --allow-principal %s --operation %s %s",
		e.err, who, e.operation, what, e.side, who, camel(e.operation), option)
}

// camel spells an operation as kafka-acls does.
func camel(operation string) string {
	var b strings.Builder
	for _, w := range strings.Split(operation, "_") {
		b.WriteString(w[:1] + strings.ToLower(w[1:]))
	}
	return b.String()
}

func lacksRight(err error) bool {
	for _, e := range []error{
		kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed, kerr.SecurityDisabled,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// lacking adds to a refusal of this cluster's authorizer which entry is missing;
// other errors, and those that say so already, stay as they are.
func (m *Manager) lacking(err error, operation, kind, name string) error {
	if !lacksRight(err) {
		return err
	}
	return withRight(err, "this cluster", m.opts.Principal, operation, kind, name)
}

// lacking is the same for the source's authorizer.
func (l *Link) lacking(err error, operation, kind, name string) error {
	if !lacksRight(err) {
		return err
	}
	return withRight(err, "the source cluster", l.login(), operation, kind, name)
}

func withRight(err error, side, principal, operation, kind, name string) error {
	var told *rightError
	if !lacksRight(err) || errors.As(err, &told) {
		return err
	}
	return &rightError{err, side, principal, operation, kind, name}
}
