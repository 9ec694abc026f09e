package plan

import (
	"fmt"
	"strings"
	"testing"
)

func TestWorkloadsOfAPlanAreHeldToTheirRules(t *testing.T) {
	sites := []Site{{Name: "east"}, {Name: "west"}}
	good := Workloads{Namespace: "shop", Workloads: []string{"deployment/billing"}}
	for name, c := range map[string]struct {
		move   string
		change func(*Workloads)
		want   string
	}{
		"good":                       {"kubernetes", func(*Workloads) {}, ""},
		"another move":               {"watch", func(*Workloads) {}, "with move kubernetes, and with no other"},
		"no such site":               {"kubernetes", func(w *Workloads) { w.Site = "north" }, "no such site"},
		"no namespace":               {"kubernetes", func(w *Workloads) { w.Namespace = "" }, "name the namespace"},
		"a context of nothing":       {"kubernetes", func(w *Workloads) { w.Context = "east" }, "name it as kubeconfig_file"},
		"names and labels":           {"kubernetes", func(w *Workloads) { w.Selector = "a=b" }, "one of both"},
		"a kind that has no replica": {"kubernetes", func(w *Workloads) { w.Workloads = []string{"daemonset/a"} }, "write deployment/<name>"},
		"twice":                      {"kubernetes", func(w *Workloads) { w.Workloads = []string{"deployment/a", "deployment/a"} }, "named twice"},
		"another way":                {"kubernetes", func(w *Workloads) { w.Way = "recreate" }, "use scale or rollout"},
		"waves of a scale":           {"kubernetes", func(w *Workloads) { w.WaveWorkloads = 2 }, "waves and their halt are of a rollout"},
		"rollout at one site":        {"kubernetes", func(w *Workloads) { w.Way, w.Site = "rollout", "east" }, "use scale, or leave site out"},
		"halt over 100":              {"kubernetes", func(w *Workloads) { w.Way, w.HaltPercent = "rollout", 101 }, "from 1 to 100"},
		"a wait of days":             {"kubernetes", func(w *Workloads) { w.WaitSeconds = 86400 }, "from 1 to 3600"},
		"a bad config map":           {"kubernetes", func(w *Workloads) { w.ConfigMap = "A_B" }, "no ConfigMap can have this name"},
	} {
		t.Run(name, func(t *testing.T) {
			w := good
			c.change(&w)
			p := Plan{Sites: sites, Groups: []Group{{Name: "g", Move: c.move, Kubernetes: []Workloads{w}}}}.Normalise()
			var check checker
			check.groups(p.Groups, p.Sites)
			got := ""
			for _, f := range check.found {
				got += fmt.Sprint(f) + "\n"
			}
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("it says %q, not %q", got, c.want)
			}
		})
	}
	p := Plan{Groups: []Group{{Name: "g", Move: "kubernetes", Kubernetes: []Workloads{{Namespace: "shop", Selector: "a=b", Way: "rollout"}}}}}.Normalise()
	if w := p.Groups[0].Kubernetes[0]; w.WaveWorkloads != 1 || w.HaltPercent != 20 || w.WaitSeconds != 300 {
		t.Errorf("defaults %+v", w)
	}
}
