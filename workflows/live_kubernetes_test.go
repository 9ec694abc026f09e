//go:build real && deploy

package workflows_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/drawbridge-dr/drawbridge/activities"
	"github.com/drawbridge-dr/drawbridge/activities/kube"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// longest is what one operation may take on a busy machine.
const longest = 5 * time.Minute

// housed is a live Temporal and a Kubernetes (tools/kube-dev): its steps are the real
// ones, the rest is the fake world's. The two sites are two namespaces of it.
type housed struct {
	*live
	srv   *local.Temporal
	admin *kubernetes.Clientset
	hands *activities.Activities
}

// hands of a worker: real in Kubernetes.
type hands struct {
	workflows.Steps
	acting *activities.Activities
}

func (h *hands) ListWorkloads(ctx context.Context, in workflows.WorkloadsInput) (workflows.WorkloadsResult, error) {
	return h.acting.ListWorkloads(ctx, in)
}

func (h *hands) StopWorkloads(ctx context.Context, in workflows.WorkloadsInput) (workflows.WorkloadsResult, error) {
	return h.acting.StopWorkloads(ctx, in)
}

func (h *hands) StartWorkloads(ctx context.Context, in workflows.WorkloadsInput) (workflows.WorkloadsResult, error) {
	return h.acting.StartWorkloads(ctx, in)
}

func (h *hands) TellWorkloads(ctx context.Context, in workflows.TellWorkloadsInput) (workflows.TellWorkloadsResult, error) {
	return h.acting.TellWorkloads(ctx, in)
}

func startHoused(t *testing.T) *housed {
	t.Helper()
	file := local.KubeForTest(t)
	cfg, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatal(err)
	}
	h := &housed{srv: serve(t)}
	if h.admin, err = kubernetes.NewForConfig(cfg); err != nil {
		t.Fatal(err)
	}
	place := func(namespace, site, name string) runbook.Workloads {
		return runbook.Workloads{Site: site, KubeconfigFile: file, Namespace: namespace, Workloads: []string{"deployment/" + name}, Way: runbook.WayScale, WaitSeconds: 120}
	}
	both := place("shop", "", "billing")
	both.ConfigMap = "where"
	w := workflows.Calm().Freeze(900).InKubernetes(both, place("east", "east", "web"), place("west", "west", "web"))
	h.live = &live{t: t, w: w, unkept: true, every: 300 * time.Millisecond}
	if h.c, err = client.Dial(client.Options{HostPort: h.srv.HostPort(), Namespace: h.srv.Namespace(), Identity: "test", Logger: quiet{}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.c.Close)
	worker.SetStickyWorkflowCacheSize(0)
	acting, done := activities.New(activities.Options{})
	t.Cleanup(done)
	h.hands = acting
	return h
}

// work starts a worker; it ends as one that is killed: what it was doing is cut off.
func (h *housed) work() worker.Worker {
	h.t.Helper()
	wk := worker.New(h.c, workflows.TaskQueue, worker.Options{DisableRegistrationAliasing: true, Identity: "worker"})
	workflows.Register(wk)
	wk.RegisterActivityWithOptions(&hands{h.w.Steps(), h.hands}, activity.RegisterOptions{})
	if err := wk.Start(); err != nil {
		h.t.Fatal(err)
	}
	return wk
}

func (h *housed) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *housed) until(what string, cond func(context.Context) error) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), longest)
	defer cancel()
	h.must(local.WaitFor(ctx, what, cond))
}

// deploy makes a namespace with a Deployment in it.
func (h *housed) deploy(namespace, name string, replicas int32, marks map[string]string) {
	h.t.Helper()
	_, err := h.admin.CoreV1().Namespaces().Create(h.t.Context(), &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: namespace}}, meta.CreateOptions{})
	h.must(err)
	labels := map[string]string{"app": name}
	_, err = h.admin.AppsV1().Deployments(namespace).Create(h.t.Context(), &apps.Deployment{
		ObjectMeta: meta.ObjectMeta{Name: name, Annotations: marks},
		Spec: apps.DeploymentSpec{Replicas: &replicas, Selector: &meta.LabelSelector{MatchLabels: labels}, Template: core.PodTemplateSpec{
			ObjectMeta: meta.ObjectMeta{Labels: labels}, Spec: core.PodSpec{Containers: []core.Container{{Name: "app", Image: "app"}}},
		}},
	}, meta.CreateOptions{})
	h.must(err)
	h.until("pods of "+namespace, func(context.Context) error { return h.runs(namespace, replicas) })
}

func (h *housed) pods(namespace string) []core.Pod {
	h.t.Helper()
	list, err := h.admin.CoreV1().Pods(namespace).List(h.t.Context(), meta.ListOptions{})
	h.must(err)
	return list.Items
}

