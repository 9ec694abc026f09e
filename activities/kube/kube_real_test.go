//go:build deploy

package kube

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// These tests run against a real kube-apiserver with RBAC and the real controllers of
// Deployments, ReplicaSets and StatefulSets. What is played is the kubelet: pods have
// no node, run at once unless their image is "broken", and end at once unless they
// have a finalizer (tools/kube-dev).

// cluster is a Kubernetes as its super user and as the worker's service account.
type cluster struct {
	t      *testing.T
	admin  *kubernetes.Clientset
	worker string // kubeconfig
}

// TestKubernetes starts one API server for all.
func TestKubernetes(t *testing.T) {
	c := start(t)
	for _, test := range []struct {
		name string
		do   func(*cluster)
	}{
		{"scale", scaleThereAndBack},
		{"a stop that was interrupted", interruptedStop},
		{"pods that do not end", hangingPods},
		{"a namespace that the worker may not touch", forbidden},
		{"rollout", rolloutInPlace},
		{"a rollout that fails", brokenRollout},
		{"config map", configMap},
		{"a standby", standby},
		{"by selector", bySelector},
		{"the rights in deploy", deployedRights},
	} {
		t.Run(test.name, func(t *testing.T) { test.do(&cluster{t, c.admin, c.worker}) })
	}
}

func start(t *testing.T) *cluster {
	path := local.KubeForTest(t)
	cfg, err := clientcmd.BuildConfigFromFlags("", path)
	must(t, err)
	cfg.QPS, cfg.Burst = 500, 500
	admin, err := kubernetes.NewForConfig(cfg)
	must(t, err)
	c := &cluster{t: t, admin: admin}
	c.namespace("drawbridge")
	accounts := admin.CoreV1().ServiceAccounts("drawbridge")
	_, err = accounts.Create(t.Context(), &core.ServiceAccount{ObjectMeta: meta.ObjectMeta{Name: "drawbridge-worker"}}, meta.CreateOptions{})
	must(t, err)
	token, err := accounts.CreateToken(t.Context(), "drawbridge-worker", &authentication.TokenRequest{}, meta.CreateOptions{})
	must(t, err)
	c.worker = kubeconfig(t, cfg, token.Status.Token)
	return c
}

func kubeconfig(t *testing.T, cfg *rest.Config, token string) string {
	file := filepath.Join(t.TempDir(), "worker.kubeconfig")
	k := clientapi.NewConfig()
	k.Clusters["c"] = &clientapi.Cluster{Server: cfg.Host, CertificateAuthority: cfg.CAFile}
	k.AuthInfos["worker"] = &clientapi.AuthInfo{Token: token}
	k.Contexts["east"] = &clientapi.Context{Cluster: "c", AuthInfo: "worker"}
	must(t, clientcmd.WriteToFile(*k, file))
	return file
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) namespace(name string) {
	c.t.Helper()
	_, err := c.admin.CoreV1().Namespaces().Create(c.t.Context(), &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: name}}, meta.CreateOptions{})
	must(c.t, err)
}

// pod is the template of workloads named name.
func pod(name, image string) core.PodTemplateSpec {
	return core.PodTemplateSpec{
		ObjectMeta: meta.ObjectMeta{Labels: map[string]string{"name": name}},
		Spec:       core.PodSpec{Containers: []core.Container{{Name: "app", Image: image}}},
	}
}

func (c *cluster) deployment(ns, name string, replicas int32, change func(*apps.Deployment)) {
	c.t.Helper()
	d := &apps.Deployment{
		ObjectMeta: meta.ObjectMeta{Name: name, Labels: map[string]string{"team": "shop"}},
		Spec:       apps.DeploymentSpec{Replicas: &replicas, Selector: &meta.LabelSelector{MatchLabels: map[string]string{"name": name}}, Template: pod(name, "app")},
	}
	if change != nil {
		change(d)
	}
	_, err := c.admin.AppsV1().Deployments(ns).Create(c.t.Context(), d, meta.CreateOptions{})
	must(c.t, err)
}

func (c *cluster) statefulSet(ns, name string, replicas int32, update apps.StatefulSetUpdateStrategy) {
	c.t.Helper()
	_, err := c.admin.AppsV1().StatefulSets(ns).Create(c.t.Context(), &apps.StatefulSet{
		ObjectMeta: meta.ObjectMeta{Name: name, Labels: map[string]string{"team": "shop"}},
		Spec: apps.StatefulSetSpec{
			Replicas: &replicas, Selector: &meta.LabelSelector{MatchLabels: map[string]string{"name": name}}, Template: pod(name, "app"), UpdateStrategy: update,
		},
	}, meta.CreateOptions{})
	must(c.t, err)
}

// place is what a plan would say; the worker may do there what it must.
func (c *cluster) place(ns string, change func(*runbook.Workloads)) *Namespace {
	c.t.Helper()
	n := c.unallowed(ns, change)
	c.allow(n.cure())
	c.allowed(n)
	return n
}

// allowed waits until the API server has heard of the worker's rights.
func (c *cluster) allowed(n *Namespace) {
	c.t.Helper()
	c.until("the worker's rights count", func() bool {
		lacks, err := n.lacks(c.t.Context())
		return err == nil && len(lacks) == 0
	})
}

func (c *cluster) unallowed(ns string, change func(*runbook.Workloads)) *Namespace {
	c.t.Helper()
	p := runbook.Workloads{KubeconfigFile: c.worker, Context: "east", Namespace: ns, Way: runbook.WayScale}
	change(&p)
	n, err := Open(p)
	must(c.t, err)
	return n
}

// allow does what a cure says to a person: it applies the Role in it and binds it to the account in it.
func (c *cluster) allow(cure string) {
	c.t.Helper()
	_, rest, _ := strings.Cut(cure, "echo '")
	text, rest, _ := strings.Cut(rest, "'")
	var role rbac.Role
	must(c.t, yaml.UnmarshalStrict([]byte(text), &role))
	_, err := c.admin.RbacV1().Roles(role.Namespace).Create(c.t.Context(), &role, meta.CreateOptions{})
	must(c.t, err)
	_, account, ok := strings.Cut(rest, "--serviceaccount=")
	ns, name, _ := strings.Cut(strings.TrimSpace(account), ":")
	if !ok {
		c.t.Fatalf("no account in %q", cure)
	}
	_, err = c.admin.RbacV1().RoleBindings(role.Namespace).Create(c.t.Context(), &rbac.RoleBinding{
		ObjectMeta: meta.ObjectMeta{Name: role.Name},
		RoleRef:    rbac.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: role.Name},
		Subjects:   []rbac.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: name}},
	}, meta.CreateOptions{})
	must(c.t, err)
}

// pods are those in a namespace, as the super user sees them.
func (c *cluster) pods(ns string) int {
	c.t.Helper()
	list, err := c.admin.CoreV1().Pods(ns).List(c.t.Context(), meta.ListOptions{})
	must(c.t, err)
	return len(list.Items)
}

func (c *cluster) until(what string, cond func() bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
	defer cancel()
	must(c.t, local.WaitFor(ctx, what, func(context.Context) error {
		if cond() {
			return nil
		}
		return fmt.Errorf("not yet")
	}))
}

func (c *cluster) get(ns, name string) *apps.Deployment {
	c.t.Helper()
	d, err := c.admin.AppsV1().Deployments(ns).Get(c.t.Context(), name, meta.GetOptions{})
	must(c.t, err)
	return d
}
