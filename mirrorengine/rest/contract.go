package rest

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// contract registers the endpoints of Kafka REST v3 that concern cluster links,
// and those that look at the cluster beside them.
func (s *Server) contract(mux *router, prefix string) {
	cluster := prefix + "/clusters/{cluster_id}"
	on := func(method, path string, h handler) {
		s.handle(mux, method+" "+cluster+path, prefix, s.local(h))
	}
	if s.opts.Cluster != nil {
		s.topics(on)
		s.groups(on)
	}
	s.handle(mux, "GET "+prefix+"/clusters", prefix, s.listClusters)
	on("GET", "", s.getCluster)

	on("GET", "/links", s.listLinks)
	on("POST", "/links", s.createLink)
	on("GET", "/links/{link}", s.getLink)
	on("DELETE", "/links/{link}", s.deleteLink)
	on("GET", "/links/{link}/configs", s.listConfigs)
	on("GET", "/links/{link}/configs/{name}", s.getConfig)
	on("PUT", "/links/{link}/configs/{name}", s.setConfig)
	on("DELETE", "/links/{link}/configs/{name}", s.resetConfig)
	on("PUT", "/links/{link}/configs:alter", s.alterConfigs)

	on("GET", "/links/{link}/mirrors", s.listMirrors)
	on("GET", "/links/-/mirrors", s.listMirrors)
	on("POST", "/links/{link}/mirrors", s.createMirror)
	on("GET", "/links/{link}/mirrors/{topic}", s.getMirror)
	for _, verb := range []api.MirrorVerb{api.VerbPromote, api.VerbFailover, api.VerbPause, api.VerbResume} {
		on("POST", "/links/{link}/mirrors:"+string(verb), s.alterMirrors(verb))
	}
	for _, verb := range []string{
		"reverse-and-start-mirror", "reverse-and-pause-mirror", "truncate-and-restore",
		"promote-local-and-start-remote-mirror", "promote-local-and-pause-remote-mirror", // older names of the first two
	} {
		on("POST", "/links/{link}/mirrors:"+verb, func(http.ResponseWriter, *request) error {
			return api.BadRequest("mirrors:%s is not supported by this release of the engine; the failback runbook moves mirrors home.", verb)
		})
	}
}

// local refuses every cluster but ours.
func (s *Server) local(h handler) handler {
	return func(w http.ResponseWriter, r *request) error {
		if id := r.PathValue("cluster_id"); id != s.opts.Links.ClusterID() {
			return api.ClusterNotFound(id)
		}
		return h(w, r)
	}
}

func (s *Server) listClusters(w http.ResponseWriter, r *request) error {
	return writeList(w, api.KindClusterList, r.base, []api.Cluster{s.cluster(r)})
}

func (s *Server) getCluster(w http.ResponseWriter, r *request) error {
	return writeJSON(w, http.StatusOK, s.cluster(r))
}

// cluster describes the local cluster. Of the resources that it points at this
// engine serves topics and consumer groups.
func (s *Server) cluster(r *request) api.Cluster {
	id := s.opts.Links.ClusterID()
	self := r.base + "/" + url.PathEscape(id)
	at := func(name string) api.Related { return api.Related{Related: self + "/" + name} }
	return api.Cluster{
		Kind: api.KindCluster, Metadata: api.Metadata{Self: self}, ClusterID: id,
		ACLs: at("acls"), Brokers: at("brokers"), BrokerConfigs: at("broker-configs"),
		ConsumerGroups: at("consumer-groups"), Topics: at("topics"),
		PartitionReassignments: at("topics/-/partitions/-/reassignment"),
	}
}

func (s *Server) listMirrors(w http.ResponseWriter, r *request) error {
	link := r.PathValue("link")
	if link == "" {
		link = api.AllLinks // the literal "-" of the path
	}
	status, err := mirrorStatus(r)
	if err != nil {
		return err
	}
	mirrors, err := s.opts.Links.Mirrors(r.Context(), link, status)
	if err != nil {
		return err
	}
	for i := range mirrors {
		s.finishMirror(r, &mirrors[i])
	}
	return writeList(w, api.KindMirrorList, s.self(r, "links", link, "mirrors"), mirrors)
}

func (s *Server) createMirror(w http.ResponseWriter, r *request) error {
	var body api.CreateMirror
	if err := decode(r, &body); err != nil {
		return err
	}
	if body.SourceTopicName == "" {
		return api.BadRequest("source_topic_name is required.")
	}
	if err := s.opts.Links.CreateMirror(r.Context(), r.PathValue("link"), body); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) getMirror(w http.ResponseWriter, r *request) error {
	withErrors, err := boolean(r, api.QueryTransitionErrors, false)
	if err != nil {
		return err
	}
	mirror, err := s.opts.Links.Mirror(r.Context(), r.PathValue("link"), r.PathValue("topic"), withErrors)
	if err != nil {
		return err
	}
	s.finishMirror(r, &mirror)
	return writeJSON(w, http.StatusOK, mirror)
}

func (s *Server) alterMirrors(verb api.MirrorVerb) handler {
	return func(w http.ResponseWriter, r *request) error {
		validateOnly, err := boolean(r, api.QueryValidateOnly, false)
		if err != nil {
			return err
		}
		var body api.AlterMirrors
		if err := decode(r, &body); err != nil {
			return err
		}
		if (len(body.MirrorTopicNames) == 0) == (body.MirrorTopicNamePattern == "") {
			return api.BadRequest("Exactly one of mirror_topic_names and mirror_topic_name_pattern is wanted.")
		}
		if _, err := regexp.Compile(body.MirrorTopicNamePattern); err != nil {
			return api.BadRequest("mirror_topic_name_pattern: %v", err)
		}
		link := r.PathValue("link")
		results, err := s.opts.Links.AlterMirrors(r.Context(), link, verb, body, validateOnly)
		if err != nil {
			return err
		}
		return writeList(w, verb.Kind(), s.self(r, "links", link, "mirrors:"+string(verb)), s.finishResults(r, link, results))
	}
}

// self is the absolute URL of a resource of the local cluster.
func (s *Server) self(r *request, parts ...string) string {
	var b strings.Builder
	b.WriteString(r.base + "/" + url.PathEscape(s.opts.Links.ClusterID()))
	for _, part := range parts {
		b.WriteString("/" + url.PathEscape(part))
	}
	return b.String()
}

func (s *Server) finishMirror(r *request, m *api.Mirror) {
	m.Kind = api.KindMirror
	m.Metadata = api.Metadata{Self: s.self(r, "links", m.LinkName, "mirrors", m.MirrorTopicName)}
}

// finishResults says what the results are.
func (s *Server) finishResults(r *request, link string, results []api.AlterMirrorResult) []api.AlterMirrorResult {
	for i := range results {
		res := &results[i]
		res.Kind = api.KindAlterMirrors
		res.Metadata = api.Metadata{Self: s.self(r, "links", link, "mirrors", res.MirrorTopicName)}
	}
	return results
}

func writeList[T any](w http.ResponseWriter, kind, self string, data []T) error {
	return writeJSON(w, http.StatusOK, api.List[T]{Kind: kind, Metadata: api.Metadata{Self: self}, Data: data})
}
