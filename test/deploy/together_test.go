//go:build real && deploy

package deploy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"go.temporal.io/sdk/temporal"

	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// What the compose file starts, without containers: the same files, commands and scripts, each as a process on loopback,
// with the Dockerfile's own build of our programs. What is not covered is the images of others, and Temporal's PostgreSQL.
func TestWhatComposeStartsWorksTogether(t *testing.T) {
	t.Parallel()
	bin := builtAsInTheDockerfile(t)
	root, p := prepared(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	h := &host{T: t, ctx: ctx, root: root, project: p, bin: bin}
	h.assign()
	h.keys()
	for _, site := range []string{"east", "west"} {
		h.kafka(site)
		h.consul(site)
	}
	for _, site := range []string{"east", "west"} {
		h.answers(site)
		h.script("kafka-" + site + "-rights")
		h.script("consul-" + site + "-policies")
	}
	var attributes []temporal.SearchAttributeKey
	for _, a := range workflows.SearchAttributes {
		if a.Int {
			attributes = append(attributes, temporal.NewSearchAttributeKeyInt64(a.Name))
		} else {
			attributes = append(attributes, temporal.NewSearchAttributeKeyKeyword(a.Name))
		}
	}
	server := local.TemporalForTest(t, local.TemporalConfig{Namespace: "drawbridge", SearchAttributes: attributes})
	h.names = append(h.names, "temporal:7233", server.HostPort())
	engines := []string{"engine-east-1", "engine-east-2", "engine-west-1", "engine-west-2"}
	for _, name := range engines {
		h.start(name, "https://localhost:"+h.port(name+":8090")+"/readyz")
	}
	h.start("worker", "http://localhost:"+h.port("worker:8095")+"/readyz")
	out := h.drctl("setup", "orders", "-o", "json")
	var result workflows.Result
	if err := json.Unmarshal([]byte(out), &result); err != nil || result.Outcome != runbook.Done {
		t.Fatalf("setup: %v\n%s", err, out)
	}
	h.drctl("readiness", "orders")

	// Prometheus, with its own secrets: all that the plan names is mirrored, by whichever replica leads.
	active := regexp.MustCompile(`drawbridge_mirrors\{link="east-to-west",status="ACTIVE"\} (\d+)`)
	sum := 0
	for _, name := range engines[2:] {
		text := h.get("https://localhost:"+h.port(name+":8090")+"/metrics", strings.TrimSpace(text(t, p.Secrets["engine-read"].File)))
		if m := active.FindStringSubmatch(text); m != nil {
			var n int
			if _, err := fmt.Sscan(m[1], &n); err != nil {
				t.Fatal(err)
			}
			sum += n
		}
	}
	if sum != 4 {
		t.Errorf("%d mirrors are ACTIVE at west; wanted are orders, payments, audit-eu and the pair's own topic", sum)
	}
	for _, name := range append(engines, "worker") {
		h.stop(name)
	}
}

// builtAsInTheDockerfile runs the build stage, with this machine's Go, on nothing but what it copies.
func builtAsInTheDockerfile(t *testing.T) string {
	t.Helper()
	src, out := t.TempDir(), t.TempDir()
	for _, c := range dockerfile(t).Stages[0].Commands {
		for _, source := range c.Detail.SourcePaths {
			copyFor(t, filepath.Clean(source), src)
		}
		if c.Name == "RUN" {
			line := strings.ReplaceAll(c.Detail.CmdLine[0], "/out/", out+"/")
			cmd := exec.CommandContext(t.Context(), "sh", "-ec", line)
			cmd.Dir, cmd.Env = src, append(os.Environ(), "VERSION=v0-compose", "GOFLAGS=")
			if said, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", c.Text, err, said)
			}
		}
	}
	for _, name := range []string{"mirrorengine", "worker", "drctl"} {
		f, err := elf.Open(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
			t.Errorf("%s wants a dynamic linker, which a static image has not", name)
		}
		_ = f.Close()
	}
	said, err := command(t, filepath.Join(out, "mirrorengine"), "-version")
	if err != nil || !strings.HasPrefix(said, "v0-compose ") {
		t.Errorf("mirrorengine -version: %q, %v", said, err)
	}
	return out
}

