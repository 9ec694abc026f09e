package exactlyonce

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// do carries out a fault, and counts it when its effect was seen.
func (r *run) do(ctx context.Context, f Fault) error {
	switch f.Kind {
	case LoseAck:
		return r.loseAck(ctx)
	case LoseOldAck:
		return r.loseOldAck(ctx)
	case KillUnanswered:
		return r.killUnanswered(ctx)
	case KillAtStall:
		return r.killAtStall(ctx, f)
	case KillWithBroker:
		return r.killWithBroker(ctx, f)
	case KillSourceBroker:
		return r.killSourceBroker(ctx, f)
	case MoveLeader:
		return r.moveLeader(ctx, r.Dest, r.dstAdm, f)
	case MoveSourceLeader:
		return r.moveLeader(ctx, r.Source, r.srcAdm, f)
	case Rebalance:
		return r.rebalance(ctx)
	}
	return fmt.Errorf("no such fault: %s", f)
}

func (r *run) loseAck(ctx context.Context) error {
	a, err := r.take(ctx, local.Cut, func(string) bool { return true })
	if err != nil {
		return err
	}
	r.note(func(c *Counts) { c.LostAcks++ })
	r.say("lost the acknowledgement of %s", a)
	return nil
}

func (r *run) loseOldAck(ctx context.Context) error {
	a, err := r.take(ctx, local.Keep, func(topic string) bool { return topic == r.full(week) })
	if err != nil {
		return err
	}
	at := a.landed[slices.IndexFunc(a.landed, func(l landing) bool { return l.Topic == r.full(week) })]
	err = local.WaitFor(within(ctx, 8*time.Second), "the broker forgets the producer", func(ctx context.Context) error {
		set := kadm.TopicsSet{}
		set.Add(at.Topic, at.Partition)
		described, err := r.dstAdm.DescribeProducers(ctx, set)
		if err != nil {
			return err
		}
		p := described[at.Topic].Partitions[at.Partition]
		if p.Err == nil && len(p.ActiveProducers) > 0 {
			return fmt.Errorf("it knows %d", len(p.ActiveProducers))
		}
		return p.Err
	})
	r.Dest.Proxies().Cut(engineClients + a.engine.name)
	if err != nil {
		return err
	}
	r.note(func(c *Counts) { c.LostAcks++; c.ForgottenProducers++ })
	r.say("lost the acknowledgement of %s; %s has no producer any more", a, at.At)
	return nil
}

func (r *run) killUnanswered(ctx context.Context) error {
	a, err := r.take(ctx, local.Keep, func(string) bool { return true })
	if err != nil {
		return err
	}
	if err := a.engine.kill(); err != nil {
		return err
	}
	r.note(func(c *Counts) { c.EngineKills++ })
	r.say("killed engine %s, whose produce landed and was not answered: %s", a.engine.name, a)
	return a.engine.start(ctx)
}

// killHidden kills an engine when a batch lies beyond a high watermark, and
// answers with the partitions where one still does afterwards.
func (r *run) killHidden(ctx context.Context, f Fault, watch *harness.LogEnds, without int32) (*engine, map[harness.At]harness.LogEnd, error) {
	if _, err := watch.AwaitHidden(within(ctx, 30*time.Second), without); err != nil {
		return nil, nil, err
	}
	before := watch.Hidden(ctx, without)
	up := r.engines.up()
	if len(up) == 0 {
		return nil, nil, errors.New("no engine is up")
	}
	e := up[int(f.Pick/8)%len(up)]
	if err := e.kill(); err != nil {
		return nil, nil, err
	}
	hidden := map[harness.At]harness.LogEnd{}
	for at, end := range watch.Hidden(ctx, without) {
		if end.HighWatermark == before[at].HighWatermark && before[at].End > 0 {
			hidden[at] = end
		}
	}
	if len(hidden) == 0 {
		return e, nil, errors.Join(errors.New("the followers had caught up when the engine was killed"), e.start(ctx))
	}
	r.note(func(c *Counts) { c.EngineKills++; c.HiddenTails++ })
	for _, at := range sorted(hidden) {
		r.say("killed engine %s: %s ends at %d, high watermark %d", e.name, at, hidden[at].End, hidden[at].HighWatermark)
	}
	return e, hidden, nil
}

