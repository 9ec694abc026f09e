package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

func TestBadInputIsRefusedWithTheContractsBody(t *testing.T) {
	const links = "/kafka/v3/clusters/" + clusterID + "/links"
	for _, tc := range []struct {
		name, method, path, body string
		status, code             int
		says                     string
	}{
		{"unknown path", "GET", "/kafka/v4/clusters", "", 404, 404, "HTTP 404 Not Found"},
		{"root", "GET", "/", "", 404, 404, "HTTP 404 Not Found"},
		{"unknown mirrors verb", "POST", links + "/l/mirrors:destroy", "{}", 404, 404, "HTTP 404 Not Found"},
		{"wrong method", "POST", links + "/l/configs:alter", "{}", 405, 405, "HTTP 405 Method Not Allowed"},
		{"other cluster", "GET", "/v3/clusters/nowhere/links", "", 404, 404, "Cluster nowhere cannot be found."},
		{"no link name", "POST", links, "{}", 400, 40002, "Invalid Cluster Link Name."},
		{"link name with a slash", "POST", links + "?link_name=a%2Fb", "{}", 400, 40002, "Invalid Cluster Link Name."},
		{"link name of all links", "POST", links + "?link_name=-", "{}", 400, 40002, "Invalid Cluster Link Name."},
		{"malformed JSON", "POST", links + "?link_name=l", `{"configs":[`, 400, 400, "ends too early"},
		{"JSON syntax", "POST", links + "?link_name=l", `{"configs" 1}`, 400, 400, "Malformed JSON at byte 12"},
		{"two JSON values", "POST", links + "?link_name=l", `{} {}`, 400, 400, "goes on after"},
		{"no body", "POST", links + "?link_name=l", ``, 400, 400, "no body"},
		{"wrong type", "POST", links + "?link_name=l", `{"configs":{"sasl.jaas.config":"hunter2"}}`, 400, 400, "Field 'configs' cannot be a object"},
		{"bad boolean", "POST", links + "?link_name=l&validate_only=yes", `{}`, 400, 400, "'validate_only' must be true or false, not 'yes'"},
		{"empty boolean", "DELETE", links + "/l?force=", ``, 400, 400, "'force' must be true or false"},
		{"unknown status filter", "GET", links + "/-/mirrors?mirror_status=UNKNOWN", "", 400, 400, "Known are ACTIVE, FAILED, LINK_FAILED, LINK_PAUSED, PAUSED, PENDING_STOPPED, SOURCE_UNAVAILABLE, STOPPED, PENDING_MIRROR, PENDING_SYNCHRONIZE, PENDING_SETUP_FOR_RESTORE, PENDING_RESTORE."},
		{"mirror without source", "POST", links + "/l/mirrors", `{}`, 400, 40002, "source_topic_name is required"},
		{"replication factor out of range", "POST", links + "/l/mirrors", `{"replication_factor":99999}`, 400, 400, "Field 'replication_factor'"},
		{"promote of nothing", "POST", links + "/l/mirrors:promote", `{}`, 400, 40002, "Exactly one of"},
		{"promote by both", "POST", links + "/l/mirrors:promote", `{"mirror_topic_names":["a"],"mirror_topic_name_pattern":"a"}`, 400, 40002, "Exactly one of"},
		{"bad pattern", "POST", links + "/l/mirrors:failover", `{"mirror_topic_name_pattern":"("}`, 400, 40002, "missing closing )"},
		{"reverse", "POST", links + "/l/mirrors:reverse-and-start-mirror", `{}`, 400, 40002, "not supported by this release"},
		{"truncate", "POST", links + "/l/mirrors:truncate-and-restore", `{}`, 400, 40002, "not supported by this release"},
		{"set without value", "PUT", links + "/l/configs/acl.sync.ms", `{}`, 400, 40002, "SET wants a value"},
		{"alter nothing", "PUT", links + "/l/configs:alter", `{}`, 400, 40002, "data is required"},
		{"alter by an unknown operation", "PUT", links + "/l/configs:alter", `{"data":[{"name":"a","value":"1","operation":"APPEND"}]}`, 400, 40002, "neither SET nor DELETE"},
		{"alter twice", "PUT", links + "/l/configs:alter", `{"data":[{"name":"a","value":"1"},{"name":"a","value":"2"}]}`, 400, 40002, "named twice"},
		{"unknown config", "GET", links + "/l/configs/nope", "", 404, 404, "no config 'nope'"},
		{"unknown field of ours", "PUT", "/drawbridge/v1/pairs/p/lock", `{"operation_id":"o","ttl":3}`, 400, 400, `unknown field "ttl"`},
		{"lock of nobody", "PUT", "/drawbridge/v1/pairs/p/lock", `{}`, 400, 40002, "operation_id is required"},
		{"unlock of nobody", "DELETE", "/drawbridge/v1/pairs/p/lock", ``, 400, 40002, "operation_id"},
		{"operation without id", "PUT", "/drawbridge/v1/links/l/operation", `{"epoch":3}`, 400, 40002, "operation_id"},
		{"operation before time", "PUT", "/drawbridge/v1/links/l/operation", `{"operation_id":"a","epoch":-1}`, 400, 40002, "epoch"},
		{"fence of another operation", "PUT", "/drawbridge/v1/pairs/p/fences/o", `{"operation_id":"x"}`, 400, 40002, "the path says 'p', 'o'"},
		{"hand over to nobody", "POST", "/drawbridge/v1/pairs/p/fences/o/handover", `{}`, 400, 40002, "link is required"},
		{"rejoin from nothing", "POST", "/drawbridge/v1/links/l/mirrors:rejoin", `{}`, 400, 40002, "from is required"},
		{"anonymous decision", "POST", "/drawbridge/v1/links/l/ledger:discard", `{"reason":"old"}`, 400, 40002, "decided_by is required"},
		{"too large", "POST", "/drawbridge/v1/links/l/mirrors:rejoin", `{"from":[{"topic":"` + strings.Repeat("a", maxBody) + `"}]}`, 413, 413, "larger than"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fake := &fakeLinks{}
			req, err := http.NewRequestWithContext(t.Context(), tc.method, start(t, Options{Links: fake})+tc.path, strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			status, body, header := send(t, req)
			if header.Get("Content-Type") != "application/json" {
				t.Errorf("content type %q", header.Get("Content-Type"))
			}
			var e api.Error
			if err := json.Unmarshal([]byte(body), &e); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			if status != tc.status || e.ErrorCode != tc.code || !strings.Contains(e.Message, tc.says) {
				t.Errorf("got %d %d %q, want %d %d …%s…", status, e.ErrorCode, e.Message, tc.status, tc.code, tc.says)
			}
			if strings.Contains(body, "hunter2") {
				t.Errorf("a value of the request is in the answer: %s", body)
			}
			for _, call := range fake.take() {
				if tc.name != "unknown config" {
					t.Errorf("the engine was called all the same: %s", call)
				}
			}
		})
	}
}

