package plan

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Workloads are Deployments and StatefulSets of one namespace that run a group's
// clients, and how the worker moves them. It is allowed to by the rights in
// deploy/k8s/clients, or by those that readiness prints.
type Workloads struct {
	// Site: they run only while this site is active, as where each site has a
	// Kubernetes of its own. Left out, they run always and are moved by a restart.
	Site string `json:"site,omitempty"`
	// KubeconfigFile, on the worker's machine, and Context in it (default its current
	// one); left out, the worker's own service account, in the cluster it runs in.
	KubeconfigFile string `json:"kubeconfig_file,omitempty"`
	Context        string `json:"context,omitempty"` // of the kubeconfig; default its current one
	Namespace      string `json:"namespace"`         // that the workloads are in
	// Workloads are named as deployment/<name> and statefulset/<name>, or Selector
	// chooses both kinds by their labels, as in app=billing.
	Workloads []string `json:"workloads,omitempty"`
	Selector  string   `json:"selector,omitempty"` // of labels, in place of names
	// Way is scale, the default (to 0, proven, and after the flip to what it was), or
	// rollout (they run on and are restarted in waves after the flip).
	Way string `json:"way"`
	// ConfigMap of the namespace, which has to exist, that is kept at
	// DRAWBRIDGE_BOOTSTRAP, _SITE, _EPOCH, _PAIR and _SECURITY_REF of the active site.
	ConfigMap string `json:"config_map,omitempty"`
	// WaveWorkloads (default 1) are restarted at once. More failures in a wave than
	// HaltPercent (default 20) wait for a person. With rollout only.
	WaveWorkloads int64 `json:"wave_workloads,omitempty"`
	HaltPercent   int64 `json:"halt_percent,omitempty"` // failures of a wave that do not stop the next
	// WaitSeconds (default 300) bounds the wait for pods to be gone, and for each wave;
	// in a planned move also a quarter of limits.freeze_seconds.
	WaitSeconds int64 `json:"wait_seconds"`
}

const moveKubernetes = "kubernetes"

// Ways to move workloads.
const (
	wayScale   = "scale"
	wayRollout = "rollout"
)

// Defaults of workloads.
const (
	DefaultWaveWorkloads = 1
	DefaultWorkloadsWait = 300
)

func normaliseWorkloads(list []Workloads) []Workloads {
	list = slices.Clone(list)
	for i := range list {
		w := &list[i]
		w.Workloads = sortedCopy(w.Workloads)
		if w.Way == "" {
			w.Way = wayScale
		}
		if w.Way == wayRollout && w.WaveWorkloads == 0 {
			w.WaveWorkloads = DefaultWaveWorkloads
		}
		if w.Way == wayRollout && w.HaltPercent == 0 {
			w.HaltPercent = DefaultHaltPercent
		}
		if w.WaitSeconds == 0 {
			w.WaitSeconds = DefaultWorkloadsWait
		}
	}
	return list
}

// dns holds a name to a rule of the API server's.
func (c *checker) dns(key, kind, name, v string, rule func(string) []string) {
	if faults := rule(name); len(faults) > 0 {
		c.bad(key, v, "no %s can have this name: %s", kind, strings.Join(faults, "; "))
	}
}

func (c *checker) workloads(key string, g Group, sites []Site) {
	key += ".kubernetes"
	if (g.Move == moveKubernetes) != (len(g.Kubernetes) > 0) {
		c.bad(key, g.Move, "list the group's workloads here with move kubernetes, and with no other")
	}
	seen := map[string]bool{}
	for i, w := range g.Kubernetes {
		key := fmt.Sprintf("%s[%d]", key, i)
		if w.Site != "" && !slices.ContainsFunc(sites, func(s Site) bool { return s.Name == w.Site }) {
			c.bad(key+".site", w.Site, "no such site: name one of the plan's, or leave it out")
		}
		if w.Namespace == "" {
			c.bad(key+".namespace", w.Namespace, "name the namespace of the workloads")
		} else {
			c.dns(key+".namespace", "namespace", w.Namespace, w.Namespace, validation.IsDNS1123Label)
		}
		if w.Context != "" && w.KubeconfigFile == "" {
			c.bad(key+".context", w.Context, "a context stands in a kubeconfig: name it as kubeconfig_file")
		}
		if w.ConfigMap != "" {
			c.dns(key+".config_map", "ConfigMap", w.ConfigMap, w.ConfigMap, validation.IsDNS1123Subdomain)
		}
		c.named(key, w, seen)
		c.way(key, w)
	}
}

// named: by names or by labels, and no workload twice.
func (c *checker) named(key string, w Workloads, seen map[string]bool) {
	if (len(w.Workloads) == 0) == (w.Selector == "") {
		c.bad(key+".workloads", strings.Join(w.Workloads, ","), "name workloads, or give a selector of their labels: one of both")
	}
	if w.Selector != "" {
		chosen, err := labels.Parse(w.Selector)
		switch {
		case err != nil:
			c.bad(key+".selector", w.Selector, "no selector of labels, as kubectl get -l takes it: %v", err)
		case chosen.Empty():
			c.bad(key+".selector", w.Selector, "it chooses every workload of the namespace: name a label, as in app=billing")
		}
	}
	for _, name := range w.Workloads {
		kind, plain, _ := strings.Cut(name, "/")
		if plain == "" || kind != "deployment" && kind != "statefulset" {
			c.bad(key+".workloads", name, "write deployment/<name> or statefulset/<name>")
		} else {
			c.dns(key+".workloads", kind, plain, name, validation.IsDNS1123Subdomain)
		}
		where := strings.Join([]string{w.KubeconfigFile, w.Context, w.Namespace, name}, " ")
		if seen[where] {
			c.bad(key+".workloads", name, "named twice: remove one")
		}
		seen[where] = true
	}
}

func (c *checker) way(key string, w Workloads) {
	switch w.Way {
	case wayScale:
		if w.WaveWorkloads != 0 || w.HaltPercent != 0 {
			c.bad(key+".way", w.Way, "waves and their halt are of a rollout: remove wave_workloads and halt_percent")
		}
	case wayRollout:
		if w.Site != "" {
			c.bad(key+".way", w.Way, "what runs at one site only is stopped and started: use scale, or leave site out")
		}
		if w.WaveWorkloads < 1 || w.WaveWorkloads > 1000 {
			c.bad(key+".wave_workloads", w.WaveWorkloads, "write a whole number from 1 to 1000")
		}
		if w.HaltPercent < 1 || w.HaltPercent > 100 {
			c.bad(key+".halt_percent", w.HaltPercent, "write a whole number from 1 to 100")
		}
	default:
		c.bad(key+".way", w.Way, "use scale or rollout")
	}
	if w.WaitSeconds < 1 || w.WaitSeconds > 3600 {
		c.bad(key+".wait_seconds", w.WaitSeconds, "write seconds from 1 to 3600")
	}
}
