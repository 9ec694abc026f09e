//go:build deploy

package kube

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

const soon = time.Minute // on a busy machine

// now is what an operation asks at epoch 1.
func now(operation string) Request { return Request{Operation: operation, Epoch: 1, At: time.Now()} }

func named(names ...string) func(*runbook.Workloads) {
	return func(p *runbook.Workloads) { p.Workloads = names }
}

func clean(t *testing.T, list []runbook.Workload, err error) {
	t.Helper()
	if p := runbook.Problems(list); err != nil || p != "" {
		t.Fatalf("error %v, problems %q", err, p)
	}
}

func scaleThereAndBack(c *cluster) {
	c.namespace("scale")
	c.deployment("scale", "billing", 3, nil)
	c.statefulSet("scale", "ledger", 2, apps.StatefulSetUpdateStrategy{})
	n := c.place("scale", named("deployment/billing", "statefulset/ledger"))
	c.until("five pods", func() bool { return c.pods("scale") == 5 })
	for range 2 { // a step may run again
		list, err := n.Stop(c.t.Context(), now("op-1"), soon)
		clean(c.t, list, err)
		if c.pods("scale") != 0 || len(list) != 2 {
			c.t.Fatalf("stopped %v, %d pods are left", list, c.pods("scale"))
		}
	}
	if a := c.get("scale", "billing").Annotations; a[Remembered] != "3" || a[StoppedBy] != "op-1" {
		c.t.Errorf("annotations %v", a)
	}
	for range 2 {
		list, err := n.Start(c.t.Context(), now("op-1"), nil)
		clean(c.t, list, err)
		if list[0].Replicas != 3 || list[1].Replicas != 2 {
			c.t.Errorf("started %v", list)
		}
	}
	c.until("five pods again", func() bool { return c.pods("scale") == 5 })
	for key := range c.get("scale", "billing").Annotations {
		if strings.HasPrefix(key, "drawbridge.dev/") && key != Asked {
			c.t.Errorf("annotation %s is left", key)
		}
	}
}

// interruptedStop: a worker that dies right behind its patch, somebody who scales up
// against the run, and another worker that goes on.
func interruptedStop(c *cluster) {
	c.namespace("broken-off")
	c.deployment("broken-off", "billing", 3, nil)
	n := c.place("broken-off", named("deployment/billing"))
	c.until("three pods", func() bool { return c.pods("broken-off") == 3 })
	first := now("op-1")
	c.until("a patch that no status came before", func() bool {
		list, err := n.Stop(c.t.Context(), first, 0) // one look
		if err != nil || list[0].Problem == "" {
			c.t.Fatalf("one look said %v %v", list, err)
		}
		return *c.get("broken-off", "billing").Spec.Replicas == 0
	})
	_, err := c.admin.AppsV1().Deployments("broken-off").UpdateScale(c.t.Context(), "billing",
		&autoscaling.Scale{ObjectMeta: meta.ObjectMeta{Name: "billing", Namespace: "broken-off"}, Spec: autoscaling.ScaleSpec{Replicas: 1}}, meta.UpdateOptions{})
	must(c.t, err)
	another, err := Open(n.place)
	must(c.t, err)
	list, err := another.Stop(c.t.Context(), now("op-1"), soon)
	clean(c.t, list, err)
	if was := c.get("broken-off", "billing").Annotations[Remembered]; was != "3" {
		c.t.Errorf("it remembers %s replicas, it had 3", was)
	}
	list, err = another.Start(c.t.Context(), now("op-1"), nil)
	clean(c.t, list, err)
	if list[0].Replicas != 3 {
		c.t.Errorf("started with %d", list[0].Replicas)
	}
	// The first worker was only asleep.
	list, err = n.Stop(c.t.Context(), first, soon)
	if err != nil || !strings.Contains(list[0].Problem, "after this was asked") || *c.get("broken-off", "billing").Spec.Replicas != 3 {
		c.t.Errorf("a late stop said %v, error %v", list, err)
	}
}

