package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

// Service is a Consul service whose instances are the servers at which a pair is active: a DNS name, as in
// orders-kafka.service.consul, for clients that can be given nothing else.
//
// A name leads a client to its site when it bootstraps, and only then: what it learns from the brokers are their own addresses. A
// client that is to follow by a name must bootstrap again by itself when its brokers are gone or refuse it (KIP-899 and
// KIP-1102: metadata.recovery.strategy=rebootstrap), or be started again. A freeze does not change the name; the fence
// stops those clients.
type Service struct {
	// Name of the service; a DNS label.
	Name string
	// Group whose place is announced; empty: the active site.
	Group string
	// TTL is how long the addresses stay in DNS when nobody keeps them there any more. Default one minute, at least a second.
	// Addresses that nobody keeps could be those of a site that was left.
	TTL time.Duration
}

const (
	metaPair  = "drawbridge-pair" // marks the instances that we made
	metaSite  = "drawbridge-site"
	metaEpoch = "drawbridge-epoch"
)

// Validate reports all faults at once.
func (s Service) Validate() error {
	var faults []error
	bad := func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
	}
	if s.Name == "" || len(s.Name) > 63 || strings.ContainsFunc(s.Name, bad) || s.Name[0] == '-' || s.Name[len(s.Name)-1] == '-' {
		faults = append(faults, fmt.Errorf("service %q is no DNS label: lower case letters, digits and hyphens, at most 63", s.Name))
	}
	if s.TTL != 0 && s.TTL < time.Second {
		faults = append(faults, fmt.Errorf("TTL %s of service %q: give a second or more, or 0 for the default", s.TTL, s.Name))
	}
	return errors.Join(faults...)
}

// Announce keeps the service at every Consul agent of the watcher until ctx ends. The agents should be ones that stay, as an
// announcer per site beside its own. Its end takes nothing back: another may have taken over, and if none has the addresses
// leave DNS after TTL. An agent that does not answer is tried again. It takes the place of Watch.
func (w *Watcher) Announce(ctx context.Context, s Service) error {
	if err := s.Validate(); err != nil {
		return fmt.Errorf("announce pair %s: %w", w.cfg.Pair, err)
	}
	if s.TTL == 0 {
		s.TTL = time.Minute
	}
	keep := time.NewTicker(s.TTL / 4)
	defer keep.Stop()
	var current *record.Record
	told := map[string]string{} // last problem, by agent
	updates := w.Watch(ctx)
	for {
		select {
		case u, ok := <-updates:
			if !ok {
				return nil
			}
			current = &u.Record
		case <-keep.C:
		}
		if current == nil {
			continue
		}
		wanted, err := s.instances(*current)
		if err != nil {
			w.cfg.Log.Error("record cannot be announced; the name stays as it is until its time is over", "service", s.Name, "err", err)
			continue
		}
		for name, err := range w.announce(ctx, s, current.Epoch, wanted) {
			switch {
			case err == nil && told[name] != "":
				w.cfg.Log.Info("announced again", "service", s.Name, "consul", name)
			case err != nil && err.Error() != told[name] && ctx.Err() == nil:
				w.cfg.Log.Warn("not announced", "service", s.Name, "consul", name, "epoch", current.Epoch, "err", err)
			}
			told[name] = ""
			if err != nil {
				told[name] = err.Error()
			}
		}
	}
}

// announce brings every agent to what is wanted, at the same time.
func (w *Watcher) announce(ctx context.Context, s Service, epoch int64, wanted []*api.AgentServiceRegistration) map[string]error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var mu sync.Mutex // guards out
	out := map[string]error{}
	var wg sync.WaitGroup
	for _, src := range w.sources {
		wg.Go(func() {
			err := src.announce(ctx, s.Name, w.cfg.Pair, epoch, wanted)
			mu.Lock()
			defer mu.Unlock()
			out[src.name] = err
		})
	}
	wg.Wait()
	return out
}

// instances are the service's under r. Their ids are the same at every site, so that a flip changes each in one call, and no
// moment has both sites' servers under one id.
func (s Service) instances(r record.Record) ([]*api.AgentServiceRegistration, error) {
	place, err := r.SiteFor(s.Group)
	if err != nil {
		return nil, err
	}
	var out []*api.AgentServiceRegistration
	for n, server := range place.Bootstrap {
		host, text, err := net.SplitHostPort(server)
		if err != nil {
			return nil, fmt.Errorf("server %q of site %s is not host:port: %w", server, place.Site, err)
		}
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("server %q of site %s: %w", server, place.Site, err)
		}
		id := s.Name + "-" + strconv.Itoa(n+1)
		out = append(out, &api.AgentServiceRegistration{
			ID: id, Name: s.Name, Address: host, Port: int(port), Tags: []string{place.Site},
			Meta: map[string]string{metaPair: r.Pair, metaSite: place.Site, metaEpoch: strconv.FormatInt(r.Epoch, 10)},
			Check: &api.AgentServiceCheck{
				CheckID: checkID(id), Name: "kept by an announcer", TTL: s.TTL.String(), Status: api.HealthPassing,
				Notes: "passes as long as somebody announces the record of pair " + r.Pair,
			},
		})
	}
	return out, nil
}

func checkID(id string) string { return id + "-kept" }

// announce registers what is not as wanted, keeps what is, and removes what we made and is not wanted any more. Where another
// announcer was at a higher epoch, nothing: this one sees an old record.
func (s *source) announce(ctx context.Context, name, pair string, epoch int64, wanted []*api.AgentServiceRegistration) error {
	opts := (&api.QueryOptions{}).WithContext(ctx)
	there, err := s.agent.ServicesWithFilterOpts("Service == \""+name+"\"", opts)
	if err != nil {
		return err
	}
	for id, other := range there {
		if other.Meta[metaPair] != pair {
			return fmt.Errorf("instance %s of service %s was registered by somebody else (%s of its meta data is %q): choose another name, or deregister it",
				id, name, metaPair, other.Meta[metaPair])
		}
		if seen, err := strconv.ParseInt(other.Meta[metaEpoch], 10, 64); err == nil && seen > epoch {
			return fmt.Errorf("instance %s of service %s is at epoch %d by another announcer, the record here is of epoch %d and old: the name stays; if that epoch was undone by hand, deregister the instance",
				id, name, seen, epoch)
		}
	}
	for _, want := range wanted {
		have := there[want.ID]
		delete(there, want.ID)
		delete(s.failed, want.ID)
		same := have != nil && have.Address == want.Address && have.Port == want.Port && have.Meta[metaEpoch] == want.Meta[metaEpoch]
		if same && s.agent.UpdateTTLOpts(want.Check.CheckID, "epoch "+want.Meta[metaEpoch]+" at "+want.Meta[metaSite], api.HealthPassing, opts) == nil {
			continue
		}
		if err := s.agent.ServiceRegisterOpts(want, api.ServiceRegisterOpts{}.WithContext(ctx)); err != nil {
			return err
		}
	}
	for id := range there {
		if err := s.retire(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// retire takes an instance out of DNS, and removes it the next time. Removed at once it could stay there: an agent passes a
// removal on to its servers with its own token, which may not be allowed to, and a check with the one that it was made by.
func (s *source) retire(ctx context.Context, id string) error {
	opts := (&api.QueryOptions{}).WithContext(ctx)
	if !s.failed[id] {
		s.failed[id] = true
		return s.agent.UpdateTTLOpts(checkID(id), "not of the site of the record", api.HealthCritical, opts)
	}
	return s.agent.ServiceDeregisterOpts(id, opts)
}
