//go:build real

package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// object is a Kubernetes object, as far as the checks look at it; Kubernetes' own types have read all of it strictly.
type object struct {
	Kind     string
	Metadata struct {
		Name, Namespace string
		Labels          map[string]string
	}
	Data map[string]string
	Spec struct {
		Replicas    *int
		Strategy    struct{ Type string }
		ServiceName string
		Selector    json.RawMessage // of a service a map, else matchLabels
		Template    template
		Ports       []struct {
			Port       int
			TargetPort any
		}
		ClusterIP      string
		PodSelector    labelSelector
		PolicyTypes    []string
		MaxUnavailable any
		AccessModes    []string
		Ingress        []struct{ Ports []struct{ Port any } }
	}
}

type labelSelector struct{ MatchLabels map[string]string }

type template struct {
	Metadata struct{ Labels map[string]string }
	Spec     struct {
		AutomountServiceAccountToken  *bool
		TerminationGracePeriodSeconds *int
		HostNetwork, HostPID          bool
		SecurityContext               struct {
			RunAsNonRoot       bool
			RunAsUser, FSGroup int
			SeccompProfile     struct{ Type string }
		}
		Containers []container
		Volumes    []volume
	}
}

type container struct {
	Name, Image string
	Command     []string
	Env         []struct{ Name, Value string }
	Ports       []struct {
		Name          string
		ContainerPort int
	}
	StartupProbe, LivenessProbe, ReadinessProbe *probe
	Resources                                   struct{ Requests, Limits map[string]string }
	SecurityContext                             struct {
		AllowPrivilegeEscalation *bool
		ReadOnlyRootFilesystem   bool
		Privileged               bool
		Capabilities             struct{ Drop, Add []string }
	}
	VolumeMounts []struct {
		Name, MountPath string
		ReadOnly        bool
	}
}

type probe struct {
	HTTPGet                       struct{ Path, Port, Scheme string }
	TimeoutSeconds, PeriodSeconds int
	FailureThreshold              int
}

type volume struct {
	Name      string
	Secret    *source
	ConfigMap *struct {
		source
		Name string
	}
	PersistentVolumeClaim *struct{ ClaimName string }
}

type source struct {
	SecretName string
	Items      []struct{ Key, Path string }
}

// overlays are the example's sites, with their objects.
func overlays(t *testing.T) map[string][]object {
	t.Helper()
	out := map[string][]object{}
	for _, site := range []string{"east", "west"} {
		var all []object
		manifest(t, &all, "kustomization", file("k8s", "example", site))
		out[site] = all
	}
	return out
}

func find(objects []object, kind, name string) *object {
	for i, o := range objects {
		if o.Kind == kind && o.Metadata.Name == name {
			return &objects[i]
		}
	}
	return nil
}

// workloads are the objects that have pods.
func workloads(objects []object) (out []object) {
	for _, o := range objects {
		if len(o.Spec.Template.Spec.Containers) > 0 {
			out = append(out, o)
		}
	}
	return out
}

// fits tells whether labels have all that a selector wants, and that it wants something.
func fits(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return len(selector) > 0
}

