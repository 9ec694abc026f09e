package api

import (
	"context"
	"errors"
)

// MirrorVerb is a change of mirrors, as it stands in the path (mirrors:promote).
type MirrorVerb string

// Verbs that this release knows. The contract has three more
// (reverse-and-start-mirror, reverse-and-pause-mirror, truncate-and-restore);
// they are answered with the reason why not.
const (
	VerbPromote  MirrorVerb = "promote"
	VerbFailover MirrorVerb = "failover"
	VerbPause    MirrorVerb = "pause"
	VerbResume   MirrorVerb = "resume"
)

// Kind is the list kind of the verb's answer, empty for an unknown verb.
func (v MirrorVerb) Kind() string {
	switch v {
	case VerbPromote:
		return KindPromote
	case VerbFailover:
		return KindFailover
	case VerbPause:
		return KindPause
	case VerbResume:
		return KindResume
	default:
		return ""
	}
}

// AllLinks in place of a link's name lists the mirrors of all links.
const AllLinks = "-"

// MirrorStatuses are the contract's twelve mirror statuses, in its order. No
// other value may be sent: one unknown value fails a client's whole list call.
func MirrorStatuses() []string {
	return []string{
		"ACTIVE", "FAILED", "LINK_FAILED", "LINK_PAUSED", "PAUSED", "PENDING_STOPPED",
		"SOURCE_UNAVAILABLE", "STOPPED", "PENDING_MIRROR", "PENDING_SYNCHRONIZE",
		"PENDING_SETUP_FOR_RESTORE", "PENDING_RESTORE",
	}
}

type operationKey struct{}

// WithOperation puts the calling operation's token into ctx; the REST server
// does so from the request's headers.
func WithOperation(ctx context.Context, op Operation) context.Context {
	return context.WithValue(ctx, operationKey{}, op)
}

// OperationFrom is the calling operation's token; false for a call that names
// none (an operator by hand).
func OperationFrom(ctx context.Context) (Operation, bool) {
	op, ok := ctx.Value(operationKey{}).(Operation)
	return op, ok
}

func asError(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}
