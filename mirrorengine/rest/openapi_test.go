package rest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// TestTheDocumentIsWhatTheCodeSays writes the document anew from routes and types
// and compares; -rewrite keeps it, and the diff is reviewed as an API change.
func TestTheDocumentIsWhatTheCodeSays(t *testing.T) {
	doc := writeDocument(t)
	b, err := doc.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := json.Indent(&want, b, "", "  "); err != nil {
		t.Fatal(err)
	}
	want.WriteByte('\n')
	if *rewrite {
		if err := os.WriteFile("openapi.json", want.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		document = want.Bytes()
	}
	if diff := cmp.Diff(want.String(), string(document)); diff != "" {
		t.Fatalf("openapi.json is not true any more; write it anew by go test ./mirrorengine/rest -run Document -rewrite and review it (-code +file)\n%s", diff)
	}
	read, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		t.Fatal(err)
	}
	if err := read.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestEveryRouteIsInTheDocumentAndNoOther(t *testing.T) {
	server := New(Options{Links: &fakeLinks{}, Cluster: fakeCluster{}, Replica: &fakeReplica{}, Metrics: http.NotFoundHandler()})
	served := slices.Clone(server.router.patterns)
	var described []string
	for path, item := range writeDocument(t).Paths.Map() {
		prefixes := []string{""}
		if len(item.Servers) > 0 {
			prefixes = prefixes[:0]
			for _, s := range item.Servers {
				prefixes = append(prefixes, s.URL)
			}
		}
		for method := range item.Operations() {
			for _, prefix := range prefixes {
				described = append(described, method+" "+prefix+path)
			}
		}
	}
	for i, pattern := range served {
		if strings.Contains(pattern, "/v3/") {
			served[i] = contractNames(pattern)
		}
	}
	slices.Sort(served)
	slices.Sort(described)
	if diff := cmp.Diff(served, described); diff != "" {
		t.Errorf("(-served +described)\n%s", diff)
	}
}

func TestTheDocumentIsServedToReaders(t *testing.T) {
	base := start(t, Options{Links: &fakeLinks{}, Access: three()})
	for token, want := range map[string]int{"": http.StatusUnauthorized, "read-token": http.StatusOK} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", base+api.PathOpenAPI, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		status, body, header := send(t, req)
		if status != want || header.Get("Content-Type") != "application/json" || want == http.StatusOK && body != string(document) {
			t.Errorf("token %q: got %d %s", token, status, header.Get("Content-Type"))
		}
	}
}