func TestKubernetesTakesTheManifestsAndTheyFitTogether(t *testing.T) {
	t.Parallel()
	for site, objects := range overlays(t) {
		all := workloads(objects)
		// The bot is one process in all, at the site that is the standby.
		if want := map[string]int{"east": 2, "west": 3}[site]; len(all) != want {
			t.Fatalf("%s: %d workloads", site, len(all))
		}
		chosen := func(selector map[string]string) (out []object) {
			for _, w := range all {
				if fits(selector, w.Spec.Template.Metadata.Labels) {
					out = append(out, w)
				}
			}
			return out
		}
		disrupted, walled := map[string]int{}, map[string]int{}
		for _, o := range objects {
			id := fmt.Sprintf("%s: %s %s", site, o.Kind, o.Metadata.Name)
			if o.Kind != "Namespace" && o.Metadata.Namespace != "drawbridge" {
				t.Errorf("%s is in the namespace %q", id, o.Metadata.Namespace)
			}
			var matching labelSelector
			if len(o.Spec.Selector) > 0 && o.Kind != "Service" {
				if err := json.Unmarshal(o.Spec.Selector, &matching); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			}
			switch o.Kind {
			case "StatefulSet", "Deployment":
				if !fits(matching.MatchLabels, o.Spec.Template.Metadata.Labels) {
					t.Errorf("%s selects %v, its pods have %v", id, matching.MatchLabels, o.Spec.Template.Metadata.Labels)
				}
				if alone := o.Metadata.Name == "drawbridge-bot"; o.Spec.Replicas == nil || (*o.Spec.Replicas < 2) != alone || alone && o.Spec.Strategy.Type != "Recreate" {
					t.Errorf("%s has no second pod, or it is a second bot: %+v", id, o.Spec)
				}
			case "Service":
				var selector map[string]string
				if err := json.Unmarshal(o.Spec.Selector, &selector); err != nil {
					t.Errorf("%s: %v", id, err)
				}
				for _, w := range chosen(selector) {
					for _, p := range o.Spec.Ports {
						if !slices.ContainsFunc(w.Spec.Template.Spec.Containers[0].Ports, func(c struct {
							Name          string
							ContainerPort int
						},
						) bool {
							return c.Name == p.TargetPort && c.ContainerPort == p.Port
						}) {
							t.Errorf("%s leads to port %v of %s, which has none such", id, p.TargetPort, w.Metadata.Name)
						}
					}
				}
				if len(chosen(selector)) != 1 {
					t.Errorf("%s selects %d workloads", id, len(chosen(selector)))
				}
			case "PodDisruptionBudget":
				for _, w := range chosen(matching.MatchLabels) {
					disrupted[w.Metadata.Name]++
				}
				if o.Spec.MaxUnavailable != 1.0 {
					t.Errorf("%s lets %v go at once", id, o.Spec.MaxUnavailable)
				}
			case "NetworkPolicy":
				for _, w := range chosen(o.Spec.PodSelector.MatchLabels) {
					walled[w.Metadata.Name]++
					for _, in := range o.Spec.Ingress {
						for _, p := range in.Ports {
							if p.Port != w.Spec.Template.Spec.Containers[0].Ports[0].Name {
								t.Errorf("%s lets port %v in, %s has %v", id, p.Port, w.Metadata.Name, w.Spec.Template.Spec.Containers[0].Ports)
							}
						}
					}
				}
				if !slices.Equal(o.Spec.PolicyTypes, []string{"Ingress", "Egress"}) {
					t.Errorf("%s is for %v", id, o.Spec.PolicyTypes)
				}
			case "Secret":
				t.Errorf("%s: secrets are made elsewhere, never kept here", id)
			}
		}
		for _, w := range all {
			budgets := 1
			if *w.Spec.Replicas == 1 { // one could only hinder that its node is emptied
				budgets = 0
			}
			if disrupted[w.Metadata.Name] != budgets || walled[w.Metadata.Name] != 1 {
				t.Errorf("%s: %s has %d disruption budgets and %d network policies", site, w.Metadata.Name, disrupted[w.Metadata.Name], walled[w.Metadata.Name])
			}
		}
		engine := find(objects, "StatefulSet", "drawbridge-engine")
		replicas := find(objects, "Service", engine.Spec.ServiceName)
		if replicas == nil || replicas.Spec.ClusterIP != "None" {
			t.Errorf("%s: replicas have no names of their own by the service %q", site, engine.Spec.ServiceName)
		}
		want := "https://$(POD_NAME)." + engine.Spec.ServiceName + ".$(POD_NAMESPACE).svc:8090"
		if got := environment(engine.Spec.Template.Spec.Containers[0], "DRAWBRIDGE_REPLICAS_ADVERTISE"); got != want {
			t.Errorf("%s: replicas advertise %q, their names are %s", site, got, want)
		}
	}
}

