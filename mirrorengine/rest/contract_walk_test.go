package rest_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Paths of the tables.
const (
	cluster = "/clusters/{cluster_id}"
	links   = cluster + "/links"
	oneLink = links + "/{link_name}"
	configs = oneLink + "/configs"
	config  = configs + "/{config_name}"
	mirrors = oneLink + "/mirrors"
	mirror  = mirrors + "/{mirror_topic_name}"
	topics  = cluster + "/topics"
	topic   = topics + "/{topic_name}"
	groups  = cluster + "/consumer-groups"
	group   = groups + "/{consumer_group_id}"
)

// TestAStrictClientWalksTheWholeContract runs a whole engine between two embedded
// Kafkas and makes every call of the contract's tables under both prefixes, with a
// client that takes nothing else; each error code is met at least once.
func TestAStrictClientWalksTheWholeContract(t *testing.T) {
	for _, prefix := range []string{"/kafka/v3", "/v3"} {
		t.Run(prefix, func(t *testing.T) {
			source, west := sourceSite(t, "orders", "payments", "audit"), newSite(t, "cluster-west", nil)
			base := engine(t, west)
			c := newStrictClient(t, base+prefix)

			c.clusters()
			c.linkIsMade(source)
			c.linkConfigs()
			c.mirrorsAreMade()
			c.mirrorsArePausedAndEnded()
			c.linkIsPaused()
			c.notSupported()
			c.topicsAndGroups(west)
			c.refusals(west, base)
			c.linkIsDeleted()

			for _, call := range slices.Sorted(maps.Keys(c.calls)) {
				if !c.done[call] {
					t.Errorf("not walked: %s", call)
				}
			}
			for _, code := range slices.Sorted(maps.Keys(c.codes)) {
				if !c.failed[code] {
					t.Errorf("error code %d was not met", code)
				}
			}
		})
	}
}

// clusters: clients take the first of the list for theirs.
func (c *strictClient) clusters() {
	c.cluster = c.list("GET /clusters", ask{})[0]["cluster_id"].(string)
	if got := c.do("GET "+cluster, ask{}); got["cluster_id"] != "cluster-west" {
		c.t.Errorf("got %v", got)
	}
	c.refused("GET "+cluster, ask{path: map[string]string{"cluster_id": "my-cluster"}}, 404, "Cluster my-cluster cannot be found.")
}

// createLink is a link as the contract's command line asks for it.
func createLink(source site) object {
	return object{"source_cluster_id": "cluster-east", "configs": []object{
		{"name": "link.mode", "value": "DESTINATION"},
		{"name": "security.protocol", "value": "SASL_PLAINTEXT"},
		{"name": "sasl.mechanism", "value": "PLAIN"},
		{"name": "sasl.jaas.config", "value": fmt.Sprintf("org.apache.kafka.common.security.plain.PlainLoginModule required username='%s' password='%s';", user, password)},
		{"name": "bootstrap.servers", "value": source.ListenAddrs()[0]},
		{"name": "availability.check.ms", "value": nil},
		{"name": "acl.sync.enable", "value": "true"}, // without filters: the link is made, its task says so
	}}
}