// copyFor copies a file or folder of the clone as the build gets it.
func copyFor(t *testing.T, name, to string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, name), func(from string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, from)
		if err != nil || ignored(t, filepath.ToSlash(rel)) {
			return err
		}
		body, err := os.ReadFile(from)
		target := filepath.Join(to, rel)
		return errors.Join(err, os.MkdirAll(filepath.Dir(target), 0o755), os.WriteFile(target, body, 0o644))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// host is this machine in place of Compose.
type host struct {
	*testing.T
	ctx       context.Context
	root, bin string
	project   project
	names     []string // pairs: host:port in the network of the containers, and here
	processes map[string]*local.Process
	tools     string // folder with consul, kafka-topics.sh, kafka-acls.sh
}

// assign gives every address a port here, and makes Kafka's tools callable.
func (h *host) assign() {
	h.processes, h.tools = map[string]*local.Process{}, h.TempDir()
	addresses := []string{"worker:8095"}
	for _, site := range []string{"east", "west"} {
		for _, a := range []string{"kafka-%s:9092", "kafka-%s:9093", "kafka-%s:9094", "consul-%s:8500", "consul-%s:8300", "consul-%s:8301", "engine-%s-1:8090", "engine-%s-2:8090"} {
			addresses = append(addresses, fmt.Sprintf(a, site))
		}
	}
	ports, err := local.FreePorts(len(addresses))
	h.must(err)
	for i, a := range addresses {
		h.names = append(h.names, a, fmt.Sprintf("localhost:%d", ports[i]))
	}
	for _, site := range []string{"east", "west"} { // any replica answers for the site
		h.names = append(h.names, "engine-"+site+":8090", "localhost:"+h.port("engine-"+site+"-1:8090"))
	}
	jars, err := local.KafkaToolJars(h.ctx)
	h.must(err)
	for tool, class := range map[string]string{"kafka-acls.sh": "AclCommand", "kafka-topics.sh": "TopicCommand"} {
		script := fmt.Sprintf("#!/bin/sh\nexec java -Xmx128m -XX:TieredStopAtLevel=1 -cp '%s/*' org.apache.kafka.tools.%s \"$@\"\n", jars, class)
		h.must(os.WriteFile(filepath.Join(h.tools, tool), []byte(script), 0o755))
	}
	agent, err := local.Tool(h.ctx, local.ToolConsul)
	h.must(err)
	h.must(os.Symlink(agent, filepath.Join(h.tools, "consul")))
}

func (h *host) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// port is where an address is here.
func (h *host) port(address string) string {
	h.Helper()
	for i := 0; i < len(h.names); i += 2 {
		if h.names[i] == address {
			_, port, _ := strings.Cut(h.names[i+1], ":")
			return port
		}
	}
	h.Fatalf("%s has no port here", address)
	return ""
}

// keys puts people's own keys into the plan, as the README says, and this machine's addresses and paths.
func (h *host) keys() {
	planFile := filepath.Join(h.root, "compose", "plans", "orders.yaml")
	body := text(h.T, planFile)
	for _, who := range []string{"ann", "bob"} {
		out, err := exec.CommandContext(h.ctx, filepath.Join(h.bin, "drctl"), "key", "new", "--name", who, "--key", filepath.Join(h.root, "compose", "keys", who+".json"), "-o", "json").Output()
		h.must(err)
		var key struct {
			PublicKey string `json:"public_key"`
		}
		h.must(json.Unmarshal(out, &key))
		body = regexp.MustCompile(`(name: `+who+`,.*public_key: )[^}]*`).ReplaceAllString(body, "${1}"+key.PublicKey)
	}
	body = h.here("engine-west-1", h.here("worker", body)) // an engine reads what its links log in with
	h.must(os.WriteFile(planFile, []byte(body), 0o600))
}

