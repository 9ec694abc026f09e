package link

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/offsetmap"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
)

// What the state topic holds of links and mirrors. Links, mirrors and all that
// concerns a pair stand in shard 0; segments, markers, stop offsets and gaps in
// the shard of their partition.

// linkRecord is a cluster link; Configs as given, secrets as references or
// sealed.
type linkRecord struct {
	Name            string            `json:"name"`
	ID              string            `json:"id"` // dashed UUID
	SourceClusterID string            `json:"source_cluster_id"`
	Configs         map[string]string `json:"configs"`
	CreatedAt       time.Time         `json:"created_at"`
}

// same: both are of the same link with the same configs.
func (r linkRecord) same(o linkRecord) bool {
	return r.ID == o.ID && r.SourceClusterID == o.SourceClusterID && maps.Equal(r.Configs, o.Configs)
}

// mirrorRecord is a mirror topic of a link.
type mirrorRecord struct {
	Link          string `json:"link"`
	Topic         string `json:"topic"`
	SourceTopic   string `json:"source_topic"`
	TopicID       string `json:"topic_id"` // empty until the topic is made
	SourceTopicID string `json:"source_topic_id"`
	// SourceClusterID and DestClusterID outlive the link with the segments.
	SourceClusterID string `json:"source_cluster_id"`
	DestClusterID   string `json:"dest_cluster_id"`
	Status          string `json:"status"`
	// Intent is "promote" or "failover" while PENDING_STOPPED; Before is the
	// status to go back to when a promote is given up.
	Intent string `json:"intent,omitempty"`
	Before string `json:"before,omitempty"`
	// Unmade until the mirror is made whole: topic, guard, first segments.
	Unmade bool `json:"unmade,omitempty"`
	// Fenced: the mirror ends where it stands, for every replica; recorded before our
	// writers are fenced. From here on there is no way back.
	Fenced            bool              `json:"fenced,omitempty"`
	Error             string            `json:"error"`
	Reason            string            `json:"reason,omitempty"`
	StateTime         time.Time         `json:"state_time"`
	Transition        []transitionError `json:"transition_errors,omitempty"`
	ReplicationFactor int16             `json:"replication_factor,omitempty"`
	Configs           map[string]string `json:"configs,omitempty"`
	Partitions        int32             `json:"partitions"`
	WriterFence       string            `json:"writer_fence,omitempty"`
	Guard             string            `json:"guard,omitempty"`
	// Rejoined mirrors started over an existing topic.
	Rejoined bool `json:"rejoined,omitempty"`
	// TipAt is a time at which the mirror held all that its source had (retention.go).
	TipAt time.Time `json:"tip_at,omitzero"`
	// Gone: the topic was deleted on this cluster, or made anew by others.
	Gone bool `json:"gone,omitempty"`
	// Reversed: the source mirrors from here now, by a planned move.
	Reversed bool `json:"reversed,omitempty"`
}

// over: nothing of the mirror is left to be ended.
func (r mirrorRecord) over() bool { return final(r.Status) || r.Gone }

type transitionError struct {
	Time    time.Time `json:"time"`
	Code    string    `json:"code"`
	Message string    `json:"message"`
}

// segmentsRecord is one write-ahead piece of a partition's map.
type segmentsRecord struct {
	Segments []offsetmap.Segment `json:"segments"`
}

// stopRecord is where a mirrored partition ended.
type stopRecord struct {
	Partition  int32     `json:"partition"`
	SourceStop int64     `json:"source_stop"`
	DestStop   int64     `json:"dest_stop"`
	Fence      string    `json:"fence"` // api.WriterFence…
	At         time.Time `json:"at"`
}

// markersRecord says that nothing but markers stands in the Count offsets before
// End of a mirrored partition, and what our next batch bears there.
type markersRecord struct {
	Count         int64 `json:"count"`
	End           int64 `json:"end"`
	ProducerID    int64 `json:"producer_id"`
	ProducerEpoch int16 `json:"producer_epoch"`
	FirstSequence int32 `json:"first_sequence"`
}

const (
	linkPrefix    = "link/"
	mirrorsPrefix = "mirror/"
)

func linkKey(name string) string          { return linkPrefix + name }
func mirrorKey(link, topic string) string { return mirrorPrefix(link) + topic }
func formerKey(link, topic string) string { return "former/" + link + "/" + topic }
func mirrorPrefix(link string) string     { return mirrorsPrefix + link + "/" }
func segmentPrefix(topicID string, p int32) string {
	return fmt.Sprintf("segment/%s/%06d/", topicID, p)
}

func segmentKey(topicID string, p int32, dest int64) string {
	return fmt.Sprintf("%s%020d", segmentPrefix(topicID, p), dest)
}

func markersKey(topicID string, p int32) string {
	return fmt.Sprintf("markers/%s/%06d", topicID, p)
}
func stopKey(topicID string, p int32) string { return fmt.Sprintf("stop/%s/%06d", topicID, p) }

// idString writes a topic id as Kafka's tools do.
func idString(id [16]byte) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// put writes to a shard that this replica owns. After an error memory and topic
// may have parted: the store gives the shard up and takes it over anew, and what
// rests on it is made anew with it (replica.go).
func (m *Manager) put(ctx context.Context, shard int32, entries ...state.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	return unled(m.store.Put(ctx, shard, entries...))
}

// loadSegments reads a partition's map from the state topic.
func loadSegments(s *state.Store, topicID string, p int32) ([]offsetmap.Segment, error) {
	recs, err := state.All[segmentsRecord](s, segmentPrefix(topicID, p))
	if err != nil {
		return nil, err
	}
	var segs []offsetmap.Segment
	for _, r := range recs {
		segs = append(segs, r.Segments...)
	}
	return segs, nil
}

// trimEntries are the writes that cut a stored map back to the segments before
// dest: whole pieces are removed, the piece that holds the cut is rewritten.
func trimEntries(s *state.Store, topicID string, p int32, dest int64) ([]state.Entry, error) {
	var out []state.Entry
	for _, k := range s.Keys(segmentPrefix(topicID, p)) {
		var rec segmentsRecord
		if _, err := s.Get(k, &rec); err != nil {
			return nil, err
		}
		keep := rec.Segments[:0:0]
		for _, seg := range rec.Segments {
			if seg.DestStart < dest {
				keep = append(keep, seg)
			}
		}
		switch {
		case len(keep) == len(rec.Segments):
		case len(keep) == 0:
			out = append(out, state.Entry{Key: k})
		default:
			out = append(out, state.Entry{Key: k, Value: segmentsRecord{Segments: keep}})
		}
	}
	return out, nil
}
