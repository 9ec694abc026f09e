package rest_test

import (
	"fmt"
	"testing"
)

// TestAStrictClientReadsALinkWhoseSourceIsGone: link, tasks and mirrors of a lost
// source are told in the contract's words, promote is refused and failover works.
func TestAStrictClientReadsALinkWhoseSourceIsGone(t *testing.T) {
	source, west := sourceSite(t, "orders"), newSite(t, "cluster-west", nil)
	c := newStrictClient(t, engine(t, west)+"/v3")
	c.link = "east-west"
	c.cluster = c.list("GET /clusters", ask{})[0]["cluster_id"].(string)
	body := createLink(source)
	body["configs"] = append(body["configs"].([]object), object{"name": "availability.check.ms", "value": "1000"}, object{"name": "availability.check.consecutive.failure.threshold", "value": "1"})
	c.do("POST "+links, ask{query: map[string]string{"link_name": "east-west"}, body: body})
	c.do("POST "+mirrors, ask{body: object{"source_topic_name": "orders", "replication_factor": 1}})
	c.statusIs("orders", "ACTIVE")

	source.Close()
	c.statusIs("orders", "SOURCE_UNAVAILABLE")
	eventually(t, "the link is UNAVAILABLE", func() error {
		if link := c.do("GET "+oneLink, ask{}); link["link_state"] != "UNAVAILABLE" || link["link_error"] == "NO_ERROR" || link["link_error_message"] == nil {
			return fmt.Errorf("got %v", link)
		}
		return nil
	})
	c.taskIs("AclSync", "LINK_UNAVAILABLE")
	c.taskIs("AutoCreateMirror", "NOT_CONFIGURED")
	if got := c.categories(); got != "map[IN_ERROR:1]" {
		t.Errorf("got %s", got)
	}
	orders := ask{body: object{"mirror_topic_names": []string{"orders"}}}
	refused := c.list("POST "+mirrors+":promote", orders)[0]
	if refused["error_code"] != 400.0 {
		t.Errorf("promote: got %v", refused)
	}
	if got := c.alter("failover", orders); got != "orders:ok" {
		t.Errorf("failover: got %s", got)
	}
	c.statusIs("orders", "STOPPED")
}
