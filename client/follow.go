package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

// Work is what an application does at one site. It opens its Kafka client with place.Bootstrap and the credentials that
// place.SecurityRef names, and works until ctx ends; then it finishes what it has begun (flushes what it produced, commits what
// it has dealt with), closes its Kafka client and returns. A freeze waits for that, so it should take seconds.
type Work func(ctx context.Context, place record.Place) error

// hanging is how long a Work may go on after its context has ended before the log says so.
const hanging = 30 * time.Second

// Follow runs work where the record says that group belongs, one at a time, and nowhere while the pair is frozen or the group
// waits for its wave of a move. Each stop
// is acknowledged after work has returned, each start as it begins. Which site, and what restarts it, is as for `drctl exec`:
// a record that leaves the group's place alone does not disturb it.
//
// Follow returns when ctx ends, with what work said last, or when work returns by itself, with its error: whether to try again
// is the application's decision. A producer without a group gives its own name; instance names this process among the
// group's. It takes the place of Watch.
func (w *Watcher) Follow(ctx context.Context, group, instance string, work Work) error {
	f := follower{Watcher: w, group: group, instance: instance, work: work}
	if err := f.says(Stopped).Validate(); err != nil {
		return fmt.Errorf("follow the record of truth: %w", err)
	}
	watching, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	f.acks = NewAcknowledger(w.Acknowledge, w.cfg.Log)
	wg.Go(func() { f.acks.Run(watching) })
	updates := w.Watch(watching)
	err := f.run(ctx, updates)
	cancel()
	for range updates { // closed when nothing of the watcher runs any more
	}
	wg.Wait()
	bye, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer done()
	if withdrawErr := w.Withdraw(bye, group, instance); withdrawErr != nil {
		w.cfg.Log.Warn("acknowledgement left behind", "group", group, "err", withdrawErr)
	}
	return err
}

// follower is one Follow; only its goroutine touches it.
type follower struct {
	*Watcher
	group, instance string
	work            Work
	acks            *Acknowledger

	record  record.Record // the newest
	running *session      // nil: nothing works
}

// session is one call of Work.
type session struct {
	place record.Place
	stop  context.CancelFunc
	ended chan error // gets one value
}

func (f *follower) run(ctx context.Context, updates <-chan Update) error {
	for {
		var ended chan error
		if f.running != nil {
			ended = f.running.ended
		}
		select {
		case u, ok := <-updates:
			if !ok {
				return f.halt() // ctx has ended
			}
			if err := f.take(ctx, u.Record); err != nil {
				return err
			}
		case err := <-ended:
			f.running.stop()
			if ctx.Err() != nil && errors.Is(err, context.Canceled) {
				return nil // it was asked to, and says so
			}
			return err
		}
	}
}

// take brings what runs to what the record asks. The error is that of a work that was stopped: one that could not finish its
// business must not be started elsewhere as if it had.
func (f *follower) take(ctx context.Context, r record.Record) error {
	place, err := r.SiteFor(f.group)
	if err != nil {
		f.cfg.Log.Error("record names no servers for this group; what runs goes on as it is", "group", f.group, "err", err)
		return nil
	}
	f.record = r
	if f.running != nil && (r.Phase == record.Frozen || !samePlace(f.running.place, place)) {
		if err := f.halt(); err != nil {
			return err
		}
		f.acks.Say(f.says(Stopped))
	}
	if f.running == nil && !r.MayStart(f.group) {
		f.acks.Say(f.says(Stopped))
		return nil
	}
	if f.running == nil {
		f.begin(ctx, place)
	}
	f.acks.Say(f.says(Running))
	return nil
}

func (f *follower) begin(ctx context.Context, place record.Place) {
	working, stop := context.WithCancel(ctx)
	s := &session{place: place, stop: stop, ended: make(chan error, 1)}
	f.running = s
	f.cfg.Log.Info("working", "group", f.group, "site", place.Site, "epoch", f.record.Epoch)
	go func() { s.ended <- f.work(working, place) }()
}

// halt ends what runs and waits for it.
func (f *follower) halt() error {
	s := f.running
	if s == nil {
		return nil
	}
	s.stop()
	late := time.NewTicker(hanging)
	defer late.Stop()
	for {
		select {
		case err := <-s.ended:
			f.running = nil
			if err != nil && !errors.Is(err, context.Canceled) {
				return fmt.Errorf("group %s at site %s, asked to stop: %w", f.group, s.place.Site, err)
			}
			return nil
		case <-late.C:
			f.cfg.Log.Warn("the application was asked to stop and still works; a freeze waits for it and will be undone", "group", f.group, "site", s.place.Site)
		}
	}
}

// says is what this instance acknowledges now.
func (f *follower) says(state AckState) Ack {
	a := Ack{Pair: f.cfg.Pair, Group: f.group, Instance: f.instance, Epoch: f.record.Epoch, Phase: f.record.Phase, State: state}
	if f.running != nil && state == Running {
		a.Site = f.running.place.Site
	}
	return a
}

// samePlace: what a client was started with is what it knows.
func samePlace(a, b record.Place) bool {
	return a.Site == b.Site && a.SecurityRef == b.SecurityRef && slices.Equal(a.Bootstrap, b.Bootstrap)
}
