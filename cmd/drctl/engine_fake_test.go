package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

const (
	fakeCluster = "lkc-west"
	fakeToken   = "engine-secret"
)

// fakeEngine speaks the contract strictly: what it does not know, in path, query, body or token, it answers with an error
// and the test fails by a wrong exit code. It keeps links and mirrors in memory and copies nothing.
type fakeEngine struct {
	mu      sync.Mutex // guards the fields below
	links   map[string]*api.Link
	configs map[string]map[string]string
	mirrors map[string][]*api.Mirror // by link
	fences  []api.Fence
}

func newFakeEngine(t testing.TB) (*fakeEngine, string) {
	e := &fakeEngine{links: map[string]*api.Link{}, configs: map[string]map[string]string{}, mirrors: map[string][]*api.Mirror{}}
	srv := httptest.NewServer(e)
	t.Cleanup(srv.Close)
	return e, srv.URL
}

func (e *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	mux := http.NewServeMux()
	handle := func(pattern string, queries []string, f func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			answer, err := any(nil), error(nil)
			for q := range r.URL.Query() {
				if !slices.Contains(queries, q) {
					err = api.Malformed("fake engine: %s takes no query parameter %q", pattern, q)
				}
			}
			if id := r.PathValue("cluster"); err == nil && id != "" && id != fakeCluster {
				err = api.ClusterNotFound(id)
			}
			if err == nil {
				answer, err = f(r)
			}
			reply(w, answer, err)
		})
	}
	const base = "/kafka/v3/clusters/{cluster}/links"
	handle("GET /kafka/v3/clusters", nil, func(*http.Request) (any, error) {
		return list(api.KindClusterList, []api.Cluster{{Kind: api.KindCluster, ClusterID: fakeCluster}}), nil
	})
	handle("GET "+base, nil, e.listLinks)
	handle("POST "+base, []string{"link_name", "validate_only", "validate_link"}, e.createLink)
	handle("GET "+base+"/{link}", []string{"include_tasks"}, func(r *http.Request) (any, error) { return e.link(r) })
	handle("DELETE "+base+"/{link}", []string{"force", "validate_only"}, e.deleteLink)
	handle("GET "+base+"/{link}/configs", nil, e.listConfigs)
	handle("GET "+base+"/{link}/configs/{name}", nil, e.oneConfig)
	handle("PUT "+base+"/{link}/configs:alter", []string{"validate_only"}, e.alterConfigs)
	handle("GET "+base+"/{link}/mirrors", []string{"mirror_status"}, e.listMirrors)
	handle("POST "+base+"/{link}/mirrors", nil, e.createMirror)
	handle("GET "+base+"/{link}/mirrors/{topic}", []string{"include_state_transition_errors"}, e.mirror)
	for _, verb := range []api.MirrorVerb{api.VerbPromote, api.VerbFailover, api.VerbPause, api.VerbResume} {
		handle("POST "+base+"/{link}/mirrors:"+string(verb), []string{"validate_only"}, func(r *http.Request) (any, error) { return e.alterMirrors(r, verb) })
	}
	handle("GET /drawbridge/v1/links/{link}/drift", nil, e.drift)
	handle("GET /drawbridge/v1/links/{link}/acls", []string{"acl_filters"}, func(r *http.Request) (any, error) {
		entry := api.ACLEntry{Permission: "ALLOW", Operation: "READ", ResourceType: "TOPIC", PatternType: "LITERAL", ResourceName: "orders", Principal: "User:app", Host: "*"}
		out := api.ACLSync{Link: r.PathValue("link"), Enabled: true, InStep: 7, ToAdd: []api.ACLChange{{ACLEntry: entry, At: api.ACLAtSource}}}
		if r.URL.Query().Has("acl_filters") {
			out = api.ACLSync{Link: r.PathValue("link"), Skipped: []api.ACLChange{{ACLEntry: entry, At: api.ACLAtDestination, Reason: r.URL.Query().Get("acl_filters")}}}
		}
		return out, nil
	})
	handle("GET /drawbridge/v1/pairs/{pair}/fences", nil, func(*http.Request) (any, error) { return e.fences, nil })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		reply(w, nil, api.NotFound("fake engine: nothing at %s %s", r.Method, r.URL.Path))
	})
	if r.Header.Get("Authorization") != "Bearer "+fakeToken {
		reply(w, nil, api.Unauthorized())
		return
	}
	mux.ServeHTTP(w, r)
}

func reply(w http.ResponseWriter, answer any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if refused, ok := err.(*api.Error); ok { //nolint:errorlint // made here
		w.WriteHeader(refused.Status)
		answer = refused
	} else if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		answer = api.Internal("%v", err)
	} else if answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func list[T any](kind string, data []T) api.List[T] {
	return api.List[T]{Kind: kind, Data: notNil(data)}
}

// body decodes strictly.
func body[T any](r *http.Request) (T, error) {
	var v T
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		return v, api.Malformed("fake engine: content type %q", got)
	}
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		return v, api.Malformed("fake engine: %v", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return v, api.Malformed("fake engine: more than one document")
	}
	return v, nil
}

