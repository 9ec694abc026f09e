//go:build real

package deploy

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/worker"
	"github.com/drawbridge-dr/drawbridge/workflows"
)

// project is what Compose makes of a file.
type project struct {
	Services         map[string]service
	Secrets, Configs map[string]struct{ File string }
}

type service struct {
	Image, User      string
	Command          []string
	Entrypoint       []string
	Hostname         string
	Environment      map[string]string
	Build            *struct{ Context, Dockerfile string }
	Secrets, Configs []struct{ Source, Target string }
	Volumes          []struct{ Type, Source, Target string }
	Ports            []struct {
		HostIP string `json:"host_ip"`
	}
	ReadOnly        bool     `json:"read_only"`
	CapDrop         []string `json:"cap_drop"`
	SecurityOpt     []string `json:"security_opt"`
	Privileged      bool
	StopGracePeriod string `json:"stop_grace_period"`
	Networks        map[string]*struct{ Aliases []string }
	DependsOn       map[string]any `json:"depends_on"`
}

// place is what a service finds.
func (p project) place(name string) place {
	s := p.Services[name]
	out := place{name: name, files: map[string]string{}, folders: map[string]string{}}
	for _, x := range s.Secrets {
		out.files[x.Target] = p.Secrets[x.Source].File
	}
	for _, x := range s.Configs {
		out.files[x.Target] = p.Configs[x.Source].File
	}
	for _, v := range s.Volumes {
		out.folders[v.Target] = v.Source
	}
	return out
}

// prepared is deploy/ in a folder of the test's, with the secrets that prepare.sh makes.
func prepared(t *testing.T) (root string, p project) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "deploy")
	copyTree(t, folder, root)
	if out, err := command(t, "sh", filepath.Join(root, "compose", "prepare.sh")); err != nil {
		t.Fatalf("prepare.sh: %v\n%s", err, out)
	}
	manifest(t, &p, "compose", filepath.Join(root, "compose", "compose.yml"))
	if len(p.Services) < 15 {
		t.Fatalf("only %d services", len(p.Services))
	}
	return root, p
}

func TestComposeFindsAllThatItMounts(t *testing.T) {
	t.Parallel()
	_, p := prepared(t)
	for name := range p.Services {
		here := p.place(name)
		for path, from := range here.files {
			if info, err := os.Stat(from); err != nil || info.Size() == 0 {
				t.Errorf("%s: %s is empty or missing: %s (%v)", name, path, from, err)
			}
		}
		for path, from := range here.folders {
			if !strings.HasPrefix(from, "/") {
				continue // a named volume
			}
			if info, err := os.Stat(from); err != nil || !info.IsDir() {
				t.Errorf("%s: %s is no folder: %s (%v)", name, path, from, err)
			}
		}
		for _, port := range p.Services[name].Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s listens on %q of the host", name, port.HostIP)
			}
		}
		if image := p.Services[name].Image; !regexp.MustCompile(`^[a-z./-]+:[A-Za-z0-9.-]+$`).MatchString(image) || strings.HasSuffix(image, ":latest") {
			t.Errorf("%s: image %q has no version", name, image)
		}
	}
	for secret, s := range p.Secrets {
		if info, err := os.Stat(s.File); err != nil || info.Mode().Perm() != 0o444 {
			t.Errorf("secret %s: %v, %v: a container's user could not read it", secret, info.Mode(), err)
		}
	}
}

func TestComposesOwnServicesAreAsTightAsTheyCanBe(t *testing.T) {
	t.Parallel()
	_, p := prepared(t)
	ours := []string{}
	for name, s := range p.Services {
		if s.Build == nil {
			continue
		}
		ours = append(ours, name)
		if s.User != "65532:65532" || !s.ReadOnly || s.Privileged || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s: user %s, read only %t, capabilities dropped %v, %v", name, s.User, s.ReadOnly, s.CapDrop, s.SecurityOpt)
		}
		if s.Build.Dockerfile != "deploy/Dockerfile" {
			t.Errorf("%s is built from %s", name, s.Build.Dockerfile)
		}
	}
	slices.Sort(ours)
	if want := []string{"drbot", "drctl", "engine-east-1", "engine-east-2", "engine-west-1", "engine-west-2", "worker"}; !slices.Equal(ours, want) {
		t.Errorf("services of ours are %v", ours)
	}
}

