package link

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// topicNameLimit is Kafka's (Topic.java).
const topicNameLimit = 249

// provenanceRoom is what the four headers may add to a record.
const provenanceRoom = 4096

// exportTopic is where lagged records of a topic are exported to.
func exportTopic(link, topic string) string { return "drawbridge.ledger." + link + "." + topic }

// ExportLedger writes lagged records into topics of their own on the local
// cluster, kept for ever, same partition numbers, with their provenance. As
// append it may be called again after anything. An entry that was undecided is
// EXPORTED then; of one that was appended or discarded the export is an archive
// (the divergent tail, before its topic is rebuilt) and the decision stays.
// The answer's Topic names all topics written, comma separated; Records counts
// what stands there of the entries.
func (m *Manager) ExportLedger(ctx context.Context, link string, decide api.DecideLedger) (api.Export, error) {
	l, recs, err := m.deciding(ctx, link, decide, api.LedgerExported)
	if err != nil {
		return api.Export{}, err
	}
	defer l.ledgerRun.Unlock()
	out := api.Export{Entries: []api.LedgerEntry{}}
	var topics []string
	var errs []error
	for _, r := range recs {
		if r.Entry.Decision == api.LedgerNothing {
			continue
		}
		n, entry, err := l.exportEntry(ctx, r, decide)
		if err != nil {
			errs = append(errs, fmt.Errorf("export the lagged records of %s: %w", r, err))
			if ctx.Err() != nil {
				break
			}
			continue
		}
		out.Records += n
		out.Entries = append(out.Entries, entry)
		topics = append(topics, exportTopic(link, r.Entry.Topic))
	}
	if err := errors.Join(errs...); err != nil {
		return api.Export{}, err
	}
	out.Topic = strings.Join(compact(topics), ",")
	return out, nil
}

func (l *Link) exportEntry(ctx context.Context, r ledgerRecord, decide api.DecideLedger) (int64, api.LedgerEntry, error) {
	mt, err := l.mirror(r.Entry.Topic)
	if err != nil {
		return 0, r.Entry, err
	}
	rec := mt.record()
	topic := exportTopic(rec.Link, rec.Topic)
	if err := l.ensureExportTopic(ctx, rec, topic, r.Entry.Partition+1); err != nil {
		return 0, r.Entry, err
	}
	undecided := r.Entry.Decision == api.LedgerUndecided
	if undecided && r.Intent == "" {
		r.Intent = api.LedgerExported
	}
	if w := r.Writer; w != nil && w.Topic != topic {
		// An append was begun; its writer must stay known until it is fenced.
		if err := (&ledgerCopy{link: l, rec: &r, into: topicPartition{w.Topic, r.Entry.Partition}}).silence(ctx); err != nil {
			return 0, r.Entry, err
		}
	}
	c := &ledgerCopy{link: l, rec: &r, mirror: rec, into: topicPartition{topic, r.Entry.Partition}}
	if err := c.run(ctx); err != nil {
		return 0, r.Entry, err
	}
	r.Writer = nil
	if undecided && r.Intent == api.LedgerExported {
		r.decide(api.LedgerExported, decide)
	}
	if err := l.putLedger(ctx, r); err != nil {
		return 0, r.Entry, err
	}
	n, _, _ := c.written()
	l.log.Info("lagged records exported", "topic", rec.Topic, "partition", r.Entry.Partition, "records", n,
		"to", topic, "decided_by", decide.DecidedBy, "reason", decide.Reason)
	return n, r.Entry, nil
}

// ensureExportTopic makes the topic with at least as many partitions as its
// mirror has, or as are wanted.
func (l *Link) ensureExportTopic(ctx context.Context, rec mirrorRecord, topic string, partitions int32) error {
	if len(topic) > topicNameLimit {
		return api.BadRequest("the export topic would be called %s: longer than Kafka's %d characters", topic, topicNameLimit)
	}
	partitions = max(partitions, rec.Partitions)
	local := l.mgr.local
	limit, err := messageLimit(ctx, local, rec.Topic)
	if errors.Is(err, kerr.UnknownTopicOrPartition) { // deleted here since: the records are of its source
		limit, err = messageLimit(ctx, l.src, rec.SourceTopic)
	}
	if err != nil {
		return err
	}
	forever, remove, room := "-1", "delete", strconv.Itoa(int(limit)+provenanceRoom)
	configs := map[string]*string{"retention.ms": &forever, "retention.bytes": &forever, "cleanup.policy": &remove, "max.message.bytes": &room}
	for k, v := range mirrorConfigs {
		if v != "" {
			configs[k] = &v
		}
	}
	rf := l.mgr.opts.ReplicationFactor
	if rf == 0 {
		rf = -1
	}
	res, err := local.adm.CreateTopic(ctx, partitions, rf, configs, topic)
	if err == nil {
		err = res.Err
	}
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return api.Forbidden("the engine's principal may not create topic %s on this cluster: allow it CREATE, READ, WRITE, ALTER and DESCRIBE_CONFIGS on topics drawbridge.ledger. (prefixed)", topic)
	case err != nil && !errors.Is(err, kerr.TopicAlreadyExists):
		return fmt.Errorf("create topic %s: %w %s", topic, err, res.ErrMessage)
	}
	if err := local.refresh(ctx, topic); err != nil {
		return err
	}
	if t, _ := local.topic(topic); t.err == nil && len(t.leaders) > 0 && len(t.leaders) < int(partitions) {
		grown, err := local.adm.UpdatePartitions(ctx, int(partitions), topic)
		if err == nil {
			err = grown.Error()
		}
		if err != nil && !errors.Is(err, kerr.InvalidPartitions) {
			return fmt.Errorf("grow topic %s to %d partitions: %w", topic, partitions, err)
		}
	}
	_, err = l.awaitTopic(ctx, topic, partitions)
	return err
}
