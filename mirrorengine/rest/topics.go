package rest

import (
	"context"
	"net/http"
	"strconv"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// Cluster is what the server needs to show the local cluster's topics and
// consumer groups; cluster.Reader has it. Kind, Metadata, ClusterID, relations and
// nil lists in results are filled in by the server.
type Cluster interface {
	Topics(ctx context.Context) ([]api.Topic, error)
	Topic(ctx context.Context, name string) (api.Topic, error)
	// Partitions of a topic, in their order.
	Partitions(ctx context.Context, topic string) ([]api.Partition, error)
	// TopicConfigs of one topic, or of all for api.AllTopics.
	TopicConfigs(ctx context.Context, topic string) ([]api.TopicConfig, error)

	Groups(ctx context.Context) ([]api.ConsumerGroup, error)
	Group(ctx context.Context, id string) (api.ConsumerGroup, error)
	Consumers(ctx context.Context, group string) ([]api.Consumer, error)
	// Lags of a group, where it has committed an offset.
	Lags(ctx context.Context, group string) ([]api.ConsumerLag, error)
	LagSummary(ctx context.Context, group string) (api.LagSummary, error)
}

// topics registers the looks at the local cluster's topics.
func (s *Server) topics(on func(method, path string, h handler)) {
	on("GET", "/topics", s.listTopics)
	on("GET", "/topics/{topic}", s.getTopic)
	on("GET", "/topics/{topic}/partitions", s.listPartitions)
	on("GET", "/topics/{topic}/partitions/{partition_id}", s.getPartition)
	on("GET", "/topics/{topic}/configs", s.listTopicConfigs)
	on("GET", "/topics/-/configs", s.listTopicConfigs)
	on("GET", "/topics/{topic}/configs/{name}", s.getTopicConfig)
}

// related points at a resource of the local cluster.
func (s *Server) related(r *request, parts ...string) api.Related {
	return api.Related{Related: s.self(r, parts...)}
}

func (s *Server) listTopics(w http.ResponseWriter, r *request) error {
	topics, err := s.opts.Cluster.Topics(r.Context())
	if err != nil {
		return err
	}
	for i := range topics {
		s.finishTopic(r, &topics[i])
	}
	return writeList(w, api.KindTopicList, s.self(r, "topics"), topics)
}

func (s *Server) getTopic(w http.ResponseWriter, r *request) error {
	topic, err := s.opts.Cluster.Topic(r.Context(), r.PathValue("topic"))
	if err != nil {
		return err
	}
	s.finishTopic(r, &topic)
	return writeJSON(w, http.StatusOK, topic)
}

func (s *Server) finishTopic(r *request, t *api.Topic) {
	t.Kind, t.ClusterID = api.KindTopic, s.opts.Links.ClusterID()
	t.Metadata = api.Metadata{Self: s.self(r, "topics", t.TopicName)}
	t.Partitions = s.related(r, "topics", t.TopicName, "partitions")
	t.Configs = s.related(r, "topics", t.TopicName, "configs")
	t.PartitionReassignments = s.related(r, "topics", t.TopicName, "partitions", "-", "reassignment")
}

// partitions are those of the topic in the path.
func (s *Server) partitions(r *request) ([]api.Partition, error) {
	topic := r.PathValue("topic")
	partitions, err := s.opts.Cluster.Partitions(r.Context(), topic)
	for i := range partitions {
		p := &partitions[i]
		at := func(parts ...string) []string {
			return append([]string{"topics", topic, "partitions", strconv.Itoa(int(p.PartitionID))}, parts...)
		}
		p.Kind, p.ClusterID = api.KindPartition, s.opts.Links.ClusterID()
		p.Metadata = api.Metadata{Self: s.self(r, at()...)}
		p.Replicas, p.Reassignment = s.related(r, at("replicas")...), s.related(r, at("reassignment")...)
		if p.LeaderID >= 0 {
			leader := s.related(r, at("replicas", strconv.Itoa(int(p.LeaderID)))...)
			p.Leader = &leader
		}
	}
	return partitions, err
}

func (s *Server) listPartitions(w http.ResponseWriter, r *request) error {
	partitions, err := s.partitions(r)
	if err != nil {
		return err
	}
	return writeList(w, api.KindPartitionList, s.self(r, "topics", r.PathValue("topic"), "partitions"), partitions)
}

func (s *Server) getPartition(w http.ResponseWriter, r *request) error {
	id, err := partitionID(r)
	if err != nil {
		return err
	}
	partitions, err := s.partitions(r)
	if err != nil {
		return err
	}
	for _, p := range partitions {
		if p.PartitionID == id {
			return writeJSON(w, http.StatusOK, p)
		}
	}
	return api.PartitionNotFound(r.PathValue("topic"), id)
}

// partitionID reads the path's partition.
func partitionID(r *request) (int32, error) {
	id, err := strconv.ParseInt(r.PathValue("partition_id"), 10, 32)
	if err != nil {
		return 0, api.Malformed("'%s' is no partition: a number is wanted.", r.PathValue("partition_id"))
	}
	return int32(id), nil
}

func (s *Server) topicConfigs(r *request, topic string) ([]api.TopicConfig, error) {
	configs, err := s.opts.Cluster.TopicConfigs(r.Context(), topic)
	for i := range configs {
		c := &configs[i]
		c.Kind, c.ClusterID = api.KindTopicConfig, s.opts.Links.ClusterID()
		c.Metadata = api.Metadata{Self: s.self(r, "topics", c.TopicName, "configs", c.Name)}
	}
	return configs, err
}

func (s *Server) listTopicConfigs(w http.ResponseWriter, r *request) error {
	topic := r.PathValue("topic")
	if topic == "" {
		topic = api.AllTopics // the literal "-" of the path
	}
	configs, err := s.topicConfigs(r, topic)
	if err != nil {
		return err
	}
	return writeList(w, api.KindTopicConfigs, s.self(r, "topics", topic, "configs"), configs)
}

func (s *Server) getTopicConfig(w http.ResponseWriter, r *request) error {
	configs, err := s.topicConfigs(r, r.PathValue("topic"))
	if err != nil {
		return err
	}
	for _, c := range configs {
		if c.Name == r.PathValue("name") {
			return writeJSON(w, http.StatusOK, c)
		}
	}
	return api.NotFound("Topic '%s' has no config '%s'.", r.PathValue("topic"), r.PathValue("name"))
}