func (c *strictClient) linkIsMade(source site) {
	create, named := "POST "+links, func(q ...string) map[string]string {
		out := map[string]string{"link_name": "east-west", "validate_link": "true"}
		for i := 0; i < len(q); i += 2 {
			out[q[i]] = q[i+1]
		}
		return out
	}
	c.link = "east-west"
	c.refused(create, ask{query: map[string]string{}, body: createLink(source)}, 40002, "Invalid Cluster Link Name.")
	c.do(create, ask{query: named("validate_only", "true"), body: createLink(source)})
	c.refused("GET "+oneLink, ask{}, 404, "The cluster link doesn't exist.")
	c.refused("GET "+configs, ask{}, 404, "The cluster link doesn't exist.")
	for says, change := range map[string]object{
		"source_cluster_id is cluster-north":     {"source_cluster_id": "cluster-north"},
		"destination_cluster_id belongs":         {"destination_cluster_id": "cluster-east"},
		"remote_cluster_id belongs":              {"remote_cluster_id": "cluster-east"},
		"cluster_link_id 'my-id' is no UUID":     {"cluster_link_id": "my-id"},
		"AUTHENTICATION_ERROR":                   {"configs": slices.Concat(createLink(source)["configs"].([]object), []object{{"name": "sasl.jaas.config", "value": "org.apache.kafka.common.security.plain.PlainLoginModule required username='link' password='wrong';"}})},
		"no.such.config: unknown link config":    {"configs": []object{{"name": "no.such.config", "value": "1"}}},
		"SOURCE is refused":                      {"configs": []object{{"name": "link.mode", "value": "SOURCE"}}, "destination_cluster_id": "cluster-east"},
		"BIDIRECTIONAL is not supported":         {"configs": []object{{"name": "link.mode", "value": "BIDIRECTIONAL"}}, "remote_cluster_id": "cluster-east"},
		"prefixes: is not supported":             {"configs": []object{{"name": "cluster.link.prefix", "value": "dr-"}}},
		"connection.mode: INBOUND belongs to":    {"configs": []object{{"name": "connection.mode", "value": "INBOUND"}}},
		"the source of cluster link 'east-west'": {"configs": []object{{"name": "bootstrap.servers", "value": "127.0.0.1:1"}}},
	} {
		body := createLink(source)
		maps.Copy(body, change)
		c.refused(create, ask{query: named(), body: body}, 40002, says)
	}
	body := createLink(source)
	delete(body, "source_cluster_id")
	c.refused(create, ask{query: named("validate_link", "false"), body: body}, 40002, "source_cluster_id is required")

	body = createLink(source)
	body["cluster_link_id"] = "eEBkTffYSESld6EO8O-x3w"
	c.do(create, ask{query: named(), body: body})
	c.refused(create, ask{query: named(), body: body}, 40002, "A cluster link already exists with the provided link name")

	link := c.do("GET "+oneLink, ask{})
	want := object{
		"source_cluster_id": "cluster-east", "destination_cluster_id": nil, "remote_cluster_id": nil, "link_state": "ACTIVE", "link_error": "NO_ERROR", "link_error_message": nil,
		"cluster_link_id": "eEBkTffYSESld6EO8O-x3w", "link_id": "7840644d-f7d8-4844-a577-a10ef0efb1df",
	}
	for name, value := range want {
		if link[name] != value {
			c.t.Errorf("%s is %v, want %v", name, link[name], value)
		}
	}
	if _, there := link["tasks"]; there {
		c.t.Error("tasks are told without include_tasks")
	}
	if all := c.list("GET "+links, ask{}); len(all) != 1 || all[0]["link_name"] != "east-west" {
		c.t.Errorf("got %v", all)
	}
	acls := c.taskIs("AclSync", "IN_ERROR")["errors"].([]any)
	if e := acls[0].(object); e["error_code"] != "MISCONFIGURATION_ERROR" || !strings.HasPrefix(e["error_message"].(string), "ACL migration is enabled but acl.filters is not set. Please set acl.filters to proceed with ACL migration.") {
		c.t.Errorf("got %v", e)
	}
	c.taskIs("ConsumerOffsetSync", "NOT_CONFIGURED")
	c.taskIs("AutoCreateMirror", "NOT_CONFIGURED")
	c.taskIs("TopicConfigsSync", "ACTIVE")
}

// taskIs waits for a task's state.
func (c *strictClient) taskIs(name, state string) (task object) {
	c.t.Helper()
	eventually(c.t, name+" is "+state, func() error {
		for _, t := range c.do("GET "+oneLink, ask{query: map[string]string{"include_tasks": "true"}})["tasks"].([]any) {
			if task = t.(object); task["task_name"] == name {
				if task["state"] == state {
					return nil
				}
				return fmt.Errorf("it is %v", task)
			}
		}
		return fmt.Errorf("there is no task %s", name)
	})
	return task
}