func TestNewerClientsMaySendMoreFields(t *testing.T) {
	fake := &fakeLinks{}
	req, err := http.NewRequestWithContext(t.Context(), "POST",
		start(t, Options{Links: fake})+"/v3/clusters/"+clusterID+"/links?link_name=l", strings.NewReader(`{"from_the_future":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if status, body, _ := send(t, req); status != http.StatusNoContent || body != "" {
		t.Fatalf("got %d %q", status, body)
	}
	if len(fake.take()) != 1 {
		t.Fatal("the engine was not called")
	}
}

func TestErrorsKeepTheirMeaningOnTheWay(t *testing.T) {
	fake := &fakeLinks{}
	c := &api.Client{BaseURL: start(t, Options{Links: fake})}
	for _, tc := range []struct {
		err          error
		status, code int
	}{
		{fmt.Errorf("describe: %w", api.LinkNotFound()), 404, 404},
		{api.LinkExists(), 400, 40002},
		{api.Conflict("operation op-9 (failover) of epoch 9 holds pair orders"), 409, 409},
		{fmt.Errorf("create topic dr-topic: %w", kerr.TopicAlreadyExists), 400, 40002},
		{fmt.Errorf("create topic dr-topic: %w", kerr.TopicAuthorizationFailed), 403, 40301},
		{kerr.UnknownTopicOrPartition, 404, 40403},
		{kerr.UnsupportedVersion, 400, 40035},
		{kerr.ThrottlingQuotaExceeded, 429, 42901},
		{kerr.RequestTimedOut, 408, 408},
		{kerr.BrokerNotAvailable, 503, 50302},
		{kerr.NotLeaderForPartition, 500, 50003},
		{kerr.CorruptMessage, 500, 50003},
		{kerr.InvalidProducerEpoch, 500, 50002},
		{errors.New("the state topic has a record of version 9"), 500, 500},
	} {
		fake.err = tc.err
		err := c.SetLinkConfig(t.Context(), "l", "acl.sync.ms", "9")
		var e *api.Error
		if !errors.As(err, &e) || e.Status != tc.status || e.ErrorCode != tc.code {
			t.Errorf("%v: got %v, want %d %d", tc.err, err, tc.status, tc.code)
		}
	}
}

func TestOperationHeadersGoTogether(t *testing.T) {
	base := start(t, Options{Links: &fakeLinks{}})
	for _, headers := range []map[string]string{
		{api.HeaderOperation: "op"},
		{api.HeaderEpoch: "3"},
		{api.HeaderOperation: "op", api.HeaderEpoch: "three"},
		{api.HeaderOperation: "op", api.HeaderEpoch: "-3"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", base+"/drawbridge/v1/engine", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range headers {
			req.Header.Set(k, v)
		}
		if status, body, _ := send(t, req); status != http.StatusBadRequest || !strings.Contains(body, api.HeaderEpoch) {
			t.Errorf("%v: got %d %s", headers, status, body)
		}
	}
}

func TestAPanicOfAHandlerIsAnsweredAndLogged(t *testing.T) {
	var log bytes.Buffer
	base := start(t, Options{Links: struct{ unimplemented }{}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	req, err := http.NewRequestWithContext(t.Context(), "GET", base+"/drawbridge/v1/engine", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	status, body, _ := send(t, req)
	if status != http.StatusInternalServerError || !strings.Contains(body, `"error_code":500`) {
		t.Fatalf("got %d %s", status, body)
	}
	if !strings.Contains(log.String(), "api call panicked") {
		t.Errorf("not logged: %s", log.String())
	}
}
