package kube

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Request is who asks something of a place's workloads, and when: the epoch of the
// record that the run knows, and the time of its step by Temporal's clock. Another try
// of a step is the same request.
//
// It keeps a try that comes late from undoing what was asked after it: a worker that
// was cut off in a stop, and goes on when the run has started the workloads again. The
// last request stands on each workload; one before it changes nothing there. It is
// before it only if neither its epoch nor its time is later, so that neither the clock
// of another site's Temporal nor a record that was restored can refuse what is new.
type Request struct {
	Operation string
	Epoch     int64
	At        time.Time
}

func (r Request) text() string {
	return strconv.FormatInt(r.Epoch, 10) + " " + r.At.UTC().Format(time.RFC3339Nano)
}

// late tells whether a later request has been to the workload.
func (r Request) late(w workload) bool {
	last, ok := asked(w)
	return ok && r.At.Before(last.At) && r.Epoch <= last.Epoch
}

// news tells whether the workload does not have the request yet, and is to.
func (r Request) news(w workload) bool {
	last, ok := asked(w)
	return !ok || !r.late(w) && (r.Epoch != last.Epoch || !r.At.Equal(last.At))
}

// asked is the request that a workload had last; what is none counts for nothing.
func asked(w workload) (Request, bool) {
	epoch, at, _ := strings.Cut(w.Annotations[Asked], " ")
	var (
		r         Request
		err, err2 error
	)
	r.Epoch, err = strconv.ParseInt(epoch, 10, 64)
	r.At, err2 = time.Parse(time.RFC3339Nano, at)
	return r, err == nil && err2 == nil
}

// lateFor is what a person reads who waits for a late request.
func (n *Namespace) lateFor(w workload) string {
	last, _ := asked(w)
	return fmt.Sprintf("a run has stopped or started it at epoch %d after this was asked (%s by its Temporal's clock), so it is left as it is; if that is wrong, because a clock was: %s annotate %s %s- , and retry",
		last.Epoch, last.At.Format("2006-01-02 15:04:05.000Z"), n.place.Kubectl(), w.name(), Asked)
}