func hangingPods(c *cluster) {
	c.namespace("hang")
	c.deployment("hang", "billing", 1, func(d *apps.Deployment) { d.Spec.Template.Finalizers = []string{"example.org/flushing"} })
	n := c.place("hang", named("deployment/billing"))
	c.until("a pod", func() bool { return c.pods("hang") == 1 })
	list, err := n.Stop(c.t.Context(), now("op-1"), 2*time.Second)
	if err != nil || !strings.Contains(runbook.Problems(list), "deployment/billing: 1 of its pods still run: see kubectl --context east -n hang get pods") {
		c.t.Errorf("it said %q, error %v", runbook.Problems(list), err)
	}
}

// forbidden: nothing is changed, and what the message says to type is enough, and no
// more than the moves need.
func forbidden(c *cluster) {
	c.namespace("theirs")
	c.deployment("theirs", "billing", 1, nil)
	n := c.unallowed("theirs", func(p *runbook.Workloads) {
		p.Workloads, p.ConfigMap = []string{"deployment/billing"}, "where"
	})
	_, err := n.Stop(c.t.Context(), now("op-1"), soon)
	if !Final(err) || !errors.As(err, new(*Forbidden)) {
		c.t.Fatalf("error %v", err)
	}
	const who = "system:serviceaccount:drawbridge:drawbridge-worker may not get deployment/billing in namespace theirs"
	if !strings.Contains(err.Error(), who) || !strings.Contains(err.Error(), "--serviceaccount=drawbridge:drawbridge-worker") {
		c.t.Errorf("it says %v", err)
	}
	found := n.Check(c.t.Context(), "orders", "east")
	const lacks = "system:serviceaccount:drawbridge:drawbridge-worker may not get deployments/billing, patch deployments/billing, list pods, get configmaps/where, patch configmaps/where"
	if len(found) != 1 || !found[0].Blocker || !strings.Contains(found[0].What, lacks) || !strings.Contains(found[0].Cure, `resourceNames: ["billing"]`) {
		c.t.Fatalf("a calm day's look says %+v", found)
	}
	c.allow(found[0].Cure)
	c.allowed(n)
	if found = n.Check(c.t.Context(), "orders", "east"); len(found) != 1 || !strings.Contains(found[0].What, "kubectl --context east -n theirs create configmap where") {
		c.t.Errorf("with the rights it says %+v", found)
	}
	list, err := n.Stop(c.t.Context(), now("op-1"), soon)
	clean(c.t, list, err)
	if err := n.apps.Deployments("theirs").Delete(c.t.Context(), "billing", meta.DeleteOptions{}); err == nil {
		c.t.Error("the worker may delete what it moves")
	}
	if _, err := n.core.Secrets("theirs").List(c.t.Context(), meta.ListOptions{}); err == nil {
		c.t.Error("the worker may read secrets")
	}
}

func rolled(names ...string) func(*runbook.Workloads) {
	return func(p *runbook.Workloads) { p.Workloads, p.Way = names, runbook.WayRollout }
}

func rolloutInPlace(c *cluster) {
	c.namespace("roll")
	c.deployment("roll", "billing", 2, nil)
	c.statefulSet("roll", "ledger", 2, apps.StatefulSetUpdateStrategy{Type: apps.RollingUpdateStatefulSetStrategyType})
	names := []string{"deployment/billing", "statefulset/ledger"}
	n := c.place("roll", rolled(names...))
	c.until("four pods", func() bool { return c.pods("roll") == 4 })
	before := c.uids("roll")
	list, err := n.Restart(c.t.Context(), now("op-1"), names, soon)
	clean(c.t, list, err)
	after := c.uids("roll")
	for uid := range before {
		if after[uid] {
			c.t.Errorf("pod %s was not restarted", uid)
		}
	}
	list, err = n.Restart(c.t.Context(), now("op-1"), names, soon)
	clean(c.t, list, err)
	if !maps.Equal(after, c.uids("roll")) {
		c.t.Error("the same operation restarted pods twice")
	}
	// A step of an earlier run that comes late.
	list, err = n.Restart(c.t.Context(), Request{Operation: "op-0", Epoch: 1, At: time.Now().Add(-time.Hour)}, names, soon)
	if bad := runbook.Troubled(list); err != nil || len(bad) != 2 || !strings.Contains(bad[0].Problem, "after this was asked") || !maps.Equal(after, c.uids("roll")) {
		c.t.Errorf("a late restart said %v, error %v", list, err)
	}
}