// watchWhole watches the mirrors' log ends from when all brokers are there.
func (r *run) watchWhole(ctx context.Context) (*harness.LogEnds, error) {
	if err := r.whole(r.Dest); err != nil {
		return nil, err
	}
	return harness.WatchLogEnds(ctx, r.Dest, Admin, r.names()...)
}

func sorted(m map[harness.At]harness.LogEnd) []harness.At {
	var out []harness.At
	for at := range m {
		out = append(out, at)
	}
	slices.SortFunc(out, func(a, b harness.At) int { return cmp.Compare(a.String(), b.String()) })
	return out
}

func (r *run) killAtStall(ctx context.Context, f Fault) error {
	watch, err := r.watchWhole(ctx)
	if err != nil {
		return err
	}
	defer watch.Close()
	r.Dest.HoldFollower(follower)
	defer r.Dest.ReleaseFollower(follower)
	e, hidden, err := r.killHidden(ctx, f, watch, -1)
	if err != nil {
		return err
	}
	if err := e.start(ctx); err != nil {
		return err
	}
	return r.awaitMeeting(ctx, hidden, watch)
}

func (r *run) killWithBroker(ctx context.Context, f Fault) error {
	watch, err := r.watchWhole(ctx)
	if err != nil {
		return err
	}
	defer watch.Close()
	broker := int(f.Pick % 3)
	if err := r.Dest.KillBroker(broker); err != nil {
		return err
	}
	r.note(func(c *Counts) { c.BrokerKills++ })
	r.say("killed broker %d of the destination", broker)
	e, _, err := r.killHidden(ctx, f, watch, int32(broker+1))
	r.restart(ctx, r.Dest, r.dstAdm, broker)
	if err != nil {
		return err
	}
	return e.start(ctx)
}

func (r *run) killSourceBroker(ctx context.Context, f Fault) error {
	if err := r.whole(r.Source); err != nil {
		return err
	}
	broker := int(f.Pick % 3)
	if err := r.Source.KillBroker(broker); err != nil {
		return err
	}
	r.say("killed broker %d of the source", broker)
	err := local.WaitFor(within(ctx, time.Minute), "other brokers lead its partitions", func(ctx context.Context) error {
		return r.topicsAre(ctx, r.srcAdm, func(p kadm.PartitionDetail) error {
			if p.Leader < 0 || p.Leader == int32(broker+1) {
				return fmt.Errorf("leader %d", p.Leader)
			}
			return nil
		})
	})
	r.restart(ctx, r.Source, r.srcAdm, broker)
	if err == nil {
		r.note(func(c *Counts) { c.BrokerKills++ })
	}
	return err
}

// restart brings a broker back while the script goes on.
func (r *run) restart(ctx context.Context, k *local.Kafka, adm *kadm.Client, broker int) {
	back := make(chan error, 1)
	r.back[k] = back
	go func() {
		// Whatever ends the script: the next run needs the broker.
		ctx := context.WithoutCancel(ctx)
		err := k.RestartBroker(within(ctx, restartTime), broker)
		if err == nil {
			err = r.settle(ctx, k, adm)
		}
		if err == nil {
			r.say("broker %d of %s is back, all replicas are in sync", broker, k.Name())
		}
		back <- err
	}()
}

// whole waits for the broker that was killed last, if it is not back yet.
func (r *run) whole(k *local.Kafka) error {
	back := r.back[k]
	if back == nil {
		return nil
	}
	delete(r.back, k)
	return <-back
}

// topicsAre tells the first partition of this run's topics that is not as asked.
func (r *run) topicsAre(ctx context.Context, adm *kadm.Client, as func(kadm.PartitionDetail) error) error {
	meta, err := adm.ListTopics(ctx, r.names()...)
	if err == nil {
		err = meta.Error()
	}
	if err != nil {
		return err
	}
	for _, t := range meta {
		for _, p := range t.Partitions {
			if err := as(p); err != nil {
				return fmt.Errorf("%s/%d: %w", t.Topic, p.Partition, err)
			}
		}
	}
	return nil
}

