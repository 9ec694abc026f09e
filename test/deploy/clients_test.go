//go:build real

package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// templated is consul-template over a copy of deploy/clients, and a Consul with the record of truth.
type templated struct {
	t      *testing.T
	dir    string
	binary string
	consul *local.Consul
	kv     *consul.KV
}

func newTemplated(t *testing.T) *templated {
	t.Helper()
	binary, err := local.Tool(t.Context(), local.ToolConsulTemplate)
	if err != nil {
		t.Fatal(err)
	}
	c := &templated{t: t, dir: t.TempDir(), binary: binary, consul: local.ConsulForTest(t, local.ConsulConfig{})}
	if err := os.CopyFS(c.dir, os.DirFS(filepath.Join("..", "..", "deploy", "clients"))); err != nil {
		t.Fatal(err)
	}
	// The client: it says where it was started, and that it was stopped.
	app := `#!/bin/sh
trap 'echo stopped >>app.log; exit 0' TERM
echo "up:$DRAWBRIDGE_SITE:$DRAWBRIDGE_BOOTSTRAP:$DRAWBRIDGE_EPOCH:$DRAWBRIDGE_SECURITY_REF:${KAFKA_USER:-}" >>app.log
while :; do sleep 0.02; done
`
	if err := os.WriteFile(filepath.Join(c.dir, "billing"), []byte(app), 0o700); err != nil {
		t.Fatal(err)
	}
	api, err := c.consul.Client()
	if err != nil {
		t.Fatal(err)
	}
	c.kv = api.KV()
	return c
}

func (c *templated) record(epoch int64, active string, change ...func(*record.Record)) {
	c.t.Helper()
	r := record.Record{
		Pair: "orders", Mode: record.ActivePassive, Phase: record.Open, Epoch: epoch, PrevEpoch: epoch - 1,
		Active: []string{active}, Standby: []string{map[string]string{"east": "west", "west": "east"}[active]},
		Bootstrap:   map[string][]string{"east": {"e1:9092", "e2:9092"}, "west": {"w1:9092"}},
		SecurityRef: map[string]string{"east": "ref-east", "west": "ref-west"},
		OpID:        "op-" + active, ChangedAt: time.Unix(1700000000, 0), ChangedBy: "test",
	}
	for _, f := range change {
		f(&r)
	}
	raw, err := record.Marshal(r)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.kv.Put(&consul.KVPair{Key: record.KeysOf("orders").Active, Value: raw}, nil); err != nil {
		c.t.Fatal(err)
	}
}

func (c *templated) until(what string, cond func() error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
	defer cancel()
	if err := local.WaitFor(ctx, what, func(context.Context) error { return cond() }); err != nil {
		c.t.Fatal(err)
	}
}