func (c *cluster) uids(ns string) map[string]bool {
	list, err := c.admin.CoreV1().Pods(ns).List(c.t.Context(), meta.ListOptions{})
	must(c.t, err)
	out := map[string]bool{}
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil {
			out[string(p.UID)] = true
		}
	}
	return out
}

func brokenRollout(c *cluster) {
	c.namespace("broken")
	second := int32(1)
	c.deployment("broken", "billing", 1, func(d *apps.Deployment) {
		d.Spec.Template.Spec.Containers[0].Image, d.Spec.ProgressDeadlineSeconds = "broken", &second
	})
	c.statefulSet("broken", "ledger", 1, apps.StatefulSetUpdateStrategy{Type: apps.OnDeleteStatefulSetStrategyType})
	c.deployment("broken", "held", 1, func(d *apps.Deployment) { d.Spec.Paused = true })
	names := []string{"deployment/billing", "deployment/held", "statefulset/ledger"}
	n := c.place("broken", rolled(names...))
	began := time.Now()
	list, err := n.Restart(c.t.Context(), now("op-1"), names, soon)
	must(c.t, err)
	for i, want := range []string{"its rollout does not get on", "it is paused", "its update strategy is OnDelete"} {
		if !strings.Contains(list[i].Problem, want) {
			c.t.Errorf("%s: %q, not %q", list[i].Name, list[i].Problem, want)
		}
	}
	if time.Since(began) >= soon {
		c.t.Error("it waited for what its controllers had given up")
	}
	if found := n.Check(c.t.Context(), "orders", "east"); len(found) != 2 {
		c.t.Errorf("a calm day's look says %+v", found)
	}
}

func configMap(c *cluster) {
	c.namespace("told")
	c.deployment("told", "billing", 1, nil)
	n := c.place("told", func(p *runbook.Workloads) { p.Workloads, p.ConfigMap = []string{"deployment/billing"}, "where" })
	west := map[string]string{PairKey: "orders", "DRAWBRIDGE_SITE": "west", EpochKey: "3"}
	if err := n.Tell(c.t.Context(), west); !errors.As(err, new(*Missing)) {
		c.t.Fatalf("without a ConfigMap: %v", err)
	}
	_, err := c.admin.CoreV1().ConfigMaps("told").Create(c.t.Context(), &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Name: "where"}, Data: map[string]string{"theirs": "stays"}}, meta.CreateOptions{})
	must(c.t, err)
	for range 2 {
		must(c.t, n.Tell(c.t.Context(), west))
	}
	another := map[string]string{PairKey: "invoices", EpochKey: "9"}
	if err := n.Tell(c.t.Context(), another); !errors.As(err, new(*Missing)) || !strings.Contains(err.Error(), "is of pair orders") {
		c.t.Errorf("another pair's ConfigMap: %v", err)
	}
	if err := n.Tell(c.t.Context(), map[string]string{PairKey: "orders", "DRAWBRIDGE_SITE": "east", EpochKey: "2"}); !errors.As(err, new(*Newer)) {
		c.t.Errorf("an older epoch: %v", err)
	}
	got, err := c.admin.CoreV1().ConfigMaps("told").Get(c.t.Context(), "where", meta.GetOptions{})
	must(c.t, err)
	if !maps.Equal(got.Data, map[string]string{"theirs": "stays", PairKey: "orders", "DRAWBRIDGE_SITE": "west", EpochKey: "3"}) {
		c.t.Errorf("it holds %v", got.Data)
	}
}

