package runbook

import (
	"fmt"
	"strings"
	"time"
)

// CutShort says of workloads at one site alone that a step behind the pivot has waited
// for them for less time than the plan gives them: what that means, and what to type.
func CutShort(p GroupWorkloads, step string, within time.Duration, list []Workload) string {
	kubectl := p.Kubectl()
	var names []string
	for _, w := range Troubled(list) {
		names = append(names, w.Name)
	}
	return fmt.Sprintf("step %q waits %s at most for what runs at %s alone, since clients elsewhere wait for the run; the whole wait_seconds (%s) are for the stop before a pivot: %s. They were told to stop and may have ended since: look with %s get pods; what goes on: %s scale %s --replicas=0",
		step, within, p.Site, Seconds(p.WaitSeconds), Problems(list), kubectl, kubectl, strings.Join(names, " "))
}
