package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client"
	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// application is one Follow whose work writes down where it began and ended.
type application struct {
	t      *testing.T
	consul *local.Consul
	ended  chan error
	cancel context.CancelFunc
	atStop func() error // what work does when it is asked to stop
	by     chan error   // work returns by itself, with this

	mu  sync.Mutex // guards the field below
	did []string
}

func newApplication(t *testing.T, consul *local.Consul, atStop func() error) *application {
	t.Helper()
	w, err := client.New(client.Config{
		Pair: pair, Consuls: []client.Consul{agent(consul, "")}, StateDir: t.TempDir(), Wait: 2 * time.Second, MaxBackOff: 200 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	a := &application{t: t, consul: consul, ended: make(chan error, 1), atStop: atStop, by: make(chan error)}
	ctx, cancel := context.WithCancel(t.Context())
	a.cancel = cancel
	over := make(chan struct{})
	go func() {
		defer close(over)
		a.ended <- w.Follow(ctx, "billing", "i1", a.work)
	}()
	t.Cleanup(func() { cancel(); <-over })
	return a
}

func (a *application) work(ctx context.Context, place record.Place) error {
	a.note("at " + place.Site + " " + strings.Join(place.Bootstrap, ","))
	select {
	case <-ctx.Done():
	case err := <-a.by:
		return err
	}
	var err error
	if a.atStop != nil {
		err = a.atStop()
	}
	a.note("left " + place.Site)
	return err
}

func (a *application) note(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.did = append(a.did, what)
}

func (a *application) until(what string, cond func() error) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 2*time.Minute)
	defer cancel()
	if err := local.WaitFor(ctx, what, func(context.Context) error { return cond() }); err != nil {
		a.t.Fatal(err)
	}
}

func (a *application) untilDid(want ...string) {
	a.t.Helper()
	a.until(fmt.Sprintf("the work to do %q", want), func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if !slices.Equal(a.did, want) {
			return fmt.Errorf("it did %q", a.did)
		}
		return nil
	})
}

// acked is what Consul holds of the instance, nil for nothing.
func (a *application) acked() *client.Ack {
	a.t.Helper()
	cl, err := a.consul.Client()
	if err != nil {
		a.t.Fatal(err)
	}
	kv, _, err := cl.KV().Get(client.AckKey(pair, "billing", "i1"), nil)
	if err != nil {
		a.t.Fatal(err)
	}
	if kv == nil {
		return nil
	}
	var ack client.Ack
	if err := json.Unmarshal(kv.Value, &ack); err != nil {
		a.t.Fatal(err)
	}
	return &ack
}

func (a *application) untilAck(state client.AckState, epoch int64, phase record.Phase, site string) {
	a.t.Helper()
	a.until(fmt.Sprintf("ack %s %d %s", state, epoch, phase), func() error {
		ack := a.acked()
		if ack == nil || ack.State != state || ack.Epoch != epoch || ack.Phase != phase || ack.Site != site {
			return fmt.Errorf("found %+v", ack)
		}
		return nil
	})
}

func (a *application) ends() error {
	a.t.Helper()
	select {
	case err := <-a.ended:
		return err
	case <-time.After(2 * time.Minute):
		a.t.Fatal("it still follows")
		return nil
	}
}