func TestComposesConfigurationsAreGoodAndFitTheirPlaces(t *testing.T) {
	t.Parallel()
	root, p := prepared(t)
	orders := loadPlan(t, filepath.Join(root, "compose", "plans", "orders.yaml"))
	for name, s := range p.Services {
		here := p.place(name)
		switch {
		case strings.HasPrefix(name, "engine-"):
			site := strings.Split(name, "-")[1]
			config := here.files["/etc/drawbridge/engine.yml"]
			c := loadEngine(t, config)
			if c.Name != site || s.Hostname != name || !slices.Contains(s.Networks["default"].Aliases, "engine-"+site) {
				t.Errorf("%s: site %s, host name %s, networks %+v", name, c.Name, s.Hostname, s.Networks)
			}
			here.findsAll(t, config, text(t, config))
			agrees(t, c, orders)
			for _, site := range orders.Sites {
				if site.Name == c.Name {
					here.findsAll(t, "the plan's link", " "+strings.TrimPrefix(site.Engine.LinkSecurity.Password, "${file")) // :/path}
				}
			}
		case name == "worker":
			config := here.files["/etc/drawbridge/worker.yml"]
			c := loadWorker(t, config)
			here.findsAll(t, config, text(t, config))
			inPlan := regexp.MustCompile(`(?m)^.*link_security.*$`).ReplaceAllString(text(t, filepath.Join(root, "compose", "plans", "orders.yaml")), "")
			here.findsAll(t, "the plan", inPlan)
			if here.folders[c.PlansDir] != filepath.Join(root, "compose", "plans") {
				t.Errorf("the worker's plans are in %s, mounted are %v", c.PlansDir, here.folders)
			}
			reachable(t, p, c, orders.Sites[0].Engine.URL, orders.Sites[1].Engine.URL)
		case name == "drbot":
			config := here.files["/etc/drawbridge/drbot.yml"]
			here.findsAll(t, config, text(t, config))
			if here.folders["/etc/drawbridge/plans"] != filepath.Join(root, "compose", "plans") {
				t.Errorf("the bot's plans are others than the worker's: %v", here.folders)
			}
		case name == "drctl":
			for _, key := range []string{"DRCTL_PLAN", "DRCTL_KEY", "CONSUL_HTTP_TOKEN_FILE"} {
				if !here.finds(s.Environment[key]) {
					t.Errorf("drctl does not find its %s %q", key, s.Environment[key])
				}
			}
			if here.finds(orders.Sites[0].Consul.TokenFile) {
				t.Error("drctl has the worker's token, which may write the record")
			}
		case name == "prometheus":
			here.findsAll(t, "prometheus.yml", text(t, here.files["/etc/prometheus/prometheus.yml"]))
		}
	}
}

// reachable tells whether the names in the configurations are those of services.
func reachable(t *testing.T, p project, c worker.Config, urls ...string) {
	t.Helper()
	known := map[string]bool{"localhost": true}
	for name, s := range p.Services {
		known[name], known[s.Hostname] = true, true
		for _, n := range s.Networks {
			if n != nil {
				for _, a := range n.Aliases {
					known[a] = true
				}
			}
		}
	}
	host := regexp.MustCompile(`([a-z][a-z0-9-]*):\d{4}\b`)
	all := append(urls, c.Temporal.Address, read(t, "prometheus", "prometheus.yml"), read(t, "compose", "plans", "orders.yaml"), read(t, "compose", "engine-east.yml"),
		read(t, "compose", "engine-west.yml"), read(t, "compose", "drbot.yml"), read(t, "compose", "kafka-east.properties"), read(t, "compose", "kafka-west.properties"), read(t, "compose", "grafana", "datasource.yml"))
	found := 0
	for _, m := range host.FindAllStringSubmatch(strings.Join(all, "\n"), -1) {
		if !known[m[1]] {
			t.Errorf("%s is no service's name", m[0])
		}
		found++
	}
	if found < 20 {
		t.Errorf("only %d addresses: the test does not find them any more", found)
	}
}

func TestComposeMakesTheSearchAttributesOfTheWorkflows(t *testing.T) {
	t.Parallel()
	want := map[string]string{}
	for _, a := range workflows.SearchAttributes {
		want[a.Name] = "Keyword"
		if a.Int {
			want[a.Name] = "Int"
		}
	}
	got := map[string]string{}
	for _, m := range regexp.MustCompile(`\b(Dr\w+)=(\w+)`).FindAllStringSubmatch(read(t, "compose", "temporal-namespace.sh"), -1) {
		got[m[1]] = m[2]
	}
	if !maps.Equal(got, want) {
		t.Errorf("it makes %v, the workflows write %v", got, want)
	}
	script := read(t, "compose", "temporal-namespace.sh")
	c := loadWorker(t, file("compose", "worker.yml"))
	if !strings.Contains(script, "\nnamespace="+c.Temporal.Namespace+"\n") {
		t.Errorf("it makes another namespace than the worker's, %s", c.Temporal.Namespace)
	}
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