// here is a text of a service's with its addresses and paths as they are on this machine.
func (h *host) here(name, body string) string {
	h.Helper()
	p := h.project.place(name)
	for path, from := range p.files {
		if filepath.Dir(path) == "/run/drawbridge/links" { // a folder of its own, since engines look at the folder
			links := filepath.Join(h.root, "links")
			h.must(os.MkdirAll(links, 0o700))
			h.must(os.WriteFile(filepath.Join(links, filepath.Base(path)), []byte(text(h.T, from)), 0o600))
			body = strings.ReplaceAll(body, "/run/drawbridge/links", links)
		}
	}
	var pairs []string
	for _, path := range slices.Backward(slices.Sorted(keys(p.files))) {
		pairs = append(pairs, path, p.files[path])
	}
	for path, from := range p.folders {
		if !strings.HasPrefix(from, "/") {
			from = filepath.Join(h.root, "volumes", from)
			h.must(os.MkdirAll(from, 0o700))
		}
		pairs = append(pairs, path, from)
	}
	pairs = append(pairs, "/run/secrets", filepath.Join(h.root, "compose", "secrets"), "/opt/kafka/bin", h.tools)
	return strings.NewReplacer(append(pairs, h.names...)...).Replace(body)
}

// rewritten is a file that a service mounts, as it must be here.
func (h *host) rewritten(name, path string, more ...string) string {
	h.Helper()
	body := strings.NewReplacer(more...).Replace(h.here(name, text(h.T, h.project.place(name).files[path])))
	file := filepath.Join(h.root, "here", name, filepath.Base(path))
	h.must(os.MkdirAll(filepath.Dir(file), 0o700))
	h.must(os.WriteFile(file, []byte(body), 0o600))
	return file
}

// run starts a process that ends with the test.
func (h *host) run(name, path string, args, env []string) *local.Process {
	h.Helper()
	proc, err := local.Start(local.Spec{Name: name, Path: path, Args: args, Env: env, LogFile: filepath.Join(h.root, "logs", name+".log")})
	h.must(err)
	h.processes[name] = proc
	h.Cleanup(func() {
		if h.Failed() {
			h.Logf("end of the log of %s:\n%s", name, proc.Log(12))
		}
		_ = proc.Kill()
	})
	return proc
}

// kafka formats a broker's storage and starts it, as its image does with a file of properties.
func (h *host) kafka(site string) {
	name := "kafka-" + site
	jars, err := local.KafkaBrokerJars(h.ctx)
	h.must(err)
	properties := h.rewritten(name, "/mnt/shared/config/server.properties",
		"0.0.0.0:9092", "127.0.0.1:"+h.port(name+":9092"), "localhost:9093", "localhost:"+h.port(name+":9093"), "localhost:9094", "localhost:"+h.port(name+":9094"))
	java := []string{"-Xmx384m", "-XX:TieredStopAtLevel=1", "-cp", jars + "/*"}
	out, err := command(h.T, "java", append(java, "kafka.tools.StorageTool", "format", "--cluster-id", h.project.Services[name].Environment["CLUSTER_ID"], "-c", properties)...)
	if err != nil {
		h.Fatalf("format the storage of %s: %v\n%s", name, err, out)
	}
	h.run(name, "java", append(java, "kafka.Kafka", properties), nil)
}

// consul starts an agent with the service's command.
func (h *host) consul(site string) {
	name := "consul-" + site
	var args []string
	for _, a := range h.project.Services[name].Command {
		args = append(args, strings.ReplaceAll(h.here(name, a), "-client=0.0.0.0", "-client=127.0.0.1"))
	}
	h.run(name, filepath.Join(h.tools, "consul"), append(args, "-bind=127.0.0.1", "-http-port="+h.port(name+":8500"), "-server-port="+h.port(name+":8300"),
		"-serf-lan-port="+h.port(name+":8301"), "-serf-wan-port=-1", "-grpc-port=-1", "-grpc-tls-port=-1", "-dns-port=-1", "-log-level=warn", "-hcl=disable_update_check = true"), nil)
}

// answers waits for both, as the health checks do.
func (h *host) answers(site string) {
	h.Helper()
	password := strings.TrimSpace(text(h.T, h.project.Secrets["kafka-admin"].File))
	client, err := kgo.NewClient(kgo.SeedBrokers("localhost:"+h.port("kafka-"+site+":9092")), kgo.SASL(plain.Auth{User: "admin", Pass: password}.AsMechanism()))
	h.must(err)
	defer client.Close()
	h.must(h.processes["kafka-"+site].WaitReady(h.ctx, "kafka-"+site+" to answer", func(ctx context.Context) error {
		_, err := kadm.NewClient(client).ListTopics(ctx)
		return err
	}))
	h.must(h.processes["consul-"+site].WaitReady(h.ctx, "consul-"+site+" to have a leader", func(ctx context.Context) error {
		leader, err := page(ctx, "http://localhost:"+h.port("consul-"+site+":8500")+"/v1/status/leader")
		if err == nil && !strings.Contains(leader, ":") {
			err = errors.New("none yet")
		}
		return err
	}))
}