func (c *strictClient) linkConfigs() {
	of := func(name string) ask { return ask{path: map[string]string{"config_name": name}} }
	is := func(name string, value any, source string) {
		c.t.Helper()
		got := c.do("GET "+config, of(name))
		isDefault := source == "DEFAULT_CONFIG"
		if got["value"] != value || got["source"] != source || got["is_default"] != isDefault || got["default"] != isDefault || got["is_sensitive"] != got["sensitive"] || got["is_read_only"] != got["read_only"] {
			c.t.Errorf("%s: got %v, want %v of %s", name, got, value, source)
		}
	}
	const set, byDefault = "DYNAMIC_CLUSTER_LINK_CONFIG", "DEFAULT_CONFIG"
	for name, value := range map[string]string{ // the contract's defaults
		"connection.mode": "OUTBOUND", "consumer.offset.sync.enable": "false", "consumer.offset.sync.ms": "30000", "consumer.offset.group.filters": "", "acl.sync.ms": "5000",
		"acl.filters": "", "auto.create.mirror.topics.enable": "false", "topic.config.sync.ms": "5000", "cluster.link.paused": "false", "cluster.link.retry.timeout.ms": "300000",
		"availability.check.ms": "60000", "availability.check.consecutive.failure.threshold": "5", "num.cluster.link.fetchers": "1", "metadata.max.age.ms": "300000", "request.timeout.ms": "30000",
		"retry.backoff.ms": "100", "connections.max.idle.ms": "600000", "replica.fetch.max.bytes": "5242880", "replica.fetch.response.max.bytes": "10485760", "consumer.group.prefix.enable": "false",
	} {
		is(name, value, byDefault)
	}
	is("acl.sync.enable", "true", set)
	is("sasl.jaas.config", nil, set)
	for _, item := range c.list("GET "+configs, ask{}) {
		if got := c.do("GET "+config, of(item["name"].(string))); got["value"] != item["value"] {
			c.t.Errorf("alone it is %v, in the list %v", got, item)
		}
	}
	interval := of("consumer.offset.sync.ms")
	interval.body = object{"value": "2000"}
	c.do("PUT "+config, interval)
	is("consumer.offset.sync.ms", "2000", set)
	c.do("DELETE "+config, of("consumer.offset.sync.ms"))
	is("consumer.offset.sync.ms", "30000", byDefault)
	interval.body = object{"value": "999"}
	c.refused("PUT "+config, interval, 40002, "consumer.offset.sync.ms: '999' is no whole number from 1000")
	c.refused("DELETE "+config, of("no.such.config"), 40002, "unknown link config")
	c.refused("GET "+config, of("no.such.config"), 404, "no.such.config")
	mode := of("link.mode")
	mode.body = object{"value": "SOURCE"}
	c.refused("PUT "+config, mode, 40002, "link.mode: cannot be changed")

	alter := func(validate bool, changes ...object) ask {
		return ask{body: object{"data": changes, "validate_only": validate}}
	}
	change := []object{{"name": "acl.sync.ms", "value": "7000"}, {"name": "acl.sync.enable", "operation": "DELETE"}}
	c.do("PUT "+configs+":alter", alter(true, change...))
	query := alter(false, change...)
	query.query = map[string]string{"validate_only": "true"}
	c.do("PUT "+configs+":alter", query)
	is("acl.sync.ms", "5000", byDefault)
	c.do("PUT "+configs+":alter", alter(false, change...))
	is("acl.sync.ms", "7000", set)
	is("acl.sync.enable", "false", byDefault)
	c.do("PUT "+configs+":alter", alter(false, object{"name": "acl.sync.ms", "operation": "DELETE"}, object{"name": "consumer.offset.sync.enable", "value": "true", "operation": "SET"},
		object{"name": "consumer.offset.group.filters", "value": `{"groupFilters":[{"name":"*","patternType":"LITERAL","filterType":"INCLUDE"}]}`}))
	c.taskIs("ConsumerOffsetSync", "ACTIVE")
	c.taskIs("AclSync", "NOT_CONFIGURED")
	c.refused("PUT "+configs+":alter", alter(false, object{"name": "acl.sync.ms", "value": "1", "operation": "SET"}, object{"name": "retry.backoff.ms", "value": "many"}), 40002, "retry.backoff.ms: 'many'")
	c.refused("PUT "+configs+":alter", ask{body: `{"data":[{"name":"acl.sync.ms","value":"9000","operation":"APPEND"}]}`}, 40002, "neither SET nor DELETE")
}

