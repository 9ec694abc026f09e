package activities

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// ListDRTopics resolves the plan's topics on a site.
func (a *Activities) ListDRTopics(ctx context.Context, in workflows.ListDRTopicsInput) (workflows.ListDRTopicsResult, error) {
	out := workflows.ListDRTopicsResult{Topics: []string{}}
	k, err := a.kafka(in.Site)
	if err != nil {
		return out, settle(err)
	}
	names, err := k.names(ctx)
	if err != nil {
		return out, settle(err)
	}
	canary := runbook.CanaryTopic(in.Call.Pair)
	match := map[string]bool{canary: true}
	for _, f := range in.Filters {
		if !strings.HasPrefix(f, "^") {
			match[f] = true
			if !slices.Contains(names, f) {
				out.Missing = append(out.Missing, f)
			}
			continue
		}
		// The plan's patterns hold for the whole name.
		re, err := regexp.Compile("^(?:" + strings.TrimPrefix(f, "^") + ")$")
		if err != nil {
			return out, refuse(workflows.ErrPlanInvalid, "topic pattern %s of the plan: %v", f, err)
		}
		for _, n := range names {
			match[n] = match[n] || re.MatchString(n) && !internal(n)
		}
	}
	for _, n := range names {
		if match[n] {
			out.Topics = append(out.Topics, n)
		}
	}
	return out, nil
}

// CompareTopics reads the metadata of both clusters; one that does not answer is
// an error.
func (a *Activities) CompareTopics(ctx context.Context, in workflows.CompareTopicsInput) (workflows.CompareTopicsResult, error) {
	out := workflows.CompareTopicsResult{Shapes: []runbook.TopicShape{}}
	var sides []map[string]map[int32]int32
	for _, s := range []runbook.Site{in.Source, in.Destination} {
		k, err := a.kafka(s)
		if err != nil {
			return out, settle(err)
		}
		leaders, err := k.topics(ctx, in.Topics...)
		if err != nil {
			return out, settle(err)
		}
		sides = append(sides, leaders)
	}
	for _, t := range in.Topics {
		shape := runbook.TopicShape{Topic: t, Source: len(sides[0][t]), Destination: len(sides[1][t])}
		for _, side := range sides {
			for _, leader := range side[t] {
				if leader < 0 {
					shape.Leaderless++
				}
			}
		}
		out.Shapes = append(out.Shapes, shape)
	}
	return out, nil
}

// internal topics are Kafka's own and Drawbridge's.
func internal(name string) bool {
	return strings.HasPrefix(name, "__") || strings.HasPrefix(name, "_drawbridge") || strings.HasPrefix(name, "drawbridge.")
}

// names lists the cluster's topics, sorted.
func (k *kafka) names(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := k.adm.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("topics of site %s: %w", k.site, err)
	}
	out := list.Names()
	slices.Sort(out)
	return out, nil
}

// EnsureCanaryTopic makes the pair's own topic, with the cluster's default
// replication.
func (a *Activities) EnsureCanaryTopic(ctx context.Context, in workflows.EnsureCanaryTopicInput) (workflows.EnsureCanaryTopicResult, error) {
	out := workflows.EnsureCanaryTopicResult{Topic: runbook.CanaryTopic(in.Call.Pair)}
	k, err := a.kafka(in.Site)
	if err != nil {
		return out, settle(err)
	}
	have, err := k.topics(ctx, out.Topic)
	if err != nil || len(have) > 0 {
		return out, settle(err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	got, err := k.adm.CreateTopic(ctx, 1, -1, nil, out.Topic)
	if err == nil {
		err = got.Err
	}
	out.Created = err == nil
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return out, settle(fmt.Errorf("make topic %s at site %s: %w", out.Topic, in.Site.Name, err))
	}
	done, err := poll(ctx, callTimeout, func(ctx context.Context) (bool, error) {
		have, err := k.topics(ctx, out.Topic)
		return len(have[out.Topic]) > 0, err
	})
	if err == nil && !done {
		err = notYet("topic %s was made at site %s and does not show yet", out.Topic, in.Site.Name)
	}
	return out, settle(err)
}

// DeleteTopics deletes for a rebuild, and what people agreed to delete for good.
// It stops before the first deletion if any other topic has no copy at the other
// site.
func (a *Activities) DeleteTopics(ctx context.Context, in workflows.DeleteTopicsInput) (workflows.DeleteTopicsResult, error) {
	defer a.beat(ctx)()
	out := workflows.DeleteTopicsResult{Deleted: []string{}}
	k, err := a.kafka(in.Site)
	if err != nil {
		return out, settle(err)
	}
	other, err := a.kafka(in.Other)
	if err != nil {
		return out, settle(err)
	}
	mine, err := k.clusterID(ctx)
	if err != nil {
		return out, settle(err)
	}
	theirs, err := other.clusterID(ctx)
	if err != nil {
		return out, settle(err)
	}
	if mine == theirs {
		return out, refuse(workflows.ErrRefused, "sites %s and %s are the same cluster (%s): nothing was deleted; correct the plan", in.Site.Name, in.Other.Name, mine)
	}
	mirrors, err := a.mirrors(ctx, in.Site, in.Link)
	if err != nil {
		return out, settle(err)
	}
	copies, err := other.topics(ctx, in.Topics...)
	if err != nil {
		return out, settle(err)
	}
	have, err := k.topics(ctx, in.Topics...)
	if err != nil {
		return out, settle(err)
	}
	var doomed []string
	for _, t := range in.Topics {
		switch {
		case !over(mirrors[t].MirrorStatus):
			out.Kept = append(out.Kept, t)
		case len(copies[t]) == 0 && !slices.Contains(in.Agreed, t):
			return out, refuse(workflows.ErrRefused, "topic %s does not exist at %s: deleting it at %s would destroy the only copy; nothing was deleted", t, in.Other.Name, in.Site.Name)
		case len(have[t]) > 0:
			doomed = append(doomed, t)
		}
	}
	if len(doomed) == 0 {
		return out, nil
	}
	if err := k.delete(ctx, doomed); err != nil {
		return out, settle(err)
	}
	out.Deleted = doomed
	a.logger(in.Call).Warn("topics deleted for a rebuild", "site", in.Site.Name, "topics", doomed)
	return out, nil
}

func (k *kafka) delete(ctx context.Context, topics []string) error {
	short, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	got, err := k.adm.DeleteTopics(short, topics...)
	if err != nil {
		return fmt.Errorf("delete topics at site %s: %w", k.site, err)
	}
	for _, r := range got.Sorted() {
		if r.Err != nil && !errors.Is(r.Err, kerr.UnknownTopicOrPartition) {
			return fmt.Errorf("delete topic %s at site %s: %w", r.Topic, k.site, r.Err)
		}
	}
	left := map[string]map[int32]int32{}
	done, err := poll(ctx, endWithin, func(ctx context.Context) (bool, error) {
		var err error
		left, err = k.topics(ctx, topics...)
		return len(left) == 0, err
	})
	if err == nil && !done {
		err = notYet("%d deleted topics still show at site %s", len(left), k.site)
	}
	return err
}