// settle waits until all replicas are in sync again, then lets the preferred ones
// lead, as brokers do by themselves after minutes.
func (r *run) settle(ctx context.Context, k *local.Kafka, adm *kadm.Client) error {
	err := local.WaitFor(within(ctx, restartTime), "all replicas at "+k.Name()+" are in sync", func(ctx context.Context) error {
		return r.topicsAre(ctx, adm, func(p kadm.PartitionDetail) error {
			if len(p.ISR) < len(p.Replicas) {
				return fmt.Errorf("in sync %v of %v", p.ISR, p.Replicas)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	set := kadm.TopicsSet{}
	for _, s := range r.stock {
		for p := range s.load.Partitions {
			set.Add(s.full, p)
		}
	}
	return local.WaitFor(within(ctx, time.Minute), "preferred leaders at "+k.Name(), func(ctx context.Context) error {
		if _, err := adm.ElectLeaders(ctx, kadm.ElectPreferredReplica, set); err != nil {
			return err
		}
		return r.topicsAre(ctx, adm, func(p kadm.PartitionDetail) error {
			if p.Leader != p.Replicas[0] {
				return fmt.Errorf("leader %d of %v", p.Leader, p.Replicas)
			}
			return nil
		})
	})
}

// moveLeader makes another replica the preferred one of a partition, and lets it
// lead.
func (r *run) moveLeader(ctx context.Context, k *local.Kafka, adm *kadm.Client, f Fault) error {
	if err := r.whole(k); err != nil {
		return err
	}
	var ats []harness.At
	for _, s := range r.stock {
		for p := range s.load.Partitions {
			ats = append(ats, harness.At{Topic: s.full, Partition: p})
		}
	}
	at := ats[int(f.Pick)%len(ats)]
	meta, err := adm.ListTopics(ctx, at.Topic)
	if err != nil {
		return err
	}
	was := meta[at.Topic].Partitions[at.Partition]
	others := slices.DeleteFunc(slices.Clone(was.Replicas), func(b int32) bool { return b == was.Leader })
	if len(others) < 2 {
		return fmt.Errorf("%s has replicas %v, leader %d", at, was.Replicas, was.Leader)
	}
	next := others[int(f.Pick/16)%len(others)]
	order := append([]int32{next}, slices.DeleteFunc(slices.Clone(was.Replicas), func(b int32) bool { return b == next })...)
	var req kadm.AlterPartitionAssignmentsReq
	req.Assign(at.Topic, at.Partition, order)
	if res, err := adm.AlterPartitionAssignments(ctx, req); err != nil || res.Error() != nil {
		return fmt.Errorf("reorder the replicas of %s at %s: %w", at, k.Name(), errors.Join(err, res.Error()))
	}
	is := func(as func(kadm.PartitionDetail) bool) func(context.Context) error {
		return func(ctx context.Context) error {
			meta, err := adm.ListTopics(ctx, at.Topic)
			if err != nil {
				return err
			}
			if now := meta[at.Topic].Partitions[at.Partition]; !as(now) {
				return fmt.Errorf("replicas %v, leader %d", now.Replicas, now.Leader)
			}
			return nil
		}
	}
	// A broker may not have heard yet of what the controller has agreed to.
	if err := local.WaitFor(within(ctx, time.Minute), at.String()+" has its replicas in the new order", is(func(p kadm.PartitionDetail) bool { return p.Replicas[0] == next })); err != nil {
		return err
	}
	if err := r.settle(ctx, k, adm); err != nil {
		return err
	}
	if err := local.WaitFor(within(ctx, time.Minute), at.String()+" is led by another broker", is(func(p kadm.PartitionDetail) bool { return p.Leader == next })); err != nil {
		return err
	}
	r.note(func(c *Counts) { c.LeaderChanges++ })
	r.say("leader of %s at %s: broker %d, was %d", at, k.Name(), next, was.Leader)
	return nil
}

// rebalance stops the last engine, or starts it again; the others must mirror on.
func (r *run) rebalance(ctx context.Context) error {
	e := r.engines.all[len(r.engines.all)-1]
	e.mu.Lock()
	up := !e.down
	e.mu.Unlock()
	if up {
		e.mu.Lock()
		e.down = true
		err := e.Stop()
		e.mu.Unlock()
		if err != nil {
			return err
		}
	} else if err := e.start(ctx); err != nil {
		return err
	}
	if err := r.awaitProgress(ctx); err != nil {
		return err
	}
	r.note(func(c *Counts) { c.Rebalances++ })
	r.say("engine %s was %s, all partitions move on", e.name, map[bool]string{true: "stopped", false: "started"}[up])
	return nil
}
