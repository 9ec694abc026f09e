package link

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// Engine tells what this engine is and what it found out about its local
// cluster. What concerns the authorizer was probed at start; whether there is one
// is asked again at each call.
func (m *Manager) Engine(ctx context.Context) (api.Engine, error) {
	out := api.Engine{
		Version: m.opts.Version, ClusterID: m.clusterID, Principal: m.opts.Principal,
		StateTopic: m.opts.StateTopic, Shards: m.store.Shards(), WriterFence: m.writerFence, Brokers: []string{},
		Replicas: m.known(),
	}
	if out.Principal == "" && !m.authenticated() {
		out.Principal = "User:ANONYMOUS"
	}
	rctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	meta, err := m.local.adm.BrokerMetadata(rctx)
	if err != nil {
		return out, api.Unavailable("the local cluster does not answer: %v", err)
	}
	for _, b := range meta.Brokers {
		out.Brokers = append(out.Brokers, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))))
	}
	if err := m.authorizerChanged(ctx, meta.Brokers.NodeIDs()); err != nil {
		return out, api.Unavailable("the local cluster's authorizer cannot be asked: %v", err)
	}
	facts, err := m.standing(ctx)
	if err != nil {
		return out, api.Unavailable("%v", err)
	}
	out.Authorizer, out.SuperUser, out.AllowEveryone = facts.authorizer, facts.superUser, facts.allowEveryone
	return out, nil
}

// known are the replicas that the owner records name, in the order of their
// addresses.
func (m *Manager) known() []api.Replica {
	shards := map[string][]int32{}
	for n := range m.store.Shards() {
		if a := m.store.Owner(n).Address; a != "" {
			shards[a] = append(shards[a], n)
		}
	}
	out := make([]api.Replica, 0, len(shards))
	for _, a := range slices.Sorted(maps.Keys(shards)) {
		out = append(out, api.Replica{Address: a, Shards: shards[a], Leading: slices.Contains(shards[a], 0)})
	}
	return out
}

// authorizerChanged asks whether there is an authorizer now and drops what was
// found out if that is news: a cluster gets or loses one by a rolling restart.
func (m *Manager) authorizerChanged(ctx context.Context, brokers []int32) error {
	if len(brokers) == 0 {
		return fmt.Errorf("it names no broker")
	}
	on, err := m.securityOn(ctx, brokers[0])
	if err != nil {
		return err
	}
	m.access.mu.Lock()
	defer m.access.mu.Unlock()
	if m.access.known && m.access.securityOn != on {
		m.access.known = false
	}
	return nil
}
