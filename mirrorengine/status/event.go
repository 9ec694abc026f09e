package status

import "fmt"

// Event is what happened to a mirror topic or was asked of it. Events are of
// three kinds: wishes, which may be refused; facts about link and source, which
// may come at any time and change nothing where they do not matter; and steps
// that the engine reports of its own work, which in the wrong place are a fault
// of the engine. The zero value is no event.
type Event uint8

// kind of an event, by the number of the first event of that kind.
type kind uint8

const (
	wish kind = 1
	fact kind = 21
	step kind = 41
)

func (e Event) kind() kind {
	switch {
	case e >= Event(step):
		return step
	case e >= Event(fact):
		return fact
	}
	return wish
}

// Wishes.
const (
	Created           Event = Event(wish) + iota // a mirror is to be made
	Rejoined                                     // a mirror is to be started over a topic that exists, from recorded stop offsets
	Pause                                        // this mirror only
	Resume                                       // this mirror only
	PromoteRequested                             // drain to lag 0, then stop
	FailoverRequested                            // stop now
	Deleted                                      // the mirror is forgotten; the topic may stay
)

// Facts.
const (
	LinkIsPaused  Event = Event(fact) + iota // the link's cluster.link.paused became true
	LinkIsResumed                            // … or false
	SourceLost                               // not reachable for as long as the link's settings allow
	SourceFound                              // reachable again
	LinkHasFailed                            // credentials or configuration; retrying does not help
	LinkRecovered                            // the fault of the link is mended
	Fault                                    // this mirror cannot go on: its mirror_topic_error is set
)

// Steps.
const (
	Activated                Event = iota + 41 // topic, guard and first segment are there
	ActivatedPaused                            // the same, to be left paused
	Drained                                    // promote: lag 0 on every partition
	StopFinished                               // our writer is fenced and the stop offsets are recorded
	StopGivenUp                                // promote timed out or the stop was revoked: back to ACTIVE
	StopGivenUpPaused                          // revoked: back to PAUSED
	StopGivenUpLinkPaused                      // revoked: back to LINK_PAUSED
	StopGivenUpSourceLost                      // revoked: back to SOURCE_UNAVAILABLE
	StopGivenUpFailed                          // revoked: back to FAILED
	StopGivenUpLinkFailed                      // revoked: back to LINK_FAILED
	StopGivenUpPendingMirror                   // revoked: back to PENDING_MIRROR
)

// Events lists all events.
func Events() []Event {
	return []Event{
		Created, Rejoined, Pause, Resume, PromoteRequested, FailoverRequested, Deleted,
		LinkIsPaused, LinkIsResumed, SourceLost, SourceFound, LinkHasFailed, LinkRecovered, Fault,
		Activated, ActivatedPaused, Drained, StopFinished, StopGivenUp, StopGivenUpPaused, StopGivenUpLinkPaused,
		StopGivenUpSourceLost, StopGivenUpFailed, StopGivenUpLinkFailed, StopGivenUpPendingMirror,
	}
}

// String is a short name for logs.
func (e Event) String() string {
	switch e {
	case Created:
		return "created"
	case Rejoined:
		return "rejoined"
	case Pause:
		return "pause"
	case Resume:
		return "resume"
	case PromoteRequested:
		return "promote"
	case FailoverRequested:
		return "failover"
	case Deleted:
		return "deleted"
	case LinkIsPaused:
		return "link-paused"
	case LinkIsResumed:
		return "link-resumed"
	case SourceLost:
		return "source-lost"
	case SourceFound:
		return "source-found"
	case LinkHasFailed:
		return "link-failed"
	case LinkRecovered:
		return "link-recovered"
	case Fault:
		return "failed"
	case Activated:
		return "activated"
	case ActivatedPaused:
		return "activated-paused"
	case Drained:
		return "drained"
	case StopFinished:
		return "stopped"
	case StopGivenUp:
		return "stop-given-up"
	case StopGivenUpPaused:
		return "stop-given-up-paused"
	case StopGivenUpLinkPaused:
		return "stop-given-up-link-paused"
	case StopGivenUpSourceLost:
		return "stop-given-up-source-lost"
	case StopGivenUpFailed:
		return "stop-given-up-failed"
	case StopGivenUpLinkFailed:
		return "stop-given-up-link-failed"
	case StopGivenUpPendingMirror:
		return "stop-given-up-pending-mirror"
	}
	return fmt.Sprintf("event(%d)", uint8(e))
}

// GiveUp is the event that takes a stop back, for a mirror that was in before
// when the stop was asked for. PENDING_STOPPED does not remember that; the
// mirror's record must. A promote is only ever asked of an ACTIVE mirror.
func GiveUp(before Status) (Event, error) {
	switch before {
	case Active:
		return StopGivenUp, nil
	case Paused:
		return StopGivenUpPaused, nil
	case LinkPaused:
		return StopGivenUpLinkPaused, nil
	case SourceUnavailable:
		return StopGivenUpSourceLost, nil
	case Failed:
		return StopGivenUpFailed, nil
	case LinkFailed:
		return StopGivenUpLinkFailed, nil
	case PendingMirror:
		return StopGivenUpPendingMirror, nil
	case None, PendingStopped, Stopped, PendingSynchronize, PendingSetupForRestore, PendingRestore:
	}
	return 0, fmt.Errorf("take back a stop: the mirror was %v before, from where none begins", before)
}
