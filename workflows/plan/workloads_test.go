package plan

import (
	"fmt"
	"strings"
	"testing"
)

func labelled(selector string) func(*Workloads) {
	return func(w *Workloads) { w.Workloads, w.Selector = nil, selector }
}

func TestWorkloadsOfAPlanAreHeldToTheirRules(t *testing.T) {
	sites := []Site{{Name: "east"}, {Name: "west"}}
	good := Workloads{Namespace: "shop", Workloads: []string{"deployment/billing"}}
	for name, c := range map[string]struct {
		move   string
		change func(*Workloads)
		want   string
	}{
		"good":                                  {"kubernetes", func(*Workloads) {}, ""},
		"another move":                          {"watch", func(*Workloads) {}, "with move kubernetes, and with no other"},
		"no such site":                          {"kubernetes", func(w *Workloads) { w.Site = "north" }, "no such site"},
		"a namespace with a dot":                {"kubernetes", func(w *Workloads) { w.Namespace = "shop.eu" }, "groups[g].kubernetes[0].namespace: \"shop.eu\": no namespace can have this name"},
		"a namespace too long":                  {"kubernetes", func(w *Workloads) { w.Namespace = strings.Repeat("s", 64) }, "no more than 63"},
		"a name with two dots":                  {"kubernetes", func(w *Workloads) { w.Workloads = []string{"deployment/a..b"} }, "groups[g].kubernetes[0].workloads: \"deployment/a..b\": no deployment can have this name"},
		"a name in capitals":                    {"kubernetes", func(w *Workloads) { w.Workloads = []string{"statefulset/Ledger"} }, "no statefulset can have this name"},
		"a name with two slashes":               {"kubernetes", func(w *Workloads) { w.Workloads = []string{"deployment/a/b"} }, "no deployment can have this name"},
		"a kind alone":                          {"kubernetes", func(w *Workloads) { w.Workloads = []string{"deployment"} }, "write deployment/<name>"},
		"labels":                                {"kubernetes", labelled("app in (billing, web),tier!=test,!canary"), ""},
		"labels that are none":                  {"kubernetes", labelled("app in billing"), "groups[g].kubernetes[0].selector: \"app in billing\": no selector of labels, as kubectl get -l takes it: "},
		"a label's value with a blank":          {"kubernetes", labelled("app=my billing"), "no selector of labels"},
		"a label's name that is none":           {"kubernetes", labelled("app name"), "no selector of labels"},
		"labels that everything has":            {"kubernetes", labelled(" "), "it chooses every workload of the namespace"},
		"no namespace":                          {"kubernetes", func(w *Workloads) { w.Namespace = "" }, "name the namespace"},
		"a context of nothing":                  {"kubernetes", func(w *Workloads) { w.Context = "east" }, "name it as kubeconfig_file"},
		"names and labels":                      {"kubernetes", func(w *Workloads) { w.Selector = "a=b" }, "one of both"},
		"a kind that has no replica":            {"kubernetes", func(w *Workloads) { w.Workloads = []string{"daemonset/a"} }, "write deployment/<name>"},
		"twice":                                 {"kubernetes", func(w *Workloads) { w.Workloads = []string{"deployment/a", "deployment/a"} }, "named twice"},
		"another way":                           {"kubernetes", func(w *Workloads) { w.Way = "recreate" }, "use scale or rollout"},
		"waves of a scale":                      {"kubernetes", func(w *Workloads) { w.WaveWorkloads = 2 }, "waves and their halt are of a rollout"},
		"rollout at one site":                   {"kubernetes", func(w *Workloads) { w.Way, w.Site = "rollout", "east" }, "use scale, or leave site out"},
		"halt over 100":                         {"kubernetes", func(w *Workloads) { w.Way, w.HaltPercent = "rollout", 101 }, "from 1 to 100"},
		"a wait of days":                        {"kubernetes", func(w *Workloads) { w.WaitSeconds = 86400 }, "from 1 to 3600"},
		"a bad config map":                      {"kubernetes", func(w *Workloads) { w.ConfigMap = "A_B" }, "no ConfigMap can have this name"},
		"a config map with a dash behind a dot": {"kubernetes", func(w *Workloads) { w.ConfigMap = "a.-b" }, "no ConfigMap can have this name"},
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
