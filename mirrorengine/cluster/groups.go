package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// protocolConsumer is the protocol type of groups that consume topics; Connect's
// and others' are no consumer groups. A group without one commits offsets only.
const protocolConsumer = "consumer"

// group is a group with its members.
type group struct {
	api.ConsumerGroup
	members []member
}

// member is one member with the partitions that it reads.
type member struct {
	id, client string
	instance   *string
	reads      kadm.TopicsSet
}

// Groups lists all consumer groups by name.
func (r *Reader) Groups(ctx context.Context) ([]api.ConsumerGroup, error) {
	listed, err := r.listed(ctx)
	if err != nil {
		return nil, err
	}
	groups, err := r.described(ctx, listed)
	if err != nil {
		return nil, err
	}
	out := make([]api.ConsumerGroup, 0, len(groups))
	for _, g := range groups {
		out = append(out, g.ConsumerGroup)
	}
	return out, nil
}

// Group describes one consumer group.
func (r *Reader) Group(ctx context.Context, id string) (api.ConsumerGroup, error) {
	g, err := r.group(ctx, id)
	return g.ConsumerGroup, err
}

// Consumers lists the members of a group by id.
func (r *Reader) Consumers(ctx context.Context, id string) ([]api.Consumer, error) {
	g, err := r.group(ctx, id)
	if err != nil {
		return nil, err
	}
	var out []api.Consumer
	for _, m := range g.members {
		out = append(out, api.Consumer{ConsumerGroupID: id, ConsumerID: m.id, InstanceID: m.instance, ClientID: m.client})
	}
	return out, nil
}

func notFound(group string) error { return api.NotFound("Consumer group '%s' cannot be found.", group) }

// group asks for one group.
func (r *Reader) group(ctx context.Context, id string) (group, error) {
	listed, err := r.listed(ctx)
	if err != nil {
		return group{}, err
	}
	listed = slices.DeleteFunc(listed, func(g kmsg.ListGroupsResponseGroup) bool { return g.Group != id })
	groups, err := r.described(ctx, listed)
	if err != nil {
		return group{}, err
	}
	if len(groups) == 0 {
		return group{}, notFound(id)
	}
	return groups[0], nil
}

// listed asks every broker for its groups. One that does not answer makes the
// list an error: a group that is missing from a list looks deleted.
func (r *Reader) listed(ctx context.Context) ([]kmsg.ListGroupsResponseGroup, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	var out []kmsg.ListGroupsResponseGroup
	var errs []error
	for _, shard := range r.client.RequestSharded(ctx, kmsg.NewPtrListGroupsRequest()) {
		err := shard.Err
		if err == nil {
			res := shard.Resp.(*kmsg.ListGroupsResponse)
			err = kerr.ErrorForCode(res.ErrorCode)
			out = append(out, res.Groups...)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("groups of broker %d: %w", shard.Meta.NodeID, err))
		}
	}
	out = slices.DeleteFunc(out, func(g kmsg.ListGroupsResponseGroup) bool {
		return g.ProtocolType != protocolConsumer && g.ProtocolType != "" && kind(g.GroupType) != api.GroupShare
	})
	return out, errors.Join(errs...)
}

// described asks the groups' coordinators, each protocol in its own way. A group
// that has gone since it was listed is left out.
func (r *Reader) described(ctx context.Context, listed []kmsg.ListGroupsResponseGroup) ([]group, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	names := map[string][]string{}
	for _, g := range listed {
		names[kind(g.GroupType)] = append(names[kind(g.GroupType)], g.Group)
	}
	var out []group
	add := func(g group, err error) error {
		switch {
		case errors.Is(err, kerr.GroupIDNotFound), g.State == "DEAD":
			return nil
		case err != nil:
			return fmt.Errorf("describe group %s: %w", g.ConsumerGroupID, err)
		}
		slices.SortFunc(g.members, func(a, b member) int { return strings.Compare(a.id, b.id) })
		out = append(out, g)
		return nil
	}
	var errs []error
	for _, of := range slices.Sorted(maps.Keys(names)) {
		var err error
		switch of {
		case api.GroupConsumer:
			var ds kadm.DescribedConsumerGroups
			ds, err = r.adm.DescribeConsumerGroups(ctx, names[of]...)
			for _, d := range ds {
				errs = append(errs, add(consumerGroup(d), d.Err))
			}
		case api.GroupShare:
			var ds kadm.DescribedShareGroups
			ds, err = r.adm.DescribeShareGroups(ctx, names[of]...)
			for _, d := range ds {
				errs = append(errs, add(shareGroup(d), d.Err))
			}
		default: // classic, also from brokers before 3.8, which tell no type
			var ds kadm.DescribedGroups
			ds, err = r.adm.DescribeGroups(ctx, names[of]...)
			for _, d := range ds {
				errs = append(errs, add(classicGroup(d), d.Err))
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("describe %d %s groups: %w", len(names[of]), strings.ToLower(of), err))
		}
	}
	slices.SortFunc(out, func(a, b group) int { return cmp.Compare(a.ConsumerGroupID, b.ConsumerGroupID) })
	return out, errors.Join(errs...)
}

func classicGroup(d kadm.DescribedGroup) group {
	g := newGroup(d.Group, api.GroupClassic, d.State, d.Protocol, d.Coordinator)
	g.IsSimple = d.ProtocolType == ""
	for _, m := range d.Members {
		reads := kadm.TopicsSet{}
		if a, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range a.Topics {
				reads.Add(t.Topic, t.Partitions...)
			}
		}
		g.members = append(g.members, member{m.MemberID, m.ClientID, m.InstanceID, reads})
	}
	return g
}

func consumerGroup(d kadm.DescribedConsumerGroup) group {
	g := newGroup(d.Group, api.GroupConsumer, d.State, d.AssignorName, d.Coordinator)
	for _, m := range d.Members {
		const classic = 0 // MemberType of ConsumerGroupDescribeResponse.json
		g.IsMixedConsumerGroup = g.IsMixedConsumerGroup || m.MemberType == classic
		g.members = append(g.members, member{m.MemberID, m.ClientID, m.InstanceID, m.Assignment})
	}
	return g
}

func shareGroup(d kadm.DescribedShareGroup) group {
	g := newGroup(d.GroupID, api.GroupShare, d.GroupState, d.Assignor, d.Coordinator)
	for _, m := range d.Members {
		g.members = append(g.members, member{m.MemberID, m.ClientID, nil, m.Assignment})
	}
	return g
}

func newGroup(id, of, state, assignor string, coordinator kadm.BrokerDetail) group {
	return group{ConsumerGroup: api.ConsumerGroup{
		ConsumerGroupID: id, Type: of, State: word(state, api.GroupStates()),
		PartitionAssignor: assignor, CoordinatorID: coordinator.NodeID,
	}}
}

// kind is the contract's word for a group's type; brokers before 3.8 tell none
// and have classic groups only.
func kind(t string) string {
	if t == "" {
		return api.GroupClassic
	}
	return word(t, api.GroupTypes())
}

// word is Kafka's word in the contract's spelling: PreparingRebalance is
// PREPARING_REBALANCE; UNKNOWN if the contract has no such word.
func word(kafka string, known []string) string {
	for _, k := range known {
		if strings.EqualFold(strings.ReplaceAll(k, "_", ""), kafka) {
			return k
		}
	}
	return api.Unknown
}
