package link

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// The drift report: effective topic configs in which a mirror differs from its
// source although both are synced, as a rule because the two clusters have other
// defaults. A mirror created from a topic that keeps its records for a week by
// its cluster's default keeps them for a day where that is the default: unseen
// until a consumer has failed over.

// watchedConfig is a config that changes what a mirror holds, or what clients
// meet after a failover.
type watchedConfig struct {
	name string
	// harm tells whether the mirror's value does harm, as against a difference
	// that somebody should know of.
	harm func(source, dest int64) bool
	// meaning of the difference, for the person who reads it.
	meaning string
}

func less(source, dest int64) bool { return dest < source }
func other(int64, int64) bool      { return true }
func never(int64, int64) bool      { return false }

// shorter compares limits of which -1 is none.
func shorter(source, dest int64) bool { return dest >= 0 && (source < 0 || dest < source) }

var watchedConfigs = []watchedConfig{
	{"cleanup.policy", other, "records are deleted or compacted on one side only"},
	{"retention.ms", shorter, "records are kept for another time than at the source; where it is shorter, groups that fail over may find theirs deleted"},
	{"retention.bytes", shorter, "records are kept up to another size than at the source; where it is less, groups that fail over may find theirs deleted"},
	{"delete.retention.ms", less, "tombstones of a compacted topic go at another time; where it is sooner, a reader that lags misses deletions"},
	{"min.insync.replicas", less, "acks=all means another number of replicas after a failover; where it is less, acknowledged records are safe on fewer"},
	{"max.message.bytes", less, "producers may send batches of another size after a failover; where it is less, mirroring stalls at a batch that is larger"},
	{"unclean.leader.election.enable", other, "one side prefers availability to acknowledged records"},
	{"min.compaction.lag.ms", less, "a compacted topic may drop older values of a key at another time"},
	{"max.compaction.lag.ms", never, "a compacted topic must drop older values of a key at another time"},
	{"compression.type", never, "a mirror keeps each batch's codec; producers meet the source's setting again only when somebody sets it after a failover"},
	{"message.timestamp.type", never, "a mirror keeps the records' times; after a failover set the source's type again"},
	{"message.timestamp.before.max.ms", never, "a mirror takes records of any age; after a failover set the source's limit again"},
	{"message.timestamp.after.max.ms", never, "a mirror takes records of any time; after a failover set the source's limit again"},
}

// drifts collects differences: those of the same config and values share one.
type drifts struct {
	entries map[driftKey][]string
}

type driftKey struct {
	config       int // of watchedConfigs
	source, dest topicConfig
}

// compare adds what differs of one mirror: have is the mirror's configs before
// want was set.
func (d *drifts) compare(rec mirrorRecord, source, have map[string]topicConfig, want map[string]string) {
	for i, w := range watchedConfigs {
		src, ok := source[w.name]
		dst, known := have[w.name]
		if v, set := want[w.name]; set {
			dst, known = topicConfig{v, kmsg.ConfigSourceDynamicTopicConfig}, true
		}
		if !ok || !known || src.value == dst.value {
			continue // brokers of other versions do not have every config
		}
		if d.entries == nil {
			d.entries = map[driftKey][]string{}
		}
		k := driftKey{i, src, dst}
		d.entries[k] = append(d.entries[k], rec.Topic)
	}
}

// report puts harm first, then goes by the list's order.
func (d *drifts) report(link string, at time.Time) api.Drift {
	out := api.Drift{Link: link, ComputedAt: at, Entries: []api.DriftEntry{}}
	for k, topics := range d.entries {
		w := watchedConfigs[k.config]
		_, needed := mirrorConfigs[w.name]
		e := api.DriftEntry{
			Config: w.name, Source: api.DriftValue{Value: k.source.value, From: k.source.from.String()},
			Destination: api.DriftValue{Value: k.dest.value, From: k.dest.from.String()},
			Harmful:     w.harm(number(k.source.value), number(k.dest.value)), ByDesign: needed,
			Meaning: w.meaning, Cure: driftCure(w.name, k.source, needed), Topics: topics,
		}
		slices.Sort(e.Topics)
		out.Entries = append(out.Entries, e)
	}
	slices.SortFunc(out.Entries, func(a, b api.DriftEntry) int {
		switch {
		case a.Harmful != b.Harmful && a.Harmful:
			return -1
		case a.Harmful != b.Harmful:
			return 1
		}
		place := func(e api.DriftEntry) int {
			return slices.IndexFunc(watchedConfigs, func(w watchedConfig) bool { return w.name == e.Config })
		}
		return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a.Source.Value, b.Source.Value), cmp.Compare(a.Destination.Value, b.Destination.Value))
	})
	return out
}

// number of a config that is one; those that are none differ anyhow.
func number(v string) int64 {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func driftCure(name string, source topicConfig, needed bool) string {
	switch {
	case needed:
		return fmt.Sprintf("none while it is a mirror; after a failover set %s=%s on the topic", name, source.value)
	case source.from == kmsg.ConfigSourceDynamicTopicConfig:
		return fmt.Sprintf("the mirror was created with its own %s; create it without to have it follow the source", name)
	}
	return fmt.Sprintf("add %s to topic.config.sync.include of the link, or set it on the source topics, or give both clusters the same default", name)
}

// driftNotes are the differences that are not a mirror's nature, as task notes.
func driftNotes(d api.Drift) []api.TaskError {
	var notes []api.TaskError
	for _, e := range d.Entries {
		if e.ByDesign {
			continue
		}
		notes = append(notes, api.TaskError{ErrorCode: "MISCONFIGURATION_ERROR", ErrorMessage: fmt.Sprintf(
			"%s is %s at the source (%s) and %s here (%s) for %s: %s; %s", e.Config, e.Source.Value, strings.ToLower(e.Source.From), e.Destination.Value,
			strings.ToLower(e.Destination.From), few(e.Topics), e.Meaning, e.Cure)})
	}
	return notes
}

// Drift tells in what the mirrors of a link differed from their sources when
// their configs were synced last; ComputedAt is zero before.
func (m *Manager) Drift(_ context.Context, link string) (api.Drift, error) {
	l, err := m.link(link)
	if err != nil {
		return api.Drift{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.drift.Link == "" {
		return api.Drift{Link: link, Entries: []api.DriftEntry{}}, nil
	}
	return l.drift, nil
}
