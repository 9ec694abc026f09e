package runbook_test

import (
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// A namespace of the same name is in both sites' clusters, and whoever types the call at 3 a.m. is in one of them.
func TestTheCallThatStartsAWorkloadNamesItsCluster(t *testing.T) {
	p := runbook.GroupWorkloads{Group: "billing", Workloads: runbook.Workloads{Namespace: "shop"}}
	list := []runbook.Workload{{Name: "deployment/billing", Was: "3", StoppedBy: "switchover-7"}}
	for context, want := range map[string]string{
		"": ": kubectl -n shop scale deployment/billing --replicas=3", "west": ": kubectl --context west -n shop scale deployment/billing --replicas=3",
	} {
		p.Context = context
		if got := runbook.LeftStopped(p, list); len(got) != 1 || !strings.HasSuffix(got[0], want) {
			t.Errorf("context %q: %q", context, got)
		}
	}
}
