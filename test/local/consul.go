package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// ConsulConfig describes one Consul agent. A pair of sites has two that know nothing of each other.
type ConsulConfig struct {
	// Name of the site; it becomes the agent's datacenter (lower case letters, digits, - and _). Default "dc1".
	Name string
	// Dir gets the log and, if Persistent, the data. It must exist no longer than the agent. Required.
	Dir string
	// Persistent keeps the KV store on disk (about 2 s to a leader), so that it survives Kill and Restart. Otherwise the
	// agent runs in memory (0.2 s) and a restarted one is empty.
	Persistent bool
	// Management is a token, a UUID, that may do everything; whoever shows none may do nothing then. Empty: there is no
	// access control, any client on this machine may write.
	Management string
	// DNS has the agent answer DNS queries too, over TCP and UDP, at DNSAddress.
	DNS bool
}

// Consul is one running agent, its own single server.
type Consul struct {
	cfg  ConsulConfig
	spec Spec
	addr string
	dns  string
	proc *Process
}

// consulReady is how long an agent may take to elect itself on a busy machine.
const consulReady = 90 * time.Second

// StartConsul starts an agent on loopback and returns when it has a leader and answers consistent reads.
func StartConsul(ctx context.Context, cfg ConsulConfig) (*Consul, error) {
	if cfg.Dir == "" {
		return nil, errors.New("start consul: Dir is empty: give a folder for its log and data")
	}
	if cfg.Name == "" {
		cfg.Name = "dc1"
	}
	path, err := Tool(ctx, ToolConsul)
	if err != nil {
		return nil, err
	}
	ports, err := FreePorts(4)
	if err != nil {
		return nil, err
	}
	args := []string{
		"agent",
		"-bind=127.0.0.1", "-client=127.0.0.1", "-datacenter=" + cfg.Name, "-node=" + cfg.Name + "-1",
		"-http-port=" + strconv.Itoa(ports[0]),
		"-server-port=" + strconv.Itoa(ports[1]),
		"-serf-lan-port=" + strconv.Itoa(ports[2]),
		"-serf-wan-port=-1", "-grpc-port=-1", "-grpc-tls-port=-1",
		// A name of its own for each agent of one machine, and no word to anybody outside it.
		"-disable-host-node-id", "-log-level=warn", "-hcl=disable_update_check = true",
	}
	dns := -1
	if cfg.DNS {
		dns = ports[3]
	}
	args = append(args, "-dns-port="+strconv.Itoa(dns))
	if cfg.Persistent {
		args = append(args, "-server", "-bootstrap-expect=1", "-data-dir="+filepath.Join(cfg.Dir, "consul-data"),
			"-hcl=performance { raft_multiplier = 1 }")
	} else {
		args = append(args, "-dev")
	}
	if cfg.Management != "" {
		args = append(args, fmt.Sprintf("-hcl=acl { enabled = true default_policy = \"deny\" tokens { initial_management = %q } }", cfg.Management))
	}
	c := &Consul{
		cfg:  cfg,
		addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0])),
		dns:  net.JoinHostPort("127.0.0.1", strconv.Itoa(dns)),
		spec: Spec{Name: "consul " + cfg.Name, Path: path, Args: args, LogFile: filepath.Join(cfg.Dir, "consul-"+cfg.Name+".log")},
	}
	if err := c.start(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Consul) start(ctx context.Context) error {
	proc, err := Start(c.spec)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, consulReady)
	defer cancel()
	if err := proc.WaitReady(ctx, c.spec.Name+" to elect a leader", c.ready); err != nil {
		return errors.Join(err, proc.Kill())
	}
	c.proc = proc
	return nil
}

func (c *Consul) ready(ctx context.Context) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	leader, err := client.Status().LeaderWithQueryOptions((&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return err
	}
	if leader == "" {
		return errors.New("no leader yet")
	}
	// A leader is named before it has applied its log; a consistent read waits for that.
	_, _, err = client.KV().Get("drawbridge-ready", (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	return err
}

// Address is the host:port of the HTTP API; it stays the same over Restart.
func (c *Consul) Address() string { return c.addr }

// DNSAddress is where it answers DNS queries, if it was told to.
func (c *Consul) DNSAddress() string { return c.dns }

// Client returns a new API client for this agent that may do everything, whatever CONSUL_* variables say.
func (c *Consul) Client() (*api.Client, error) {
	return api.NewClient(&api.Config{Address: c.addr, Scheme: "http", Token: c.cfg.Management})
}

// Version is the agent's own, "1.22.7".
func (c *Consul) Version(ctx context.Context) (string, error) {
	client, err := c.Client()
	if err != nil {
		return "", err
	}
	var self map[string]map[string]any
	if _, err := client.Raw().Query("/v1/agent/self", &self, (&api.QueryOptions{}).WithContext(ctx)); err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", c.spec.Name, err)
	}
	version, _ := self["Config"]["Version"].(string)
	return strings.TrimSpace(version), nil
}

// Kill ends the agent by SIGKILL, as a power cut would.
func (c *Consul) Kill() error { return c.proc.Kill() }

// Token makes a policy of rules (HCL) and returns a token that has it and nothing else. The agent must have a Management
// token.
func (c *Consul) Token(ctx context.Context, name, rules string) (string, error) {
	client, err := c.Client()
	if err != nil {
		return "", err
	}
	opts := (&api.WriteOptions{}).WithContext(ctx)
	policy, _, err := client.ACL().PolicyCreate(&api.ACLPolicy{Name: name, Rules: rules}, opts)
	if err != nil {
		return "", fmt.Errorf("make the policy %s in %s: %w", name, c.spec.Name, err)
	}
	token, _, err := client.ACL().TokenCreate(&api.ACLToken{Description: name, Policies: []*api.ACLTokenPolicyLink{{ID: policy.ID}}}, opts)
	if err != nil {
		return "", fmt.Errorf("make a token of the policy %s in %s: %w", name, c.spec.Name, err)
	}
	return token.SecretID, nil
}

// Restart starts an ended agent again on the same address, with its old KV store if it is Persistent, and waits as
// StartConsul does.
func (c *Consul) Restart(ctx context.Context) error {
	if c.proc.Running() {
		return fmt.Errorf("restart %s: it is running; Kill or Stop it first", c.spec.Name)
	}
	return c.start(ctx)
}

// Pause freezes the agent: its connections stay open and answer nothing, as behind a cut link.
func (c *Consul) Pause() error { return c.proc.Pause() }

// Resume lets a paused agent go on.
func (c *Consul) Resume() error { return c.proc.Resume() }

// Stop ends the agent. A server told to end exits with 1, which is no fault.
func (c *Consul) Stop() error { return c.proc.Stop(stopTimeout) }

// Log returns the last lines of the agent's log.
func (c *Consul) Log(lines int) string { return c.proc.Log(lines) }