func (c *strictClient) mirrorsAreMade() {
	c.do("POST "+mirrors, ask{body: object{"source_topic_name": "orders", "replication_factor": 1, "configs": []object{}}})
	c.do("POST "+mirrors, ask{body: object{"source_topic_name": "payments", "mirror_topic_name": "payments", "configs": []object{{"name": "retention.ms", "value": "3600000"}}}})
	c.do("POST "+mirrors, ask{body: object{"source_topic_name": "audit"}})
	c.refused("POST "+mirrors, ask{body: object{"source_topic_name": "orders"}}, 40002, "already a mirror topic")
	c.refused("POST "+mirrors, ask{body: object{"source_topic_name": "orders", "mirror_topic_name": "dr-orders"}}, 40002, "Topic renaming for mirroring not yet supported")
	c.refused("POST "+mirrors, ask{body: object{"source_topic_name": "nope"}}, 40002, "source topic 'nope' cannot be mirrored")
	c.refused("GET "+mirror, ask{path: map[string]string{"mirror_topic_name": "nope"}}, 404, "not a mirror topic")
	for _, name := range []string{"orders", "payments", "audit"} {
		c.caughtUp(name)
	}
	got := c.mirror("orders")
	if got["source_topic_name"] != "orders" || got["num_partitions"] != 2.0 || got["mirror_topic_error"] != "NO_ERROR" || got["state_time_ms"].(float64) < 1e12 {
		c.t.Errorf("got %v", got)
	}
	if _, there := got["mirror_state_transition_errors"]; there {
		c.t.Error("transition errors are told unasked")
	}
	got = c.do("GET "+mirror, ask{path: map[string]string{"mirror_topic_name": "orders"}, query: map[string]string{"include_state_transition_errors": "true"}})
	if errors, there := got["mirror_state_transition_errors"].([]any); !there || len(errors) != 0 {
		c.t.Errorf("got %v", got)
	}
	link := c.do("GET "+oneLink, ask{})
	if names := fmt.Sprint(link["topic_names"]); names != "[audit orders payments]" {
		c.t.Errorf("got %s", names)
	}
}

// caughtUp waits until a mirror has the ten records of each partition.
func (c *strictClient) caughtUp(name string) {
	c.t.Helper()
	eventually(c.t, name+" has caught up", func() error {
		got := c.mirror(name)
		lags := got["mirror_lags"].([]any)
		for _, l := range lags {
			if l := l.(object); l["lag"] != 0.0 || l["last_source_fetch_offset"] != 10.0 {
				return fmt.Errorf("got %v", got)
			}
		}
		if got["mirror_status"] != "ACTIVE" || len(lags) != 2 {
			return fmt.Errorf("got %v", got)
		}
		return nil
	})
}

func (c *strictClient) mirror(name string) object {
	c.t.Helper()
	return c.do("GET "+mirror, ask{path: map[string]string{"mirror_topic_name": name}})
}

// statusIs waits for a mirror's status, looking by list.
func (c *strictClient) statusIs(name, status string) {
	c.t.Helper()
	eventually(c.t, name+" is "+status, func() error {
		for _, call := range []string{"GET " + mirrors, "GET " + links + "/-/mirrors"} {
			found := c.list(call, ask{query: map[string]string{"mirror_status": status}})
			if !slices.ContainsFunc(found, func(m object) bool { return m["mirror_topic_name"] == name }) {
				return fmt.Errorf("it is %v", c.mirror(name)["mirror_status"])
			}
		}
		return nil
	})
}