func (e *fakeEngine) listLinks(*http.Request) (any, error) {
	var out []api.Link
	for _, name := range slices.Sorted(keysOf(e.links)) {
		out = append(out, *e.links[name])
	}
	return list(api.KindLinkList, out), nil
}

func keysOf[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (e *fakeEngine) createLink(r *http.Request) (any, error) {
	req, err := body[api.CreateLink](r)
	name := r.URL.Query().Get("link_name")
	switch {
	case err != nil:
		return nil, err
	case name == "":
		return nil, api.InvalidLinkName()
	case e.links[name] != nil:
		return nil, api.LinkExists()
	case req.SourceClusterID == "":
		return nil, api.BadRequest("source_cluster_id is missing")
	}
	configs := map[string]string{}
	for _, c := range req.Configs {
		configs[c.Name] = deref(c.Value)
	}
	if r.URL.Query().Get("validate_link") == "true" && configs["bootstrap.servers"] == "" {
		return nil, api.BadRequest("bootstrap.servers is missing")
	}
	if r.URL.Query().Get("validate_only") == "true" {
		return nil, nil
	}
	dest := fakeCluster
	e.links[name] = &api.Link{
		Kind: api.KindLink, SourceClusterID: &req.SourceClusterID, DestinationClusterID: &dest, LinkName: name,
		ClusterLinkID: "eEBkTffYSESld6EO898x3w", TopicNames: []string{}, LinkState: api.LinkActive, LinkError: api.LinkErrorNone,
	}
	e.configs[name] = configs
	return nil, nil
}

func (e *fakeEngine) link(r *http.Request) (*api.Link, error) {
	l := e.links[r.PathValue("link")]
	if l == nil {
		return nil, api.LinkNotFound()
	}
	out := *l
	if r.URL.Query().Get("include_tasks") == "true" {
		out.Tasks = []api.LinkTask{
			{TaskName: api.TaskOffsetSync, State: "ACTIVE", Errors: []api.TaskError{}},
			{TaskName: api.TaskACLSync, State: "IN_ERROR", Errors: []api.TaskError{{ErrorCode: "MISCONFIGURATION_ERROR", ErrorMessage: "acl.filters is not set"}}},
		}
	}
	return &out, nil
}

func (e *fakeEngine) deleteLink(r *http.Request) (any, error) {
	l, err := e.link(r)
	if err != nil {
		return nil, err
	}
	if len(l.TopicNames) > 0 && r.URL.Query().Get("force") != "true" {
		return nil, api.BadRequest("link %s has %d mirrors", l.LinkName, len(l.TopicNames))
	}
	if r.URL.Query().Get("validate_only") != "true" {
		delete(e.links, l.LinkName)
		delete(e.mirrors, l.LinkName)
	}
	return nil, nil
}

// drift differs as soon as there is a mirror.
func (e *fakeEngine) drift(r *http.Request) (any, error) {
	link := r.PathValue("link")
	if e.links[link] == nil {
		return nil, api.LinkNotFound()
	}
	d := api.Drift{Link: link, ComputedAt: time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC), Entries: []api.DriftEntry{}}
	if len(e.mirrors[link]) > 0 {
		d.Entries = append(d.Entries, api.DriftEntry{
			Config: "retention.ms", Source: api.DriftValue{Value: "604800000", From: "STATIC_BROKER_CONFIG"},
			Destination: api.DriftValue{Value: "86400000", From: "DEFAULT_CONFIG"}, Harmful: true,
			Meaning: "records are kept for another time", Cure: "add retention.ms to topic.config.sync.include", Topics: []string{"orders"},
		})
	}
	return d, nil
}

func (e *fakeEngine) listConfigs(r *http.Request) (any, error) {
	l, err := e.link(r)
	if err != nil {
		return nil, err
	}
	var out []api.LinkConfig
	for _, name := range slices.Sorted(keysOf(e.configs[l.LinkName])) {
		out = append(out, e.config(l.LinkName, name))
	}
	return list(api.KindLinkConfigs, out), nil
}

func (e *fakeEngine) config(link, name string) api.LinkConfig {
	value := e.configs[link][name]
	c := api.LinkConfig{Kind: api.KindLinkConfig, LinkName: link, Name: name, Value: &value, Source: "DYNAMIC_CLUSTER_LINK_CONFIG"}
	if name == "sasl.jaas.config" {
		c.Value, c.IsSensitive, c.Sensitive = nil, true, true
	}
	return c
}

func (e *fakeEngine) oneConfig(r *http.Request) (any, error) {
	link, name := r.PathValue("link"), r.PathValue("name")
	if _, ok := e.configs[link][name]; !ok {
		return nil, api.ConfigNotFound(link, name)
	}
	return e.config(link, name), nil
}

