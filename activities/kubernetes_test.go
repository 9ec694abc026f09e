package activities

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.temporal.io/sdk/temporal"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// closedNamespace answers as an API server does whose worker has no right in the
// namespace; the real one is met in activities/kube.
func closedNamespace(t *testing.T) (place runbook.Workloads, changes *[]string) {
	t.Helper()
	changes = &[]string{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews"):
			fmt.Fprint(w, `{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":false}}`)
		case strings.HasSuffix(r.URL.Path, "/selfsubjectreviews"):
			fmt.Fprint(w, `{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1","status":{"userInfo":{"username":"system:serviceaccount:drawbridge:worker"}}}`)
		default:
			*changes = append(*changes, r.Method)
			w.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": http.StatusForbidden, "message": "no"})
		}
	}))
	t.Cleanup(s.Close)
	return runbook.Workloads{KubeconfigFile: kubeconfig(t, s.URL), Namespace: "shop", Workloads: []string{"deployment/billing"}, Way: runbook.WayScale, WaitSeconds: 1}, changes
}

func TestANamespaceThatTheWorkerMayNotTouchIsNamedWithItsCure(t *testing.T) {
	place, changes := closedNamespace(t)
	a, done := New(Options{})
	defer done()
	_, err := a.StopWorkloads(t.Context(), workflows.WorkloadsInput{Group: "billing", Place: place, Operation: "op"})
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != workflows.ErrRefused || !app.NonRetryable() {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{
		"clients of group billing", "system:serviceaccount:drawbridge:worker may not get deployment/billing in namespace shop",
		"resources: [deployments], resourceNames: [\"billing\"], verbs: [get, patch]", "--serviceaccount=drawbridge:worker",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("it does not say %q: %v", want, err)
		}
	}
	if slices.ContainsFunc(*changes, func(m string) bool { return m != http.MethodGet }) {
		t.Errorf("calls %v", *changes)
	}
	var out workflows.CheckPrivilegesResult
	check{a: a, out: &out}.workloads(t.Context(), "orders", "", []runbook.Workloads{place, {KubeconfigFile: "/nowhere", Namespace: "shop"}, {Namespace: "shop"}})
	if len(out.Findings) != 3 {
		t.Fatalf("a calm day's look says %+v", out.Findings)
	}
	for i, want := range []string{"may not get deployments/billing, patch deployments/billing, list pods", "/nowhere", "own service account cannot be used"} {
		if f := out.Findings[i]; !f.Blocker || f.Part != runbook.PartKubernetes || !strings.Contains(f.What, want) {
			t.Errorf("finding %+v does not say %q", f, want)
		}
	}
}

// An API server that hangs holds up no other: all are asked before one has answered.
func TestPlacesAreLookedAtAllAtOnce(t *testing.T) {
	const places = 4
	var asked atomic.Int32
	all := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == places {
			close(all)
		}
		select {
		case <-all:
			w.WriteHeader(http.StatusInternalServerError)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(s.Close)
	place := runbook.Workloads{KubeconfigFile: kubeconfig(t, s.URL), Workloads: []string{"deployment/billing"}, Way: runbook.WayScale}
	var list []runbook.Workloads
	for i := range places {
		place.Namespace = fmt.Sprintf("shop%d", i)
		list = append(list, place)
	}
	a, done := New(Options{})
	defer done()
	var out workflows.CheckPrivilegesResult
	check{a: a, out: &out}.workloads(t.Context(), "orders", "east", list)
	select {
	case <-all:
	default:
		t.Error("one was asked after the other")
	}
	for i, f := range out.Findings {
		if !strings.Contains(f.What, fmt.Sprintf("namespace shop%d", i)) {
			t.Errorf("finding %d is %q: not in the plan's order", i, f.What)
		}
	}
	if len(out.Findings) != places {
		t.Errorf("findings %+v", out.Findings)
	}
}

func kubeconfig(t *testing.T, url string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: %q}}]\nusers: [{name: u, user: {token: t}}]\n", url)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