// categories are the link's counts of mirrors.
func (c *strictClient) categories() string {
	counts := map[string]any{}
	for _, n := range c.do("GET "+oneLink, ask{})["category_counts"].([]any) {
		counts[n.(object)["state_category"].(string)] = n.(object)["count"]
	}
	return fmt.Sprint(counts)
}

// alter is a verb over mirrors by names; each result is told by its error code.
func (c *strictClient) alter(verb string, a ask) string {
	c.t.Helper()
	var out []string
	for _, r := range c.list("POST "+mirrors+":"+verb, a) {
		code := "ok"
		if n, failed := r["error_code"].(float64); failed {
			code = fmt.Sprintf("%.0f", n)
		}
		if (r["error_message"] == nil) != (code == "ok") {
			c.t.Errorf("%s: got %v", verb, r)
		}
		out = append(out, fmt.Sprintf("%v:%s", r["mirror_topic_name"], code))
	}
	return strings.Join(out, " ")
}

func (c *strictClient) mirrorsArePausedAndEnded() {
	names := func(names ...string) ask { return ask{body: object{"mirror_topic_names": names}} }
	only := func(a ask) ask { a.query = map[string]string{"validate_only": "true"}; return a }
	pattern := func(p string) ask { return ask{body: object{"mirror_topic_name_pattern": p}} }
	is := func(got, want string) {
		c.t.Helper()
		if got != want {
			c.t.Errorf("got %s, want %s", got, want)
		}
	}
	is(c.categories(), "map[ACTIVE:3]")
	is(c.alter("pause", only(names("audit"))), "audit:ok")
	is(fmt.Sprint(c.mirror("audit")["mirror_status"]), "ACTIVE")
	is(c.alter("pause", names("audit", "nope")), "audit:ok nope:404")
	c.statusIs("audit", "PAUSED")
	is(c.categories(), "map[ACTIVE:2 PAUSED:1]")
	is(c.alter("resume", pattern("au.*")), "audit:ok")
	c.statusIs("audit", "ACTIVE")
	is(c.alter("promote", only(pattern(".*"))), "audit:ok orders:ok payments:ok")
	is(c.alter("promote", names("orders")), "orders:ok")
	c.statusIs("orders", "STOPPED")
	is(c.alter("failover", pattern("pay.*|orders")), "orders:400 payments:ok")
	c.statusIs("payments", "STOPPED")
	is(c.categories(), "map[ACTIVE:1 NOT_APPLICABLE:2]")
	stopped := c.list("POST "+mirrors+":promote", names("orders"))[0]
	is(fmt.Sprint(stopped["error_code"], " ", stopped["error_message"]), "400 Topic 'orders' has already stopped its mirror from 'east-west'")
	for _, l := range c.mirror("orders")["mirror_lags"].([]any) { // until the link is deleted
		if l.(object)["last_source_fetch_offset"] != 10.0 {
			c.t.Errorf("got %v", l)
		}
	}
	c.refused("POST "+mirrors+":promote", ask{body: object{}}, 40002, "Exactly one of")
	c.refused("POST "+mirrors+":promote", ask{body: object{"mirror_topic_names": []string{"a"}, "mirror_topic_name_pattern": "a"}}, 40002, "Exactly one of")
	c.refused("POST "+mirrors+":promote", pattern("("), 40002, "missing closing")
	c.refused("POST "+mirrors+":promote", pattern("nothing-of-that-name"), 40002, "matches the pattern")
	for _, f := range c.objects["MirrorData"] { // each status is a filter
		for _, status := range f.enum {
			if f.name == "mirror_status" {
				c.list("GET "+mirrors, ask{query: map[string]string{"mirror_status": status}})
				c.list("GET "+links+"/-/mirrors", ask{query: map[string]string{"mirror_status": strings.ToLower(status)}})
			}
		}
	}
	c.refused("GET "+mirrors, ask{query: map[string]string{"mirror_status": "FOO"}}, 400, "Unknown mirror status 'FOO'")
	for _, verb := range []string{"promote", "failover", "pause", "resume"} {
		none := names("orders")
		none.path = map[string]string{"link_name": "nope"}
		c.refused("POST "+mirrors+":"+verb, none, 404, "The cluster link doesn't exist.")
	}
}

