package link

import (
	"fmt"
	"time"
)

// A tail is read back batch by batch: our last one stands at the log's end, but for a few
// markers. Where others have written, or the cleaner took what stood there, a block is read
// at a time, twice as far back as before; half as far where it does not fit into an answer.

// tailWalk is how far the reading of a tail has come where there is much to read.
type tailWalk struct {
	step  int64     // how far before at to begin
	until time.Time // a walk stops here, to go on in a later try; zero: it does not
}

// passed is a part of the log that holds no data of ours, but perhaps markers. It stays so:
// what is appended comes behind it.
type passed struct {
	from, to int64
	epoch    int16
	markerID int64
}

// from is the offset to ask for.
func (r *tailReader) from() int64 { return max(r.at-r.step, r.t.start, r.first) }

// take goes back over what was brought and tells whether the tail is read.
func (r *tailReader) take(res back) (bool, error) {
	switch {
	case res.err != nil:
		return false, res.err
	case res.crowded:
		r.limit = min(r.limit*16, tailBytes)
		return false, nil
	}
	low, foreign := r.from(), int64(-1)
	if n := len(res.batches); n > 0 && res.batches[n-1].LastOffset() < r.at-1 {
		r.step /= 2 // the block does not fit
		return false, nil
	}
	seen := passed{epoch: -1, markerID: -1}
	empty := true
	for _, b := range res.batches {
		if b.BaseOffset() >= r.at {
			break // behind a hole, read before
		}
		empty = false
		low = min(low, b.BaseOffset())
		switch {
		case b.IsControl():
			if r.own[b.ProducerID()] && b.ProducerEpoch() > seen.epoch {
				seen.epoch, seen.markerID = b.ProducerEpoch(), b.ProducerID()
			}
		case r.own[b.ProducerID()]:
			r.t.last, r.t.ours = b.Header(), true // not the answer that it came in
			seen, foreign = passed{epoch: -1, markerID: -1}, -1
		default:
			foreign = b.BaseOffset()
		}
	}
	r.markers(seen)
	switch {
	case foreign >= 0 && !r.tolerant:
		return false, r.p.foreign(foreign, r.t.end)
	case r.t.ours:
		r.at = r.t.last.LastOffset() + 1
	default:
		r.at = low
	}
	if foreign >= 0 || empty {
		r.step *= 2
		r.limit = max(r.limit, tailBytesWalk)
	}
	r.goOn()
	return r.t.ours || r.done(), nil
}

// markers takes over the markers of a part of the log that stands before what was read.
func (r *tailReader) markers(seen passed) {
	if seen.epoch >= 0 && seen.epoch >= r.t.epoch {
		r.t.epoch, r.t.markerID = seen.epoch, seen.markerID
	}
}

// goOn passes over what a reading before has passed, and notes for the next one what
// this one has.
func (r *tailReader) goOn() {
	if !r.tolerant {
		return
	}
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	known := &r.p.passed
	if !r.t.ours && known.from < r.at && r.at <= known.to && known.to <= r.t.end {
		r.markers(*known)
		r.at = known.from
	}
	// What this one has passed may not have come down to what is known.
	if r.step > 1 && (r.t.ours || r.at <= known.from || known.to == 0 || known.to > r.t.end) {
		*known = passed{r.at, r.t.end, r.t.epoch, r.t.markerID}
	}
}

// late tells whether the reading is to be left to a later try.
func (r *tailReader) late() bool { return !r.until.IsZero() && time.Now().After(r.until) }

func (r *tailReader) unread() error {
	return fmt.Errorf("what others wrote into the mirror, or a cleaner left of it, is being read back for our last batch: from offset %d to %d so far, a later try goes on there", r.t.end, r.at)
}
