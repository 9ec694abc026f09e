package status

import "fmt"

// reason is why an event was refused.
type reason uint8

const (
	allowed reason = iota
	impossible
	noMirror
	exists
	hasStopped
	stopping
	starting
	restoring
	hasFailed
	paused
	linkPaused
	linkFailed
	sourceLost
)

// Refusal is an event that the mirror's status does not allow.
type Refusal struct {
	From  Status
	Event Event
	why   reason
}

// Error names the event and the status; the table knows no topic. For an
// operator use Text.
func (r *Refusal) Error() string {
	return fmt.Sprintf("%v refused in mirror status %v: %s", r.Event, r.From, r.cause("the topic", "its link"))
}

// Text is what an operator reads: what stands in the way of the wish, and what
// to do. The sentence for a stopped mirror is the contract's.
func (r *Refusal) Text(topic, link string) string {
	return r.cause("Topic '"+topic+"'", "'"+link+"'")
}

// Stopped says that the mirror had been stopped already, which to somebody who
// wants it stopped is no harm.
func (r *Refusal) Stopped() bool { return r.why == hasStopped }

// Fault says that the engine reported a step of its own work in a status where
// it cannot be: a fault of the engine and not of the caller.
func (r *Refusal) Fault() bool { return r.why == impossible }

func (r *Refusal) cause(topic, link string) string {
	switch r.why {
	case noMirror:
		return fmt.Sprintf("%s has no mirror from %s", topic, link)
	case exists:
		return fmt.Sprintf("%s already has a mirror from %s, in status %v", topic, link, r.From)
	case hasStopped:
		return fmt.Sprintf("%s has already stopped its mirror from %s", topic, link)
	case stopping:
		if r.Event == PromoteRequested {
			return fmt.Sprintf("%s is already stopping its mirror from %s: wait for STOPPED, or failover to stop without the rest of the source's records", topic, link)
		}
		return fmt.Sprintf("%s is stopping its mirror from %s: wait for STOPPED", topic, link)
	case starting:
		return fmt.Sprintf("%s is not yet mirrored from %s: wait until the mirror is ACTIVE", topic, link)
	case restoring:
		return fmt.Sprintf("%s is being turned round or restored from %s (%v): nothing but deletion is possible until that has ended", topic, link, r.From)
	case hasFailed:
		if r.Event == PromoteRequested {
			return fmt.Sprintf("the mirror of %s from %s has failed and cannot drain: see its mirror_topic_error, then failover to make it writable as it is", topic, link)
		}
		return fmt.Sprintf("the mirror of %s from %s has failed: see its mirror_topic_error, then failover or delete it", topic, link)
	case paused:
		return fmt.Sprintf("the mirror of %s from %s is paused and cannot drain: resume it first, or failover", topic, link)
	case linkPaused:
		if r.Event == PromoteRequested {
			return fmt.Sprintf("the link %s of %s is paused and cannot drain: set cluster.link.paused to false first, or failover", link, topic)
		}
		return fmt.Sprintf("the link %s of %s is paused as a whole: set cluster.link.paused to false", link, topic)
	case linkFailed:
		if r.Event == PromoteRequested {
			return fmt.Sprintf("the link %s of %s has failed and cannot drain: see its link_error, or failover", link, topic)
		}
		return fmt.Sprintf("the link %s of %s has failed: see its link_error", link, topic)
	case sourceLost:
		return fmt.Sprintf("the source of %s over %s cannot be reached, and promote needs it: failover stops without it", topic, link)
	case allowed, impossible:
	}
	return fmt.Sprintf("the engine reported %q for %s from %s in status %v, where that cannot be: this is a fault of the engine", r.Event.String(), topic, link, r.From)
}
