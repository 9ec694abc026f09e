package rest

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/golden anew; review the diff")

// TestBodiesAreTheContracts compares whole bodies with reviewed files: a field
// that is renamed, dropped or null shows here before a client meets it.
func TestBodiesAreTheContracts(t *testing.T) {
	base := start(t, Options{Links: &fakeLinks{}, Cluster: fakeCluster{}, Version: "v0"})
	const links = "/kafka/v3/clusters/" + clusterID + "/links"
	for name, call := range map[string][3]string{
		"clusters":        {"GET", "/kafka/v3/clusters", ""},
		"cluster-v3":      {"GET", "/v3/clusters/" + clusterID, ""},
		"links":           {"GET", links, ""},
		"link-with-tasks": {"GET", links + "/east-west?include_tasks=true", ""},
		"configs":         {"GET", links + "/east-west/configs", ""},
		"config":          {"GET", links + "/east-west/configs/sasl.jaas.config", ""},
		"mirrors":         {"GET", links + "/-/mirrors", ""},
		"mirror":          {"GET", links + "/east-west/mirrors/dr-topic", ""},
		"topics":          {"GET", "/v3/clusters/" + clusterID + "/topics", ""},
		"partitions":      {"GET", "/v3/clusters/" + clusterID + "/topics/orders/partitions", ""},
		"topic-configs":   {"GET", "/v3/clusters/" + clusterID + "/topics/-/configs", ""},
		"groups":          {"GET", "/v3/clusters/" + clusterID + "/consumer-groups", ""},
		"consumers":       {"GET", "/v3/clusters/" + clusterID + "/consumer-groups/billing/consumers", ""},
		"lags":            {"GET", "/v3/clusters/" + clusterID + "/consumer-groups/billing/lags", ""},
		"lag-summary":     {"GET", "/v3/clusters/" + clusterID + "/consumer-groups/billing/lag-summary", ""},
		"drift":           {"GET", "/drawbridge/v1/links/east-west/drift", ""},
		"failover":        {"POST", links + "/east-west/mirrors:failover", `{"mirror_topic_name_pattern":".*"}`},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), call[0], base+call[1], strings.NewReader(call[2]))
			if err != nil {
				t.Fatal(err)
			}
			status, body, _ := send(t, req)
			if status != http.StatusOK {
				t.Fatalf("got %d %s", status, body)
			}
			var got bytes.Buffer
			if err := json.Indent(&got, []byte(strings.ReplaceAll(body, base, "http://engine")), "", "  "); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "golden", name+".json")
			if *rewrite {
				if err := os.WriteFile(file, got.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