// standby: what stands at 0 until its site is active must say how many it should be.
func standby(c *cluster) {
	c.namespace("standby")
	c.deployment("standby", "billing", 0, nil)
	n := c.place("standby", func(p *runbook.Workloads) { p.Workloads, p.Site = []string{"deployment/billing"}, "west" })
	const cure = "kubectl --context east -n standby annotate deployment/billing drawbridge.dev/replicas=<n>"
	if found := n.Check(c.t.Context(), "orders", "east"); len(found) != 1 || found[0].Cure != cure {
		c.t.Errorf("a calm day's look says %+v", found)
	}
	list, err := n.Start(c.t.Context(), now("op-1"), nil)
	if err != nil || !strings.Contains(runbook.Problems(list), "nobody wrote down how many") {
		c.t.Errorf("it said %v %v", list, err)
	}
	_, err = c.admin.AppsV1().Deployments("standby").Patch(c.t.Context(), "billing", types.MergePatchType, []byte(`{"metadata":{"annotations":{"`+Remembered+`":"2"}}}`), meta.PatchOptions{})
	must(c.t, err)
	list, err = n.Start(c.t.Context(), now("op-1"), nil)
	clean(c.t, list, err)
	c.until("two pods", func() bool { return c.pods("standby") == 2 })

	c.namespace("standbys")
	// One that is not there keeps no other from starting, and a 0 that was written down is meant.
	c.deployment("standbys", "ledger", 0, func(d *apps.Deployment) { d.Annotations = map[string]string{Remembered: "1"} })
	c.deployment("standbys", "off", 0, func(d *apps.Deployment) { d.Annotations = map[string]string{Remembered: "0"} })
	n = c.place("standbys", func(p *runbook.Workloads) {
		p.Workloads, p.Site = []string{"deployment/gone", "deployment/ledger", "deployment/off"}, "west"
	})
	list, err = n.Start(c.t.Context(), now("op-1"), nil)
	if bad := runbook.Troubled(list); err != nil || len(bad) != 1 || bad[0].Name != "deployment/gone" {
		c.t.Errorf("it said %v %v", list, err)
	}
	if *c.get("standbys", "ledger").Spec.Replicas != 1 || *c.get("standbys", "off").Spec.Replicas != 0 {
		c.t.Errorf("it left %v", list)
	}
}

func bySelector(c *cluster) {
	c.namespace("labels")
	n := c.place("labels", func(p *runbook.Workloads) { p.Selector = "team=shop" })
	if _, err := n.List(c.t.Context()); !errors.As(err, new(*Missing)) {
		c.t.Errorf("nothing has the labels: %v", err)
	}
	c.deployment("labels", "billing", 1, nil)
	c.deployment("labels", "other", 1, func(d *apps.Deployment) { d.Labels = nil })
	c.statefulSet("labels", "ledger", 1, apps.StatefulSetUpdateStrategy{})
	list, err := n.Stop(c.t.Context(), now("op-1"), soon)
	clean(c.t, list, err)
	if len(list) != 2 || list[0].Name != "deployment/billing" || list[1].Name != "statefulset/ledger" || *c.get("labels", "other").Spec.Replicas != 1 {
		c.t.Errorf("stopped %v", list)
	}
}

// deployedRights: what deploy/k8s/clients gives is what its plan needs.
func deployedRights(c *cluster) {
	c.namespace("shop")
	c.deployment("shop", "billing", 1, nil)
	c.statefulSet("shop", "ledger", 1, apps.StatefulSetUpdateStrategy{})
	_, err := c.admin.CoreV1().ConfigMaps("shop").Create(c.t.Context(), &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Name: "drawbridge"}}, meta.CreateOptions{})
	must(c.t, err)
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "k8s", "clients", "role.yaml"))
	must(c.t, err)
	parts := strings.Split(string(text), "\n---\n")
	if len(parts) != 3 {
		c.t.Fatalf("%d documents, not account, role and binding", len(parts))
	}
	var role rbac.Role
	must(c.t, yaml.UnmarshalStrict([]byte(parts[1]), &role))
	_, err = c.admin.RbacV1().Roles(role.Namespace).Create(c.t.Context(), &role, meta.CreateOptions{})
	must(c.t, err)
	var binding rbac.RoleBinding
	must(c.t, yaml.UnmarshalStrict([]byte(parts[2]), &binding))
	_, err = c.admin.RbacV1().RoleBindings(binding.Namespace).Create(c.t.Context(), &binding, meta.CreateOptions{})
	must(c.t, err)
	n := c.unallowed("shop", func(p *runbook.Workloads) {
		p.Workloads, p.ConfigMap = []string{"deployment/billing", "statefulset/ledger"}, "drawbridge"
	})
	c.allowed(n)
	if found := n.Check(c.t.Context(), "orders", "east"); len(found) != 0 {
		c.t.Fatalf("with these rights it says %+v", found)
	}
	list, err := n.Stop(c.t.Context(), now("op-1"), soon)
	clean(c.t, list, err)
	must(c.t, n.Tell(c.t.Context(), map[string]string{EpochKey: "1"}))
	list, err = n.Start(c.t.Context(), now("op-1"), nil)
	clean(c.t, list, err)
}
