package supervise

import (
	"context"
	"log/slog"
	"time"

	"github.com/drawbridge-dr/drawbridge/client"
)

// ackFunc writes one acknowledgement (client.Watcher.Acknowledge).
type ackFunc func(context.Context, client.Ack) error

// acks writes acknowledgements from a goroutine of its own, so that a Consul that hangs never delays the stop or start of
// the child. The newest one counts; it is written again until it is taken or superseded.
type acks struct {
	write ackFunc
	log   *slog.Logger
	in    chan client.Ack
	last  client.Ack // only the caller of say
}

func newAcks(write ackFunc, log *slog.Logger) *acks {
	return &acks{write: write, log: log, in: make(chan client.Ack, 1)}
}

// say hands a over unless it says what the one before said. One caller at a time.
func (s *acks) say(a client.Ack) {
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

func (s *acks) run(ctx context.Context) {
	const retry = time.Second
	var open *client.Ack
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
		if err == nil {
			open = nil
		} else if ctx.Err() == nil {
			s.log.Warn("acknowledgement not written, will try again", "epoch", open.Epoch, "state", open.State, "err", err)
		}
	}
}