// script runs a service that ends by itself.
func (h *host) script(name string) {
	h.Helper()
	s := h.project.Services[name]
	run := slices.Concat(s.Entrypoint, s.Command)
	properties := h.project.place(name).files["/etc/drawbridge/admin.properties"]
	for i := range run {
		run[i] = strings.ReplaceAll(h.here(name, run[i]), "$$", "$")
	}
	cmd := exec.CommandContext(h.ctx, run[0], run[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+h.tools+":"+os.Getenv("PATH"))
	for k, v := range s.Environment {
		v = h.here(name, v)
		if properties != "" && v == properties {
			v = h.rewritten(name, "/etc/drawbridge/admin.properties")
		}
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		h.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// start starts a service of ours with its command, and waits until its address says that it is ready.
func (h *host) start(name, ready string) {
	h.Helper()
	s := h.project.Services[name]
	path, env := "", []string{}
	config := s.Command[len(s.Command)-1]
	port := regexp.MustCompile(`:(\d+)/`).FindStringSubmatch(ready)[1]
	file := h.rewritten(name, config, "0.0.0.0:8090", "127.0.0.1:"+port, "0.0.0.0:8095", "127.0.0.1:"+port)
	path = filepath.Join(h.bin, filepath.Base(s.Command[0]))
	if s.Hostname != "" { // by which a container is known to the other replicas, see replicas.advertise
		env = append(env, "DRAWBRIDGE_REPLICAS_ADVERTISE=https://localhost:"+port)
	}
	proc := h.run(name, path, append(slices.Clone(s.Command[1:len(s.Command)-1]), file), env)
	h.must(proc.WaitReady(h.ctx, name+" to be ready", func(context.Context) error {
		_, err := h.fetch(ready, "")
		return err
	}))
}

// stop ends a service of ours as Compose does, within what it is given there.
func (h *host) stop(name string) {
	h.Helper()
	grace, err := time.ParseDuration(h.project.Services[name].StopGracePeriod)
	h.must(err)
	proc := h.processes[name]
	status := text(h.T, fmt.Sprintf("/proc/%d/status", proc.Pid()))
	began := time.Now()
	if err := proc.Stop(grace); err != nil {
		h.Errorf("%s: %v", name, err)
	}
	h.Logf("%s ended in %s of %s; at most it had %s of memory", name, time.Since(began).Round(time.Millisecond), grace,
		strings.Join(strings.Fields(regexp.MustCompile(`VmHWM:(.*)`).FindStringSubmatch(status)[1]), " "))
}

// drctl runs a command as ann.
func (h *host) drctl(args ...string) string {
	h.Helper()
	cmd := exec.CommandContext(h.ctx, filepath.Join(h.bin, "drctl"), args...)
	planFile := filepath.Join(h.root, "compose", "plans", "orders.yaml")
	cmd.Env = append(os.Environ(), "DRCTL_PLAN="+planFile, "DRCTL_KEY="+filepath.Join(h.root, "compose", "keys", "ann.json"),
		"TEMPORAL_ADDRESS=localhost:"+h.port("temporal:7233"), "TEMPORAL_NAMESPACE=drawbridge")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		h.Fatalf("drctl %v: %v\n%s\n%s", args, err, out, &said)
	}
	return string(out)
}

// get fetches a page.
func (h *host) get(url, token string) string {
	h.Helper()
	out, err := h.fetch(url, token)
	h.must(err)
	return out
}

// fetch asks as somebody who trusts the compose file's authority.
func (h *host) fetch(url, token string) (string, error) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(text(h.T, h.project.Secrets["ca.pem"].File)))
	c := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}, Timeout: 10 * time.Second}
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(h.ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, body)
	}
	return string(body), err
}
