package rest

import (
	"net/http"
	"strconv"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// groups registers the looks at the local cluster's consumer groups.
func (s *Server) groups(on func(method, path string, h handler)) {
	const group = "/consumer-groups/{group}"
	on("GET", "/consumer-groups", s.listGroups)
	on("GET", group, s.getGroup)
	on("GET", group+"/consumers", s.listConsumers)
	on("GET", group+"/consumers/{consumer_id}", s.getConsumer)
	on("GET", group+"/lag-summary", s.getLagSummary)
	on("GET", group+"/lags", s.listLags)
	on("GET", group+"/lags/{topic}/partitions/{partition_id}", s.getLag)
}

func (s *Server) listGroups(w http.ResponseWriter, r *request) error {
	groups, err := s.opts.Cluster.Groups(r.Context())
	if err != nil {
		return err
	}
	for i := range groups {
		s.finishGroup(r, &groups[i])
	}
	return writeList(w, api.KindGroupList, s.self(r, "consumer-groups"), groups)
}

func (s *Server) getGroup(w http.ResponseWriter, r *request) error {
	group, err := s.opts.Cluster.Group(r.Context(), r.PathValue("group"))
	if err != nil {
		return err
	}
	s.finishGroup(r, &group)
	return writeJSON(w, http.StatusOK, group)
}

func (s *Server) finishGroup(r *request, g *api.ConsumerGroup) {
	id := g.ConsumerGroupID
	g.Kind, g.ClusterID = api.KindGroup, s.opts.Links.ClusterID()
	g.Metadata = api.Metadata{Self: s.self(r, "consumer-groups", id)}
	g.Coordinator = s.related(r, "brokers", strconv.Itoa(int(g.CoordinatorID)))
	g.Consumers = s.related(r, "consumer-groups", id, "consumers")
	g.LagSummary = s.related(r, "consumer-groups", id, "lag-summary")
}

// consumers are the members of the group in the path.
func (s *Server) consumers(r *request) ([]api.Consumer, error) {
	group := r.PathValue("group")
	consumers, err := s.opts.Cluster.Consumers(r.Context(), group)
	for i := range consumers {
		c := &consumers[i]
		c.Kind, c.ClusterID = api.KindConsumer, s.opts.Links.ClusterID()
		c.Metadata = api.Metadata{Self: s.self(r, "consumer-groups", group, "consumers", c.ConsumerID)}
		c.Assignments = s.related(r, "consumer-groups", group, "consumers", c.ConsumerID, "assignments")
	}
	return consumers, err
}

func (s *Server) listConsumers(w http.ResponseWriter, r *request) error {
	consumers, err := s.consumers(r)
	if err != nil {
		return err
	}
	return writeList(w, api.KindConsumerList, s.self(r, "consumer-groups", r.PathValue("group"), "consumers"), consumers)
}

func (s *Server) getConsumer(w http.ResponseWriter, r *request) error {
	consumers, err := s.consumers(r)
	if err != nil {
		return err
	}
	for _, c := range consumers {
		if c.ConsumerID == r.PathValue("consumer_id") {
			return writeJSON(w, http.StatusOK, c)
		}
	}
	return api.NotFound("Consumer group '%s' has no consumer '%s'.", r.PathValue("group"), r.PathValue("consumer_id"))
}

func (s *Server) getLagSummary(w http.ResponseWriter, r *request) error {
	group := r.PathValue("group")
	l, err := s.opts.Cluster.LagSummary(r.Context(), group)
	if err != nil {
		return err
	}
	l.Kind, l.ClusterID = api.KindLagSummary, s.opts.Links.ClusterID()
	l.Metadata = api.Metadata{Self: s.self(r, "consumer-groups", group, "lag-summary")}
	l.MaxLagConsumer = s.related(r, "consumer-groups", group, "consumers", l.MaxLagConsumerID)
	l.MaxLagPartition = s.related(r, "topics", l.MaxLagTopicName, "partitions", strconv.Itoa(int(l.MaxLagPartitionID)))
	return writeJSON(w, http.StatusOK, l)
}

// lags are those of the group in the path.
func (s *Server) lags(r *request) ([]api.ConsumerLag, error) {
	group := r.PathValue("group")
	lags, err := s.opts.Cluster.Lags(r.Context(), group)
	for i := range lags {
		l := &lags[i]
		l.Kind, l.ClusterID = api.KindLag, s.opts.Links.ClusterID()
		l.Metadata = api.Metadata{Self: s.self(r, "consumer-groups", group, "lags", l.TopicName, "partitions", strconv.Itoa(int(l.PartitionID)))}
	}
	return lags, err
}

func (s *Server) listLags(w http.ResponseWriter, r *request) error {
	lags, err := s.lags(r)
	if err != nil {
		return err
	}
	return writeList(w, api.KindLagList, s.self(r, "consumer-groups", r.PathValue("group"), "lags"), lags)
}

func (s *Server) getLag(w http.ResponseWriter, r *request) error {
	id, err := partitionID(r)
	if err != nil {
		return err
	}
	lags, err := s.lags(r)
	if err != nil {
		return err
	}
	topic, reads := r.PathValue("topic"), false
	for _, l := range lags {
		reads = reads || l.TopicName == topic
		if l.TopicName == topic && l.PartitionID == id {
			return writeJSON(w, http.StatusOK, l)
		}
	}
	if reads {
		return api.PartitionNotFound(topic, id)
	}
	return &api.Error{
		Status: http.StatusNotFound, ErrorCode: api.CodeTopicNotFound,
		Message: "Consumer group '" + r.PathValue("group") + "' has committed no offset in topic '" + topic + "'.",
	}
}
