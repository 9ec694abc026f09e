package rest_test

import (
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// refusals meets the error codes that no ordinary call has.
func (c *strictClient) refusals(west site, base string) {
	malformed := ask{query: map[string]string{"link_name": "other"}, body: `{"configs":[`}
	c.refused("POST "+links, malformed, 400, "Malformed JSON")
	c.refused("GET "+oneLink, ask{query: map[string]string{"include_tasks": "perhaps"}}, 400, "must be true or false")
	c.refused("POST "+mirrors, ask{body: `{"source_topic_name":"` + strings.Repeat("a", 33<<20) + `"}`}, 413, "larger than")
	c.refused("POST "+mirrors, ask{body: `{"source_topic_name":1}`}, 400, "source_topic_name")

	status, answer := c.raw(http.MethodGet, c.base+"/no/such/path", nil)
	c.isError("an unknown path", status, answer, 404, "HTTP 404 Not Found")
	status, answer = c.raw(http.MethodGet, base+"/", nil)
	c.isError("the root", status, answer, 404, "HTTP 404 Not Found")

	token := c.token
	c.token = "wrong"
	c.refused("GET "+links, ask{}, 40101, "Authentication failed")
	c.token = ""
	c.refused("GET "+links, ask{}, 40101, "Authentication failed")
	c.token = readToken
	c.do("GET "+links, ask{})
	c.refused("DELETE "+oneLink, ask{}, 40301, "wants the role admin")
	c.refused("POST "+mirrors+":failover", ask{body: object{"mirror_topic_names": []string{"audit"}}}, 40301, "wants the role operate")
	c.token = token

	// What Kafka answers goes through as the REST Proxy maps it.
	var answers atomic.Int32
	west.ControlKey(int16(kmsg.DescribeConfigs), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		west.KeepControl()
		code := int16(answers.Load())
		req := kreq.(*kmsg.DescribeConfigsRequest)
		if code == 0 {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, r := range req.Resources {
			one := kmsg.NewDescribeConfigsResponseResource()
			one.ResourceType, one.ResourceName, one.ErrorCode = r.ResourceType, r.ResourceName, code
			res.Resources = append(res.Resources, one)
		}
		return res, nil, true
	})
	for code, kafka := range map[int]*kerr.Error{
		40002: kerr.PolicyViolation, 40035: kerr.UnsupportedVersion, 40301: kerr.TopicAuthorizationFailed, 40403: kerr.UnknownTopicOrPartition, 408: kerr.RequestTimedOut,
		42901: kerr.ThrottlingQuotaExceeded, 50002: kerr.UnknownServerError, 50003: kerr.NotLeaderForPartition, 50302: kerr.BrokerNotAvailable,
	} {
		answers.Store(int32(kafka.Code))
		c.refused("GET "+topic+"/configs", ask{path: map[string]string{"topic_name": "orders"}}, code, "")
	}
	answers.Store(0)
	c.do("GET "+topic+"/configs", ask{path: map[string]string{"topic_name": "orders"}})
}