func environment(c container, name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

func TestPodsAreAsTightAsTheyCanBeAndSayHowTheyAre(t *testing.T) {
	t.Parallel()
	mebi := regexp.MustCompile(`^(\d+)Mi(?:B)?$`)
	size := func(text string) (n int) {
		if m := mebi.FindStringSubmatch(text); m != nil {
			_, _ = fmt.Sscan(m[1], &n) // digits
		}
		return n
	}
	for site, objects := range overlays(t) {
		for _, w := range workloads(objects) {
			id := site + ": " + w.Metadata.Name
			spec := w.Spec.Template.Spec
			if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken || spec.HostNetwork || spec.HostPID {
				t.Errorf("%s can do more in the cluster than run", id)
			}
			if s := spec.SecurityContext; !s.RunAsNonRoot || s.RunAsUser != 65532 || s.FSGroup != 65532 || s.SeccompProfile.Type != "RuntimeDefault" {
				t.Errorf("%s: %+v", id, s)
			}
			// Ten seconds are what calls under way (engine) and activities (worker) are given.
			if g := spec.TerminationGracePeriodSeconds; g == nil || *g < 20 {
				t.Errorf("%s has no time to end", id)
			}
			for _, c := range spec.Containers {
				if s := c.SecurityContext; s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || !s.ReadOnlyRootFilesystem || s.Privileged ||
					!slices.Equal(s.Capabilities.Drop, []string{"ALL"}) || len(s.Capabilities.Add) > 0 {
					t.Errorf("%s: %+v", id, s)
				}
				r := c.Resources
				if r.Requests["cpu"] == "" || size(r.Requests["memory"]) == 0 || size(r.Limits["memory"]) < size(r.Requests["memory"]) || r.Limits["cpu"] != "" {
					t.Errorf("%s: %+v", id, r)
				}
				if limit := size(environment(c, "GOMEMLIMIT")); limit == 0 || limit >= size(r.Limits["memory"]) {
					t.Errorf("%s: Go may take %q of %s", id, environment(c, "GOMEMLIMIT"), r.Limits["memory"])
				}
				scheme := map[string]string{"engine": "HTTPS", "worker": ""}[c.Name]
				for kind, p := range map[string]*probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
					path := "/healthz"
					if kind == "readiness" {
						path = "/readyz"
					}
					if p == nil || p.HTTPGet.Path != path || p.HTTPGet.Port != c.Ports[0].Name || p.HTTPGet.Scheme != scheme || p.TimeoutSeconds == 0 || p.TimeoutSeconds > p.PeriodSeconds || p.FailureThreshold < 2 {
						t.Errorf("%s: %s probe %+v", id, kind, p)
					}
				}
				if !strings.HasPrefix(c.Image, "registry.example/drawbridge:v") {
					t.Errorf("%s: image %s", id, c.Image)
				}
				if bins := binaries(t); !bins[c.Command[0]] {
					t.Errorf("%s runs %v, the image has %v", id, c.Command, bins)
				}
			}
		}
	}
}

// binaries are the commands that the image has.
func binaries(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, c := range dockerfile(t).Stages[1].Commands {
		for _, s := range c.Detail.SourcePaths {
			out[c.Detail.DestPath+filepath.Base(s)] = c.Name == "COPY"
		}
	}
	return out
}