func (c *templated) untilSaid(want ...string) {
	c.t.Helper()
	c.until(fmt.Sprintf("the client's words %q", want), func() error {
		raw, err := os.ReadFile(filepath.Join(c.dir, "app.log"))
		if err != nil {
			return err
		}
		if got := strings.Fields(string(raw)); !slices.Equal(got, want) {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
}

func TestAClientUnderConsulTemplateFollowsTheRecord(t *testing.T) {
	c := newTemplated(t)
	creds := filepath.Join(c.dir, "credentials")
	if err := os.Mkdir(creds, 0o700); err != nil {
		t.Fatal(err)
	}
	for site, user := range map[string]string{"east": "ann", "west": "bob"} {
		if err := os.WriteFile(filepath.Join(creds, site+".env"), []byte("KAFKA_USER="+user+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	proc, err := local.Start(local.Spec{
		Name: "consul-template", Path: c.binary, Args: []string{"-config", "consul-template.hcl", "-log-level", "info"}, Dir: c.dir,
		LogFile: filepath.Join(c.dir, "consul-template.log"),
		Env:     []string{"CONSUL_HTTP_ADDR=" + c.consul.Address(), "CREDENTIALS_DIR=" + creds, "STATE_DIR=" + c.dir},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proc.Stop(2 * time.Minute); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of consul-template:\n%s", proc.Log(40))
		}
	})
	// Without a record nothing is started.
	c.until("consul-template to wait for the record", func() error {
		if !strings.Contains(proc.Log(100), "(runner) starting") {
			return errors.New(proc.Log(5))
		}
		return nil
	})
	c.record(4, "east")
	want := []string{"up:east:e1:9092,e2:9092:4:ref-east:ann"}
	c.untilSaid(want...)

	// What does not concern it leaves it alone.
	c.record(4, "east", func(r *record.Record) {
		r.Phase, r.Lock = record.Moving, &record.Lock{OpID: "failover-1", Operation: "failover", Since: time.Unix(1700000000, 0)}
	})
	c.record(4, "east", func(r *record.Record) { r.Phase = record.Frozen })
	want = append(want, "stopped")
	c.untilSaid(want...)
	c.until("the script to say why", func() error {
		if !strings.Contains(proc.Log(100), "the pair is frozen: billing stays stopped") {
			return errors.New(proc.Log(5))
		}
		return nil
	})
	c.record(5, "west")
	want = append(want, "up:west:w1:9092:5:ref-west:bob")
	c.untilSaid(want...)

	// A Consul that came back with what it held before the failover: stopped rather than astray.
	c.record(4, "east")
	want = append(want, "stopped")
	c.untilSaid(want...)
	c.until("the script to refuse", func() error {
		if !strings.Contains(proc.Log(100), "epoch 5 was seen before, Consul shows 4") {
			return errors.New(proc.Log(5))
		}
		return nil
	})
	// A group that was placed elsewhere than the active site.
	c.record(6, "west", func(r *record.Record) {
		r.Groups = map[string]record.Group{"billing": {Site: "east"}, "web": {Site: "west"}}
	})
	c.untilSaid(append(want, "up:east:e1:9092,e2:9092:6:ref-east:ann")...)
}

func TestThePropertiesFileNamesTheSitesServers(t *testing.T) {
	c := newTemplated(t)
	c.record(5, "west")
	cmd := exec.CommandContext(t.Context(), c.binary, "-once", "-template", "kafka.properties.ctmpl:kafka.properties")
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), "CONSUL_HTTP_ADDR="+c.consul.Address())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	raw, err := os.ReadFile(filepath.Join(c.dir, "kafka.properties"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, line := range strings.Split(string(raw), "\n") {
		if line != "" && line[0] != '#' {
			got = append(got, line)
		}
	}
	if want := []string{"bootstrap.servers=w1:9092", "metadata.recovery.strategy=rebootstrap", "group.id=billing"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// envconsul itself cannot be had here. What can be looked at: of what stands below the pair's folder each prefix means one
// key and not the whole of its name, of which the format makes the variable that drctl exec sets too.
func TestEnvconsulsPrefixesMeanOneKeyEach(t *testing.T) {
	t.Parallel()
	found := regexp.MustCompile(`(?m)^  path   = "([^"]+)"\n  format = "([^"]+)"$`).FindAllStringSubmatch(read(t, "clients", "envconsul.hcl"), -1)
	got := map[string]string{}
	for _, m := range found {
		for _, key := range []string{"active", "bootstrap", "security", "hold", "lock", "acks/billing/a"} {
			if rest, ok := strings.CutPrefix("drawbridge/orders/"+key, m[1]); ok && rest != "" {
				got[strings.ToUpper(strings.Replace(m[2], "{{ key }}", strings.TrimLeft(rest, "/"), 1))] += key
			}
		}
	}
	if want := map[string]string{"DRAWBRIDGE_BOOTSTRAP": "bootstrap", "DRAWBRIDGE_SECURITY_REF": "security"}; !maps.Equal(got, want) {
		t.Errorf("the child gets %v, want %v", got, want)
	}
}
