package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

// observation is what one query of one Consul told: raw, or err.
type observation struct {
	source int // index into Config.Consuls
	raw    []byte
	err    error
}

// source holds a blocking query on one Consul.
type source struct {
	n      int
	name   string
	kv     *api.KV
	agent  *api.Agent
	failed map[string]bool // instances that were taken out of DNS, only announce
	key    string
	wait   time.Duration
	maxOff time.Duration
}

func newSource(n int, c Consul, cfg Config) (*source, error) {
	cl, err := c.api()
	if err != nil {
		return nil, err
	}
	return &source{n: n, name: c.String(), kv: cl.KV(), agent: cl.Agent(), failed: map[string]bool{}, key: record.KeysOf(cfg.Pair).Active, wait: cfg.Wait, maxOff: cfg.MaxBackOff}, nil
}

func (c Consul) api() (*api.Client, error) {
	conf := api.DefaultConfig() // reads Consul's own environment variables
	conf.Address = c.Address
	if c.TokenFile != "" {
		conf.TokenFile = c.TokenFile
	}
	cl, err := api.NewClient(conf)
	if err != nil {
		return nil, fmt.Errorf("consul %s: %w", c, err)
	}
	return cl, nil
}

// Read reads the record of pair from one Consul, as its leader has it. It believes nothing: comparing copies is the
// caller's (record.Compare). ErrNoRecord if there is none, a ConsulError if the agent does not answer.
func Read(ctx context.Context, c Consul, pair string) (record.Record, error) {
	cl, err := c.api()
	if err != nil {
		return record.Record{}, err
	}
	key := record.KeysOf(pair).Active
	found, _, err := cl.KV().Get(key, (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	switch {
	case err != nil:
		return record.Record{}, &ConsulError{Source: c.String(), Err: err}
	case found == nil:
		return record.Record{}, fmt.Errorf("%w under %s in consul %s", ErrNoRecord, key, c)
	}
	r, err := decode(found.Value, pair)
	if err != nil {
		return record.Record{}, fmt.Errorf("consul %s, key %s: %w", c, key, err)
	}
	return r, nil
}

// run queries until ctx ends and hands on every answer and every failure.
func (s *source) run(ctx context.Context, out chan<- observation) {
	const firstPause = 100 * time.Millisecond
	var index uint64
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		raw, last, err := s.query(ctx, index)
		if ctx.Err() != nil {
			return
		}
		select {
		case out <- observation{source: s.n, raw: raw, err: err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			index = 0 // ask for the present state first, whatever was missed
			sleep(ctx, jitter(pause))
			pause = min(2*pause, s.maxOff)
			continue
		}
		pause = firstPause
		if last < index {
			last = 0 // the index went down: restored or started anew; a query with the old one might wait for ever
		}
		index = last
		if time.Since(began) < firstPause {
			sleep(ctx, jitter(firstPause)) // never spin, whatever the agent answers
		}
	}
}

func (s *source) query(ctx context.Context, index uint64) (raw []byte, last uint64, err error) {
	// Consul adds up to wait/16 to a blocking query; beyond that the agent or the way to it hangs.
	ctx, cancel := context.WithTimeoutCause(ctx, s.wait+s.wait/16+5*time.Second, fmt.Errorf("no answer in %s and a bit", s.wait))
	defer cancel()
	opts := (&api.QueryOptions{WaitIndex: index, WaitTime: s.wait}).WithContext(ctx)
	kv, meta, err := s.kv.Get(s.key, opts)
	switch {
	case err != nil:
		return nil, 0, &ConsulError{Source: s.name, Err: err}
	case kv == nil:
		return nil, meta.LastIndex, nil
	}
	return kv.Value, max(meta.LastIndex, 1), nil
}

// jitter spreads d over [d/2, d), so that a fleet does not come back in step.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