func (h *housed) runs(namespace string, replicas int32) error {
	if n := len(h.pods(namespace)); n != int(replicas) {
		return fmt.Errorf("%d pods in %s, not %d", n, namespace, replicas)
	}
	return nil
}

// run waits for many pods, as many as each namespace is to have.
func (h *housed) run(shop, east, west int32) {
	h.t.Helper()
	h.until("the pods", func(context.Context) error {
		return errors.Join(h.runs("shop", shop), h.runs("east", east), h.runs("west", west))
	})
}

// begun starts an operation; people answer until it is at a step.
func (h *housed) begun(workflow string, in any, step string) client.WorkflowRun {
	h.t.Helper()
	r, err := h.begin(h.t.Context(), workflows.ID("orders"), workflow, in)
	h.must(err)
	h.until(step, func(ctx context.Context) error {
		there := false
		h.answer(ctx, r, func(st workflows.Status) []runbook.Command {
			there = slices.ContainsFunc(st.Steps, func(l runbook.StepLine) bool { return l.Name == step && l.State == runbook.StateRunning })
			return workflows.Agree(st)
		})
		if !there {
			return errors.New("not yet")
		}
		return nil
	})
	return r
}

func (h *housed) ends(name string, r client.WorkflowRun) workflows.Result {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), longest)
	defer cancel()
	var res workflows.Result
	h.follow(ctx, name, r, &res, workflows.Agree)
	return res
}

// A switchover is terminated from outside when clients are stopped; unfence starts them
// again. The next one has its worker killed while pods hang, and moves them.
func TestClientsInKubernetesFollowTheRecord(t *testing.T) {
	h := startHoused(t)
	h.w.Hold("AwaitDrained")
	h.deploy("shop", "billing", 3, nil)
	h.deploy("east", "web", 2, nil)
	h.deploy("west", "web", 0, map[string]string{kube.Remembered: "1"})
	_, err := h.admin.CoreV1().ConfigMaps("shop").Create(t.Context(), &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Name: "where"}}, meta.CreateOptions{})
	h.must(err)
	wk := h.work()

	ask := workflows.SwitchoverInput{Start: workflows.RequestBy("ann", runbook.OpSwitchover)}
	r := h.begun(workflows.NameSwitchover, ask, "drain")
	h.run(0, 0, 0)
	h.must(h.c.TerminateWorkflow(t.Context(), r.GetID(), r.GetRunID(), "by mistake"))
	h.w.Release()
	r, err = h.begin(t.Context(), workflows.ID("orders"), workflows.NameUnfence, workflows.AskUnfenceOf(runbook.OpSwitchover+"-"+r.GetRunID()))
	h.must(err)
	if res := h.ends("unfence", r); res.Outcome != runbook.Done || len(res.Report.Findings) != 1 { // the lock that it broke
		t.Errorf("unfence: %s, %q", res.Outcome, res.Report.Findings)
	}
	h.run(3, 2, 0)

	// A pod that hangs keeps the stop from ending.
	pod := h.pods("east")[0].Name
	patch := func(finalizers string) {
		t.Helper()
		_, err := h.admin.CoreV1().Pods("east").Patch(t.Context(), pod, types.MergePatchType, []byte(`{"metadata":{"finalizers":`+finalizers+`}}`), meta.PatchOptions{})
		h.must(err)
	}
	patch(`["example.org/flushing"]`)
	r = h.begun(workflows.NameSwitchover, ask, "stop workloads")
	h.run(0, 1, 0)
	wk.Stop()
	wk = h.work()
	defer wk.Stop()
	patch("null")
	res := h.ends("switchover", r)
	if res.Outcome != runbook.Done || res.Active[0] != "west" || res.Epoch != 3 { // the lost one's calls to engines had 2
		t.Errorf("switchover: %s, active %v, epoch %d: %s", res.Outcome, res.Active, res.Epoch, res.Report.Error)
	}
	h.run(3, 0, 1)
	told, err := h.admin.CoreV1().ConfigMaps("shop").Get(t.Context(), "where", meta.GetOptions{})
	h.must(err)
	if told.Data["DRAWBRIDGE_SITE"] != "west" || told.Data[kube.EpochKey] != "3" {
		t.Errorf("the ConfigMap says %v", told.Data)
	}
	web, err := h.admin.AppsV1().Deployments("east").Get(t.Context(), "web", meta.GetOptions{})
	h.must(err)
	if web.Annotations[kube.Remembered] != "2" {
		t.Errorf("at the standby it remembers %v", web.Annotations)
	}
	if left := h.w.Left(); left != "" {
		t.Errorf("left behind: %s", left)
	}
}
