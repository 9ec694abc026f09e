package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// CheckPrivileges looks at both sites: does everything answer, may the worker
// list entries and producers, is the canary let through, what did the engine
// find out, what would the plan's drills lack, may the tokens write. It changes nothing, so that a right that only an act would show
// (ALTER on the cluster) is judged by the engine's own probe.
func (a *Activities) CheckPrivileges(ctx context.Context, in workflows.CheckPrivilegesInput) (workflows.CheckPrivilegesResult, error) {
	defer a.beat(ctx)()
	out := workflows.CheckPrivilegesResult{Findings: []workflows.Finding{}}
	for _, s := range in.Sites {
		c := check{a: a, site: s, out: &out}
		c.consul(ctx, in.Call.Pair, in.Sites)
		c.engine(ctx)
		c.credentials(ctx)
		if err := c.cluster(ctx, in); err != nil {
			return out, settle(err)
		}
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
	}
	people := check{a: a, out: &out}
	people.channels("", in.Notify)
	for _, t := range in.Teams {
		people.channels(" of team "+t.Name, runbook.Notify{PagerDuty: t.PagerDuty, Webhook: t.Webhook})
	}
	check{a: a, out: &out}.workloads(ctx, in.Call.Pair, in.Active, in.Workloads)
	slices.SortStableFunc(out.Findings, func(a, b workflows.Finding) int {
		switch {
		case a.Blocker == b.Blocker:
			return 0
		case a.Blocker:
			return -1
		}
		return 1
	})
	return out, nil
}

type check struct {
	a    *Activities
	site runbook.Site
	out  *workflows.CheckPrivilegesResult
}

func (c check) find(blocker bool, cure, format string, args ...any) {
	c.out.Findings = append(c.out.Findings, workflows.Finding{Site: c.site.Name, What: fmt.Sprintf(format, args...), Cure: cure, Blocker: blocker})
}

func (c check) engine(ctx context.Context) {
	e, err := c.a.engine(c.site)
	if err != nil {
		c.find(true, "see engine.token_file of the plan", "the engine's token cannot be read: %v", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	facts, err := e.Engine(ctx)
	if err == nil {
		err = e.Ready(ctx)
	}
	if err != nil {
		c.find(true, "see engine.url of the plan, and the engine's log", "the engine does not serve: %v", err)
		return
	}
	k, err := c.a.kafka(c.site)
	if err != nil {
		return // told by cluster
	}
	if id, err := k.clusterID(ctx); err == nil && id != facts.ClusterID {
		c.find(true, "correct engine.url or kafka.bootstrap of the plan", "the engine stands beside cluster %s, the plan's bootstrap leads to %s", facts.ClusterID, id)
	}
	if !facts.Authorizer {
		c.find(false, "turn on an authorizer, and give clients and brokers principals", "the cluster has no authorizer that binds clients: fences and read-only guards are impossible")
	}
	if facts.AllowEveryone {
		c.find(false, "set it to false, or make ALLOW entries for all clients of the plan's topics", "allow.everyone.if.no.acl.found is true: a DENY shuts out readers too where a topic has no ALLOW entry")
	}
	if facts.WriterFence != api.WriterFenceEnforced {
		c.find(false, "allow the engine's principal ALTER and CLUSTER_ACTION on CLUSTER; brokers before 3.8 know only the latter", "the fence on the engine's own writer is %s", facts.WriterFence)
	}
}

// cluster returns an error only for what passes by itself: then all is looked at
// again.
func (c check) cluster(ctx context.Context, in workflows.CheckPrivilegesInput) error {
	k, err := c.a.kafka(c.site)
	if err == nil {
		err = k.reach(ctx)
	}
	if err != nil {
		c.find(true, "see kafka.bootstrap and kafka.security of the plan", "the worker does not get into the cluster: %v", err)
		return nil
	}
	brokers, err := k.brokers(ctx)
	if err != nil {
		c.find(true, "look at the cluster", "%v", err)
		return nil
	}
	var entries []api.ACLEntry
	for _, resource := range []string{onTopic, onGroup, onCluster} {
		some, err := k.acls(ctx, brokers[0], resource)
		switch {
		case errors.Is(err, kerr.SecurityDisabled):
			return nil // told by the engine
		case errors.Is(err, kerr.ClusterAuthorizationFailed):
			c.find(true, "allow the worker's principal DESCRIBE and ALTER on CLUSTER", "the worker may not list ACL entries, nor make a fence")
			return nil
		case err != nil:
			c.find(true, "look at the cluster", "ACL entries cannot be listed: %v", err)
			return nil
		}
		entries = append(entries, some...)
	}
	listed, err := c.a.ListDRTopics(ctx, workflows.ListDRTopicsInput{Call: in.Call, Site: c.site, Filters: in.Topics})
	if err != nil {
		c.find(true, "allow the worker's principal DESCRIBE on the plan's topics", "topics cannot be listed: %v", err)
		return nil
	}
	if err := c.describe(ctx, k, listed.Topics, in.Groups); err != nil {
		return err
	}
	c.canary(ctx, listed.Topics)
	c.drills(ctx, k, in, entries)
	return nil
}

func (c check) describe(ctx context.Context, k *kafka, topics, groups []string) error {
	_, err := k.members(ctx, groups)
	switch {
	case errors.Is(err, kerr.CoordinatorNotAvailable), errors.Is(err, kerr.CoordinatorLoadInProgress), errors.Is(err, kerr.NotCoordinator):
		// A cluster that never had a group makes its offsets topic at the first
		// question.
		return err
	case err != nil:
		c.find(true, "allow the worker's principal DESCRIBE on the plan's groups", "groups cannot be described: %v", err)
	}
	if len(topics) == 0 {
		return nil
	}
	if _, err := k.transactions(ctx, topics); err != nil {
		c.find(false, "allow the worker's principal READ on the plan's topics and DESCRIBE on TRANSACTIONAL_ID", "open transactions cannot be listed, a planned move will stop there: %v", err)
	}
	return nil
}

// canary sings where writing is allowed; at a standby the guards refuse it, and
// that is as it should be.
func (c check) canary(ctx context.Context, topics []string) {
	if c.site.Canary == nil {
		c.find(false, "make a principal with ALLOW WRITE on the plan's topics that is no super user, and name it as canary", "no canary principal: no fence can be proven")
		return
	}
	if len(topics) == 0 {
		return
	}
	heard, err := c.a.sing(ctx, c.site, topics)
	switch {
	case err != nil:
		c.find(false, "see canary of the plan", "the canary does not get into the cluster, no fence can be proven: %v", err)
	case !heard.allThrough() && !heard.allRefused():
		c.find(false, "allow the canary's principal WRITE on all topics of the plan", "the canary is not let through everywhere, so that fences there cannot be proven: %s", strings.Join(append(heard.refused, heard.other...), ", "))
	}
}
