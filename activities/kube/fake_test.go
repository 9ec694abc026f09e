package kube

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// fake is an API server with one Deployment, "billing" of namespace shop, and no
// controller: what its status says is for the test to set. The real ones are met with
// the tag deploy; this is for what they are too quick for.
type fake struct {
	t     *testing.T
	place runbook.Workloads
	// before is called with each request, unlocked.
	before func(*http.Request)

	mu       sync.Mutex
	replicas int
	marks    map[string]string
	version  int
	gen      int
	// seen is the generation that the controller has seen, counted the replicas that
	// it counts, pods those that there are.
	seen, counted, pods int
	patches             []string // their bodies
	asked               []string // method and path of all
}

func newFake(t *testing.T, replicas int) *fake {
	t.Helper()
	f := &fake{t: t, replicas: replicas, counted: replicas, pods: replicas, marks: map[string]string{}, version: 1, gen: 1, seen: 1}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: %q}}]\nusers: [{name: u, user: {token: t}}]\n", s.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f.place = runbook.Workloads{KubeconfigFile: file, Namespace: "shop", Workloads: []string{"deployment/billing"}, Way: runbook.WayScale, WaitSeconds: 1}
	return f
}

func (f *fake) open() *Namespace {
	f.t.Helper()
	n, err := Open(f.place)
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.before != nil {
		f.before(r)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, r.Method+" "+r.URL.Path)
	w.Header().Set("Content-Type", "application/json")
	switch {
	case strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews"):
		fmt.Fprint(w, `{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":true}}`)
	case strings.HasSuffix(r.URL.Path, "/pods"):
		list := slices.Repeat([]string{`{"metadata":{"name":"p"},"status":{"phase":"Running"}}`}, f.pods)
		fmt.Fprintf(w, `{"kind":"PodList","apiVersion":"v1","items":[%s]}`, strings.Join(list, ","))
	case r.Method == http.MethodPatch:
		f.patch(w, r)
	default:
		f.show(w)
	}
}

func (f *fake) patch(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Metadata struct {
			ResourceVersion string             `json:"resourceVersion"`
			Annotations     map[string]*string `json:"annotations"`
		} `json:"metadata"`
		Spec struct {
			Replicas *int `json:"replicas"`
		} `json:"spec"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		f.t.Error(err)
	}
	if body.Metadata.ResourceVersion != fmt.Sprint(f.version) {
		w.WriteHeader(http.StatusConflict)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Conflict","code":409}`)
		return
	}
	f.version++
	for key, value := range body.Metadata.Annotations {
		if value == nil {
			delete(f.marks, key)
		} else {
			f.marks[key] = *value
		}
	}
	if body.Spec.Replicas != nil {
		f.replicas = *body.Spec.Replicas
		f.gen++
	}
	f.patches = append(f.patches, fmt.Sprintf("replicas %d, marks %v", f.replicas, f.marks))
	f.show(w)
}

func (f *fake) show(w http.ResponseWriter) {
	marks, err := json.Marshal(f.marks)
	if err != nil {
		f.t.Error(err)
	}
	fmt.Fprintf(w, `{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"billing","namespace":"shop","resourceVersion":"%d","generation":%d,"annotations":%s},`+
		`"spec":{"replicas":%d,"selector":{"matchLabels":{"name":"billing"}}},"status":{"observedGeneration":%d,"replicas":%d}}`, f.version, f.gen, marks, f.replicas, f.seen, f.counted)
}

// now looks at what stands there.
func (f *fake) now() (replicas int, marks map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.replicas, f.marks
}

// settle is what the controller does.
func (f *fake) settle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen, f.counted, f.pods = f.gen, f.replicas, f.replicas
}