func (c *strictClient) linkIsPaused() {
	paused := ask{path: map[string]string{"config_name": "cluster.link.paused"}, body: object{"value": "true"}}
	c.do("PUT "+config, paused)
	c.statusIs("audit", "LINK_PAUSED")
	if link := c.do("GET "+oneLink, ask{}); link["link_state"] != "PAUSED" {
		c.t.Errorf("got %v", link)
	}
	c.taskIs("TopicConfigsSync", "LINK_PAUSED")
	c.taskIs("ConsumerOffsetSync", "ACTIVE") // lest the offsets expire
	c.do("DELETE "+config, ask{path: paused.path})
	c.statusIs("audit", "ACTIVE")
	c.taskIs("TopicConfigsSync", "ACTIVE")
}

// notSupported are the calls of bidirectional links.
func (c *strictClient) notSupported() {
	for call, of := range c.calls {
		if of.status != http.StatusBadRequest {
			continue
		}
		query := map[string]string{}
		for name := range of.query {
			query[name] = "true"
		}
		c.do(call, ask{query: query, body: object{"mirror_topic_names": []string{"audit"}}})
		c.refused(call, ask{body: object{"mirror_topic_names": []string{"audit"}}}, 40002, "not supported by this release")
	}
}

func (c *strictClient) topicsAndGroups(west site) {
	reader, err := kgo.NewClient(kgo.SeedBrokers(west.ListenAddrs()...), kgo.ConsumerGroup("billing"), kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ClientID("billing-client"), kgo.DisableAutoCommit())
	if err != nil {
		c.t.Fatal(err)
	}
	defer reader.Close()
	if fetches := reader.PollFetches(c.t.Context()); fetches.Err() != nil {
		c.t.Fatal(fetches.Err())
	}
	offsets := kadm.Offsets{}
	offsets.AddOffset("audit", 0, 4, -1)
	offsets.AddOffset("audit", 1, 9, -1)
	if err := west.adm.CommitAllOffsets(c.t.Context(), "simple", offsets); err != nil {
		c.t.Fatal(err)
	}

	of := func(pairs ...string) ask {
		a := ask{path: map[string]string{}}
		for i := 0; i < len(pairs); i += 2 {
			a.path[pairs[i]] = pairs[i+1]
		}
		return a
	}
	names := func(list []object, field string) string {
		var out []string
		for _, o := range list {
			out = append(out, o[field].(string))
		}
		return strings.Join(out, " ")
	}
	if got := names(c.list("GET "+topics, ask{}), "topic_name"); got != "_drawbridge_state _drawbridge_state_probe audit orders payments" {
		c.t.Errorf("topics %s", got)
	}
	if got := c.do("GET "+topic, of("topic_name", "orders")); got["partitions_count"] != 2.0 || got["replication_factor"] != 1.0 {
		c.t.Errorf("got %v", got)
	}
	for _, p := range c.list("GET "+topic+"/partitions", of("topic_name", "orders")) {
		one := c.do("GET "+topic+"/partitions/{partition_id}", of("topic_name", "orders", "partition_id", fmt.Sprint(p["partition_id"])))
		if one["metadata"].(object)["self"] != p["metadata"].(object)["self"] || one["leader"] == nil {
			c.t.Errorf("got %v and %v", one, p)
		}
	}
	if got := c.do("GET "+topic+"/configs/{name}", of("topic_name", "payments", "name", "retention.ms")); got["value"] != "3600000" || got["source"] != "DYNAMIC_TOPIC_CONFIG" {
		c.t.Errorf("got %v", got)
	}
	if one, all := c.list("GET "+topic+"/configs", of("topic_name", "payments")), c.list("GET "+topics+"/-/configs", ask{}); len(one) == 0 || len(all) <= len(one) {
		c.t.Errorf("%d configs of one topic, %d of all", len(one), len(all))
	}
	if got := names(c.list("GET "+groups, ask{}), "consumer_group_id"); got != "_drawbridge_state billing simple" {
		c.t.Errorf("groups %s", got)
	}
	if got := c.do("GET "+group, of("consumer_group_id", "billing")); got["state"] != "STABLE" || got["type"] != "CLASSIC" || got["is_simple"] != false {
		c.t.Errorf("got %v", got)
	}
	member := c.list("GET "+group+"/consumers", of("consumer_group_id", "billing"))[0]
	if one := c.do("GET "+group+"/consumers/{consumer_id}", of("consumer_group_id", "billing", "consumer_id", member["consumer_id"].(string))); one["client_id"] != "billing-client" {
		c.t.Errorf("got %v", one)
	}
	if got := c.do("GET "+group+"/lag-summary", of("consumer_group_id", "simple")); got["max_lag"] != 6.0 || got["total_lag"] != 7.0 || got["max_lag_topic_name"] != "audit" || got["max_lag_partition_id"] != 0.0 {
		c.t.Errorf("got %v", got)
	}
	if lags := c.list("GET "+group+"/lags", of("consumer_group_id", "simple")); len(lags) != 2 || lags[1]["lag"] != 1.0 {
		c.t.Errorf("got %v", lags)
	}
	const lag = group + "/lags/{topic_name}/partitions/{partition_id}"
	if got := c.do("GET "+lag, of("consumer_group_id", "simple", "topic_name", "audit", "partition_id", "0")); got["current_offset"] != 4.0 || got["log_end_offset"] != 10.0 || got["lag"] != 6.0 {
		c.t.Errorf("got %v", got)
	}
	c.refused("GET "+lag, of("consumer_group_id", "simple", "topic_name", "orders", "partition_id", "0"), 40401, "no offset in topic 'orders'")
	c.refused("GET "+lag, of("consumer_group_id", "simple", "topic_name", "audit", "partition_id", "7"), 40402, "no partition 7")
	c.refused("GET "+topic+"/partitions/{partition_id}", of("topic_name", "orders", "partition_id", "2"), 40402, "no partition 2")
	c.refused("GET "+topic+"/partitions/{partition_id}", of("topic_name", "orders", "partition_id", "two"), 400, "'two' is no partition")
	c.refused("GET "+topic+"/configs/{name}", of("topic_name", "orders", "name", "no.such"), 404, "no.such")
	for _, call := range []string{topic, topic + "/partitions", topic + "/configs"} {
		c.refused("GET "+call, of("topic_name", "nope"), 40403, "This server does not host this topic-partition.")
	}
	for _, call := range []string{group, group + "/consumers", group + "/lags", group + "/lag-summary"} {
		c.refused("GET "+call, of("consumer_group_id", "nope"), 404, "Consumer group 'nope' cannot be found.")
	}
	c.refused("GET "+group+"/consumers/{consumer_id}", of("consumer_group_id", "billing", "consumer_id", "nobody"), 404, "has no consumer 'nobody'")
}

func (c *strictClient) linkIsDeleted() {
	c.refused("DELETE "+oneLink, ask{}, 40002, "still has mirror topics (audit is ACTIVE)")
	force := ask{query: map[string]string{"force": "true", "validate_only": "true"}}
	c.do("DELETE "+oneLink, force)
	c.mirror("audit")
	force.query["validate_only"] = "false"
	c.do("DELETE "+oneLink, force)
	c.refused("GET "+oneLink, ask{}, 404, "The cluster link doesn't exist.")
	c.refused("DELETE "+oneLink, force, 404, "The cluster link doesn't exist.")
	if left := c.list("GET "+links, ask{}); len(left) != 0 {
		c.t.Errorf("got %v", left)
	}
}