func (e *fakeEngine) alterConfigs(r *http.Request) (any, error) {
	l, err := e.link(r)
	if err != nil {
		return nil, err
	}
	req, err := body[api.AlterConfigs](r)
	if err != nil {
		return nil, err
	}
	for _, c := range req.Data {
		switch {
		case c.Operation != "SET" && c.Operation != "DELETE":
			return nil, api.BadRequest("operation %q", c.Operation)
		case c.Operation == "SET" && c.Value == nil:
			return nil, api.BadRequest("%s: no value", c.Name)
		case c.Name == "link.mode":
			return nil, api.BadRequest("link.mode cannot be changed")
		}
	}
	if r.URL.Query().Get("validate_only") == "true" {
		return nil, nil
	}
	for _, c := range req.Data {
		if c.Operation == "SET" {
			e.configs[l.LinkName][c.Name] = *c.Value
		} else {
			delete(e.configs[l.LinkName], c.Name)
		}
	}
	return nil, nil
}

func (e *fakeEngine) listMirrors(r *http.Request) (any, error) {
	status := r.URL.Query().Get("mirror_status")
	if status != "" && !slices.Contains(api.MirrorStatuses(), status) {
		return nil, api.BadRequest("%s is not a status", status)
	}
	link := r.PathValue("link")
	if _, ok := e.links[link]; !ok && link != api.AllLinks {
		return nil, api.LinkNotFound()
	}
	var out []api.Mirror
	for _, name := range slices.Sorted(keysOf(e.mirrors)) {
		for _, m := range e.mirrors[name] {
			if (link == api.AllLinks || link == name) && (status == "" || m.MirrorStatus == status) {
				out = append(out, *m)
			}
		}
	}
	return list(api.KindMirrorList, out), nil
}

func (e *fakeEngine) createMirror(r *http.Request) (any, error) {
	l, err := e.link(r)
	if err != nil {
		return nil, err
	}
	req, err := body[api.CreateMirror](r)
	if err != nil {
		return nil, err
	}
	for _, m := range e.mirrors[l.LinkName] {
		if m.MirrorTopicName == req.SourceTopicName {
			return nil, api.BadRequest("Topic '%s' already exists.", req.SourceTopicName)
		}
	}
	e.mirrors[l.LinkName] = append(e.mirrors[l.LinkName], &api.Mirror{
		Kind: api.KindMirror, LinkName: l.LinkName, MirrorTopicName: req.SourceTopicName, SourceTopicName: req.SourceTopicName, NumPartitions: 2,
		MirrorLags:   []api.MirrorLag{{Partition: 0, Lag: 7, LastSourceFetchOffset: 41}, {Partition: 1, Lag: 0, LastSourceFetchOffset: -1}},
		MirrorStatus: "ACTIVE", MirrorTopicError: api.MirrorErrorNone,
	})
	e.links[l.LinkName].TopicNames = append(e.links[l.LinkName].TopicNames, req.SourceTopicName)
	return nil, nil
}

func (e *fakeEngine) mirror(r *http.Request) (any, error) {
	if _, err := e.link(r); err != nil {
		return nil, err
	}
	for _, m := range e.mirrors[r.PathValue("link")] {
		if m.MirrorTopicName == r.PathValue("topic") {
			return m, nil
		}
	}
	return nil, api.MirrorNotFound(r.PathValue("link"), r.PathValue("topic"))
}

func (e *fakeEngine) alterMirrors(r *http.Request, verb api.MirrorVerb) (any, error) {
	l, err := e.link(r)
	if err != nil {
		return nil, err
	}
	req, err := body[api.AlterMirrors](r)
	if err != nil {
		return nil, err
	}
	if (req.MirrorTopicNamePattern == "") == (len(req.MirrorTopicNames) == 0) {
		return nil, api.BadRequest("exactly one of names and pattern")
	}
	names := req.MirrorTopicNames
	if req.MirrorTopicNamePattern != "" {
		re, err := regexp.Compile("^(?:" + req.MirrorTopicNamePattern + ")$")
		if err != nil {
			return nil, api.BadRequest("%v", err)
		}
		for _, m := range e.mirrors[l.LinkName] {
			if re.MatchString(m.MirrorTopicName) {
				names = append(names, m.MirrorTopicName)
			}
		}
	}
	next := map[api.MirrorVerb]string{api.VerbPromote: "STOPPED", api.VerbFailover: "STOPPED", api.VerbPause: "PAUSED", api.VerbResume: "ACTIVE"}[verb]
	var out []api.AlterMirrorResult
	for _, name := range names {
		result := api.AlterMirrorResult{Kind: api.KindAlterMirrors, MirrorTopicName: name, MirrorLags: []api.MirrorLag{}}
		i := slices.IndexFunc(e.mirrors[l.LinkName], func(m *api.Mirror) bool { return m.MirrorTopicName == name })
		switch {
		case i < 0:
			result.Refuse(api.MirrorNotFound(l.LinkName, name))
		case e.mirrors[l.LinkName][i].MirrorStatus == "STOPPED":
			result.Refuse(fmt.Errorf("Topic '%s' has already stopped its mirror from '%s'", name, l.LinkName))
		default:
			m := e.mirrors[l.LinkName][i]
			if r.URL.Query().Get("validate_only") != "true" {
				m.MirrorStatus = next
			}
			result.MirrorLags = m.MirrorLags
		}
		out = append(out, result)
	}
	return list(verb.Kind(), out), nil
}
