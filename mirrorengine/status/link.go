package status

import "fmt"

// LinkState is where a cluster link stands. The contract also has UNKNOWN, which
// the engine never says. The zero value is no state.
type LinkState uint8

// The link states of the contract.
const (
	LinkStateActive      LinkState = iota + 1
	LinkStateUnavailable           // the source is not reachable; goes back by itself
	LinkStateFailed                // credentials or configuration: somebody has to act
	LinkStatePaused                // cluster.link.paused
)

// String is the word on the wire.
func (l LinkState) String() string {
	switch l {
	case LinkStateActive:
		return "ACTIVE"
	case LinkStateUnavailable:
		return "UNAVAILABLE"
	case LinkStateFailed:
		return "FAILED"
	case LinkStatePaused:
		return "PAUSED"
	}
	return fmt.Sprintf("link state(%d)", uint8(l))
}

// NextLink is the link's own table, over the events that speak of link and
// source:
//
//	ACTIVE ◀── source-found ── UNAVAILABLE     link-paused: from all to PAUSED,
//	       ── source-lost ──▶                  out of which only link-resumed leads,
//	       ── link-failed ──▶  FAILED          to ACTIVE
//	       ◀── link-recovered ──
//
// Facts that do not matter in a state change nothing. After link-resumed the
// facts that were passed over while the link was paused must be told again.
func NextLink(from LinkState, e Event) (LinkState, error) {
	if from < LinkStateActive || from > LinkStatePaused {
		return from, fmt.Errorf("%v is not a link state", from)
	}
	switch e {
	case LinkIsPaused:
		return LinkStatePaused, nil
	case LinkIsResumed:
		return when(from, LinkStateActive, LinkStatePaused), nil
	case SourceLost:
		return when(from, LinkStateUnavailable, LinkStateActive), nil
	case SourceFound:
		return when(from, LinkStateActive, LinkStateUnavailable), nil
	case LinkHasFailed:
		return when(from, LinkStateFailed, LinkStateActive, LinkStateUnavailable), nil
	case LinkRecovered:
		return when(from, LinkStateActive, LinkStateFailed), nil
	default:
		return from, fmt.Errorf("%v is an event of a mirror and not of a link", e)
	}
}

// when is to if from is one of those, else from.
func when(from, to LinkState, those ...LinkState) LinkState {
	for _, l := range those {
		if from == l {
			return to
		}
	}
	return from
}

// Facts are the events that tell a mirror, which has just become ACTIVE, where
// its link stands.
func (l LinkState) Facts() []Event {
	switch l {
	case LinkStatePaused:
		return []Event{LinkIsPaused}
	case LinkStateFailed:
		return []Event{LinkHasFailed}
	case LinkStateUnavailable:
		return []Event{SourceLost}
	case LinkStateActive:
	}
	return nil
}