func TestAnApplicationWorksWhereTheRecordSaysAndNowhereWhileFrozen(t *testing.T) {
	consul := local.ConsulForTest(t, local.ConsulConfig{})
	flushing := make(chan struct{})
	a := newApplication(t, consul, func() error { <-flushing; return nil })
	put(t, consul, rec(1, "east"))
	east, west := rec(1, "east").Bootstrap["east"], rec(1, "east").Bootstrap["west"]
	want := []string{"at east " + strings.Join(east, ",")}
	a.untilDid(want...)
	a.untilAck(client.Running, 1, record.Open, "east")

	// What leaves its place alone does not disturb it.
	put(t, consul, rec(1, "east", func(r *record.Record) { r.Phase = record.Moving }))
	a.untilAck(client.Running, 1, record.Moving, "east")
	a.untilDid(want...)

	put(t, consul, rec(1, "east", func(r *record.Record) { r.Phase = record.Frozen }))
	a.until("the freeze to be in use, and the work to flush", func() error {
		select {
		case flushing <- struct{}{}:
			return nil
		default:
			// Not stopped yet: it must not have said so either.
			if ack := a.acked(); ack.State == client.Stopped {
				a.t.Error("it said stopped while the work had not returned")
			}
			return errors.New("not asked to stop")
		}
	})
	close(flushing)
	want = append(want, "left east")
	a.untilDid(want...)
	a.untilAck(client.Stopped, 1, record.Frozen, "")
	put(t, consul, rec(2, "west", func(r *record.Record) { r.Phase = record.Frozen }))
	a.untilAck(client.Stopped, 2, record.Frozen, "")
	put(t, consul, rec(2, "west"))
	want = append(want, "at west "+strings.Join(west, ","))
	a.untilDid(want...)
	a.untilAck(client.Running, 2, record.Open, "west")

	// Sent home in a later wave: it stops, and starts when it has its turn.
	wait := func(r *record.Record) { r.Waits = []string{"billing"} }
	put(t, consul, rec(3, "east", wait))
	want = append(want, "left west")
	a.untilAck(client.Stopped, 3, record.Open, "")
	a.untilDid(want...)
	put(t, consul, rec(3, "east"))
	want = append(want, "at east "+strings.Join(east, ","))
	a.untilAck(client.Running, 3, record.Open, "east")
	put(t, consul, rec(3, "east", wait, func(r *record.Record) { r.Phase = record.Moving })) // a copy that is behind
	a.untilAck(client.Running, 3, record.Moving, "east")
	a.untilDid(want...)
	put(t, consul, rec(4, "west"))
	want = append(want, "left east", "at west "+strings.Join(west, ","))
	a.untilDid(want...)

	// An epoch that goes back is nothing to it; a group that is placed elsewhere moves.
	put(t, consul, rec(1, "east"))
	put(t, consul, rec(5, "west", func(r *record.Record) { r.Groups = map[string]record.Group{"billing": {Site: "east"}} }))
	want = append(want, "left west", "at east "+strings.Join(east, ","))
	a.untilDid(want...)

	a.cancel()
	if err := a.ends(); err != nil {
		t.Error(err)
	}
	a.untilDid(append(want, "left east")...)
	if ack := a.acked(); ack != nil {
		t.Errorf("the acknowledgement of an ended instance is left: %+v", ack)
	}
}

func TestFollowEndsWithWhatTheWorkSays(t *testing.T) {
	consul := local.ConsulForTest(t, local.ConsulConfig{})
	put(t, consul, rec(1, "east"))
	broken := errors.New("its disk is full")

	a := newApplication(t, consul, nil)
	a.untilAck(client.Running, 1, record.Open, "east")
	a.by <- broken
	if err := a.ends(); !errors.Is(err, broken) {
		t.Errorf("it ended with %v", err)
	}

	// One that could not finish its business is not started elsewhere as if it had.
	a = newApplication(t, consul, func() error { return broken })
	a.untilAck(client.Running, 1, record.Open, "east")
	put(t, consul, rec(2, "west"))
	if err := a.ends(); !errors.Is(err, broken) || !strings.Contains(err.Error(), "group billing at site east") {
		t.Errorf("it ended with %v", err)
	}
	if ack := a.acked(); ack != nil {
		t.Errorf("left behind: %+v", ack)
	}

	// One that says that it was asked to end has ended well, whichever of the two is noticed first.
	for range 5 {
		a = newApplication(t, consul, func() error { return context.Canceled })
		a.untilAck(client.Running, 2, record.Open, "west")
		a.cancel()
		if err := a.ends(); err != nil {
			t.Errorf("it ended with %v", err)
		}
	}

	w, err := client.New(client.Config{Pair: pair, Consuls: []client.Consul{agent(consul, "")}, StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Follow(t.Context(), "bill/ing", "", nil); err == nil || !strings.Contains(err.Error(), "group") || !strings.Contains(err.Error(), "instance") {
		t.Errorf("a name that is no part of a key: %v", err)
	}
}