// placeOf is what a pod's first container finds; the objects tell what config maps hold.
func placeOf(t *testing.T, objects []object, w object) place {
	t.Helper()
	out := place{name: w.Metadata.Name, files: map[string]string{}, folders: map[string]string{}}
	c := w.Spec.Template.Spec.Containers[0]
	for _, m := range c.VolumeMounts {
		i := slices.IndexFunc(w.Spec.Template.Spec.Volumes, func(v volume) bool { return v.Name == m.Name })
		if i < 0 {
			t.Errorf("%s mounts %s, which is no volume", w.Metadata.Name, m.Name)
			continue
		}
		v := w.Spec.Template.Spec.Volumes[i]
		switch {
		case v.Secret != nil:
			if len(v.Secret.Items) == 0 || !m.ReadOnly {
				t.Errorf("%s: volume %s takes all keys of a secret, or may write it", w.Metadata.Name, v.Name)
			}
			for _, item := range v.Secret.Items {
				out.files[m.MountPath+"/"+item.Path] = v.Secret.SecretName
			}
		case v.ConfigMap != nil:
			data := find(objects, "ConfigMap", v.ConfigMap.Name)
			if data == nil {
				t.Errorf("%s: there is no config map %s", w.Metadata.Name, v.ConfigMap.Name)
				continue
			}
			for key, body := range data.Data {
				file := filepath.Join(t.TempDir(), key)
				if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
					t.Fatal(err)
				}
				out.files[m.MountPath+"/"+key] = file
			}
			for _, item := range v.ConfigMap.Items {
				if _, ok := data.Data[item.Key]; !ok || item.Key != item.Path {
					t.Errorf("%s: config map %s has no %s", w.Metadata.Name, v.ConfigMap.Name, item.Key)
				}
			}
		case v.PersistentVolumeClaim != nil:
			claim := find(objects, "PersistentVolumeClaim", v.PersistentVolumeClaim.ClaimName)
			if claim == nil || *w.Spec.Replicas > 1 && !slices.Equal(claim.Spec.AccessModes, []string{"ReadWriteMany"}) {
				t.Errorf("%s: two pods cannot share %s", w.Metadata.Name, v.PersistentVolumeClaim.ClaimName)
			}
			out.folders[m.MountPath] = v.PersistentVolumeClaim.ClaimName
		}
	}
	return out
}

func TestPodsFindAllThatTheirConfigurationsName(t *testing.T) {
	t.Parallel()
	for site, objects := range overlays(t) {
		engine := placeOf(t, objects, *find(objects, "StatefulSet", "drawbridge-engine"))
		work := placeOf(t, objects, *find(objects, "Deployment", "drawbridge-worker"))
		w := find(objects, "Deployment", "drawbridge-worker").Spec.Template.Spec.Containers[0]
		e := find(objects, "StatefulSet", "drawbridge-engine").Spec.Template.Spec.Containers[0]

		config := engine.files[e.Command[len(e.Command)-1]]
		c := loadEngine(t, config)
		if c.Name != site || c.Listen != fmt.Sprintf("0.0.0.0:%d", e.Ports[0].ContainerPort) {
			t.Errorf("%s: the engine is %s and listens on %s", site, c.Name, c.Listen)
		}
		engine.findsAll(t, config, text(t, config))

		config = work.files[w.Command[len(w.Command)-1]]
		wc := loadWorker(t, config)
		if wc.Listen != fmt.Sprintf("0.0.0.0:%d", w.Ports[0].ContainerPort) {
			t.Errorf("%s: the worker listens on %s", site, wc.Listen)
		}
		work.findsAll(t, config, text(t, config))
		orders := work.files[wc.PlansDir+"/orders.yaml"]
		p := loadPlan(t, orders)
		agrees(t, c, p)
		ofLinks := regexp.MustCompile(`(?m)^.*link_security.*$`)
		for _, line := range ofLinks.FindAllString(text(t, orders), -1) {
			engine.findsAll(t, "the plan's link", line)
		}
		work.findsAll(t, "the plan", ofLinks.ReplaceAllString(text(t, orders), ""))
		bot := find(objects, "Deployment", "drawbridge-bot")
		if bot == nil {
			continue
		}
		b := bot.Spec.Template.Spec.Containers[0]
		speaks := placeOf(t, objects, *bot)
		config = speaks.files[b.Command[len(b.Command)-1]]
		speaks.findsAll(t, config, text(t, config))
		if !strings.Contains(text(t, config), fmt.Sprintf("\nlisten: 0.0.0.0:%d\n", b.Ports[0].ContainerPort)) || !speaks.finds(wc.PlansDir+"/orders.yaml") {
			t.Errorf("%s: the bot listens elsewhere than at %d, or does not find the worker's plans", site, b.Ports[0].ContainerPort)
		}
		if p.Bot == nil || site == p.Home {
			t.Errorf("%s: the plan has the bot %+v, and lives at %s", site, p.Bot, p.Home)
		}
	}
}
