package client

import (
	"context"
	"log/slog"
	"time"
)

// Acknowledger writes acknowledgements from a goroutine of its own, so that a Consul that hangs never delays a stop or a start.
// The newest one counts; it is written again until it is taken or superseded.
type Acknowledger struct {
	write func(context.Context, Ack) error
	log   *slog.Logger
	in    chan Ack
	last  Ack // only the caller of Say
}

// NewAcknowledger makes one that writes with write, as a rule Watcher.Acknowledge. It writes nothing before Run.
func NewAcknowledger(write func(context.Context, Ack) error, log *slog.Logger) *Acknowledger {
	return &Acknowledger{write: write, log: log, in: make(chan Ack, 1)}
}

// Say hands a over unless it says what the one before said. It does not wait; one caller at a time.
func (s *Acknowledger) Say(a Ack) {
	same := a
	same.At = s.last.At
	if same == s.last {
		return
	}
	a.At = time.Now()
	s.last = a
	select {
	case <-s.in: // superseded before it was written
	default:
	}
	s.in <- a
}

// Run writes what is said until ctx ends.
func (s *Acknowledger) Run(ctx context.Context) {
	const retry = time.Second
	var open *Ack
	told := "" // the last problem: a Consul may be away for hours
	for {
		var again <-chan time.Time
		var t *time.Timer
		if open != nil {
			t = time.NewTimer(retry)
			again = t.C
		}
		select {
		case <-ctx.Done():
		case a := <-s.in:
			open = &a
		case <-again:
		}
		if t != nil {
			t.Stop()
		}
		if ctx.Err() != nil {
			return
		}
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := s.write(try, *open)
		cancel()
		switch {
		case err == nil:
			open, told = nil, ""
		case ctx.Err() == nil && err.Error() != told:
			told = err.Error()
			s.log.Warn("acknowledgement not written, will try again", "epoch", open.Epoch, "state", open.State, "err", err)
		}
	}
}
