package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

// AckState is what an instance says of itself.
type AckState string

// Ack states.
const (
	Stopped AckState = "stopped" // nothing of this instance works at any site
	Running AckState = "running" // it was started for Site
)

// Ack says that an instance has acted on a record. A runbook takes it as a hint, not as proof: that is Kafka's evidence.
type Ack struct {
	Pair     string       `json:"pair"`
	Group    string       `json:"group"`
	Instance string       `json:"instance"`
	Epoch    int64        `json:"epoch"` // of the record acted on
	Phase    record.Phase `json:"phase"` // of the record acted on
	State    AckState     `json:"state"`
	Site     string       `json:"site,omitempty"` // where it runs; empty when stopped
	At       time.Time    `json:"at"`             // on the instance's clock
}

// AckKey is the Consul key of one instance's acknowledgement; AckPrefix(pair, group) + instance.
func AckKey(pair, group, instance string) string { return AckPrefix(pair, group) + instance }

// AckPrefix is the prefix of a group's acknowledgements.
func AckPrefix(pair, group string) string { return "drawbridge/" + pair + "/acks/" + group + "/" }

// Validate reports all faults at once.
func (a Ack) Validate() error {
	var faults []error
	for _, f := range []struct{ name, value string }{{"pair", a.Pair}, {"group", a.Group}, {"instance", a.Instance}} {
		if f.value == "" || strings.ContainsAny(f.value, "/ ") {
			faults = append(faults, fmt.Errorf("%s %q is empty or holds a slash or blank, it is part of a Consul key", f.name, f.value))
		}
	}
	if a.State != Stopped && a.State != Running {
		faults = append(faults, fmt.Errorf("state %q is neither %s nor %s", a.State, Stopped, Running))
	}
	return errors.Join(faults...)
}

// Acknowledge writes a under its key into every Consul of the watcher, setting Pair, and At if it is zero. It succeeds if
// one of them took it: which one the runbook can read is not known here.
func (w *Watcher) Acknowledge(ctx context.Context, a Ack) error {
	a.Pair = w.cfg.Pair
	if a.At.IsZero() {
		a.At = time.Now()
	}
	a.At = a.At.UTC()
	if err := a.Validate(); err != nil {
		return fmt.Errorf("acknowledge epoch %d: %w", a.Epoch, err)
	}
	value, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("acknowledge epoch %d: %w", a.Epoch, err)
	}
	key := AckKey(a.Pair, a.Group, a.Instance)
	return w.inAny(fmt.Sprintf("acknowledge epoch %d", a.Epoch), func(s *source) error {
		_, err := s.kv.Put(&api.KVPair{Key: key, Value: value}, (&api.WriteOptions{}).WithContext(ctx))
		return err
	})
}

// Withdraw removes an instance's acknowledgement when the instance ends for good.
func (w *Watcher) Withdraw(ctx context.Context, group, instance string) error {
	return w.inAny("withdraw the acknowledgement of "+instance, func(s *source) error {
		_, err := s.kv.Delete(AckKey(w.cfg.Pair, group, instance), (&api.WriteOptions{}).WithContext(ctx))
		return err
	})
}

// inAny does act at every Consul at the same time, so that a dead one does not hold up the others.
func (w *Watcher) inAny(what string, act func(*source) error) error {
	results := make(chan error, len(w.sources))
	for _, s := range w.sources {
		go func() {
			err := act(s)
			if err != nil {
				err = fmt.Errorf("%s: consul %s: %w", what, s.name, err)
			}
			results <- err
		}()
	}
	var faults []error
	for range w.sources {
		if err := <-results; err != nil {
			faults = append(faults, err)
		}
	}
	if len(faults) < len(w.sources) {
		return nil
	}
	return errors.Join(faults...)
}
