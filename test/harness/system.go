package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"
	"golang.org/x/sync/errgroup"

	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
)

// Config describes a whole system: a pair of sites and everything around it.
type Config struct {
	// Dir gets all data, configurations, keys and logs. It must be empty or not
	// exist yet. Required.
	Dir string
	// Kind is what both clusters are made of. Default local.KFake.
	Kind local.KafkaKind
	// Brokers per cluster, 1 or 3. Default 1.
	Brokers int
	// Pair is the pair's name. Default "shop".
	Pair string
	// Home and Standby name the sites. Default "east" and "west".
	Home, Standby string
	// Topics are created at home, and are what the plan mirrors. Required.
	Topics []Topic
	// Groups are the plan's consumer groups.
	Groups []plan.Group
	// Principals are ordinary users, allowed the same on both clusters.
	Principals []Principal
	// ProxyStandby puts proxies before the standby too; home always has them.
	ProxyStandby bool
	// Volatile is [local.KafkaConfig]'s: a kfake cluster that is killed has lost its data.
	Volatile bool
	// UI starts Temporal's Web UI.
	UI bool
	// Replicas is how many replicas of the engine stand at each site. Default 1.
	Replicas int
	// EngineTags and EngineEnv make other engines: tag "mutant" with
	// DRAWBRIDGE_MUTANT=….
	EngineTags, EngineEnv []string
	// Least gives engines, links and the worker no more than they need. Default nil:
	// they log in as a super user, and the Consuls let everybody do everything.
	Least *Least
	// SlackURL is where the worker writes to Slack, for a fake. Default Slack's own, which a plan must name a token for.
	SlackURL string
	// PagerDutyURL is where the worker pages, for a fake. Default PagerDuty's own, which a plan must name a key for.
	PagerDutyURL string
	// Plan may change the plan before it is written.
	Plan func(*plan.Plan)
	// Progress is told what is being started, a line each; nil for nobody.
	Progress func(format string, args ...any)
}

// Least is a system of ordinary principals.
type Least struct {
	// Grant gives EngineUser, LinkUser, WorkerUser and the canary their rights on a
	// site's cluster, before anybody but the super user logs in.
	Grant func(ctx context.Context, site *Site) error
	// Policy are the rules, in HCL, of the worker's token in both Consuls.
	Policy string
}

// Topic of the home cluster.
type Topic struct {
	Name       string
	Partitions int32
}

// People of the plan: the requester may not approve.
const (
	Requester = "ann"
	Approver  = "bob"
)

// System is a running pair. Its parts are exported so that a test can kill,
// pause and restart each of them: sites' Kafka, Consul and Engine, Temporal and
// Worker all have Kill and Restart.
type System struct {
	Home, Standby *Site
	Temporal      *local.Temporal
	Worker        *Worker
	Drctl         *Drctl

	// PlanFile is the worker's copy, plans/<pair>.yaml.
	PlanFile string
	// Reports is the worker's folder for reports.
	Reports string

	cfg      Config
	people   map[string]string // public keys
	stop     []func() error    // in starting order
	canary   local.User
	super    local.User
	binaries map[string]string
	logins   map[string]local.User // of Principals
}

// Site is one side of the pair.
type Site struct {
	Name   string
	Kafka  *local.Kafka
	Consul *local.Consul
	Engine *Engine
	// Replicas of the engine, Engine first.
	Replicas []*Engine

	super local.User
}

func (c Config) withDefaults() (Config, error) {
	def := func(v *string, d string) {
		if *v == "" {
			*v = d
		}
	}
	def(&c.Pair, "shop")
	def(&c.Home, "east")
	def(&c.Standby, "west")
	if c.Kind == "" {
		c.Kind = local.KFake
	}
	if c.Progress == nil {
		c.Progress = func(string, ...any) {}
	}
	var faults []error
	if c.Dir == "" {
		faults = append(faults, errors.New("no Dir: name a folder for the system's data"))
	}
	if len(c.Topics) == 0 {
		faults = append(faults, errors.New("no Topics: a plan mirrors at least one"))
	}
	return c, errors.Join(faults...)
}

// Start starts everything and returns when all parts answer; on an error
// nothing is left running. The pair is not set up yet: that is drctl setup. The
// system outlives ctx; end it with Stop.
func Start(ctx context.Context, cfg Config) (_ *System, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("start system: %w", err)
	}
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, err
	}
	s := &System{cfg: cfg, people: map[string]string{}, logins: map[string]local.User{}, Reports: filepath.Join(cfg.Dir, "reports")}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start system: %w", err), s.Stop())
		}
	}()
	s.makeLogins()
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"building the programs", s.build},
		{fmt.Sprintf("two %s clusters, two Consuls, Temporal", cfg.Kind), s.startServers},
		{"topics, principals and their rights", s.createTopics},
		{"engines", s.startEngines},
		{"keys and plan", s.writePlan},
		{"worker", s.startWorker},
	} {
		cfg.Progress("starting: %s", step.what)
		if err := step.do(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// build compiles the programs, one after the other: the linker wants all cores.
func (s *System) build(ctx context.Context) error {
	s.binaries = map[string]string{}
	for command, tags := range map[string][]string{"mirrorengine": s.cfg.EngineTags, "worker": nil, "drctl": nil} {
		path, err := Build(ctx, command, tags...)
		if err != nil {
			return err
		}
		s.binaries[command] = path
	}
	return nil
}

// startServers starts what is not ours, at the same time.
func (s *System) startServers(ctx context.Context) error {
	s.Home = &Site{Name: s.cfg.Home, super: s.super}
	s.Standby = &Site{Name: s.cfg.Standby, super: s.super}
	begun := make([]func() error, 5) // how to stop each; fixed places, since they start at the same time
	defer func() {
		for _, f := range begun {
			if f != nil {
				s.stop = append(s.stop, f)
			}
		}
	}()
	var group errgroup.Group // without its context: one failure must not cut short what then could not be stopped
	for i, site := range []*Site{s.Home, s.Standby} {
		group.Go(func() (err error) {
			site.Kafka, err = local.StartKafka(ctx, s.kafkaConfig(site))
			if err == nil {
				begun[i] = site.Kafka.Stop
			}
			return err
		})
		group.Go(func() (err error) {
			dir := filepath.Join(s.cfg.Dir, site.Name, "consul")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			cfg := local.ConsulConfig{Name: site.Name, Dir: dir, Persistent: true}
			if s.cfg.Least != nil {
				cfg.Management = uuid.NewString()
			}
			site.Consul, err = local.StartConsul(ctx, cfg)
			if err == nil {
				begun[2+i] = site.Consul.Stop
			}
			return err
		})
	}
	group.Go(func() (err error) {
		dir := filepath.Join(s.cfg.Dir, "temporal")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		s.Temporal, err = local.StartTemporal(ctx, local.TemporalConfig{Dir: dir, UI: s.cfg.UI, SearchAttributes: searchAttributes()})
		if err == nil {
			begun[4] = s.Temporal.Stop
		}
		return err
	})
	return group.Wait()
}

// searchAttributes are the runbooks', in the SDK's types.
func searchAttributes() []temporal.SearchAttributeKey {
	var out []temporal.SearchAttributeKey
	for _, a := range workflows.SearchAttributes {
		if a.Int {
			out = append(out, temporal.NewSearchAttributeKeyInt64(a.Name))
		} else {
			out = append(out, temporal.NewSearchAttributeKeyKeyword(a.Name))
		}
	}
	return out
}

// startEngines starts those of both sites at the same time, the replicas of a site
// one after the other; each probes its cluster first.
func (s *System) startEngines(ctx context.Context) error {
	var group errgroup.Group
	sites := []*Site{s.Home, s.Standby}
	for _, site := range sites {
		group.Go(func() error {
			for n := range max(s.cfg.Replicas, 1) {
				cfg := EngineConfig{
					Name: site.Name, Dir: filepath.Join(s.cfg.Dir, site.Name, "engine"), Kafka: site.Kafka,
					User: s.as(EngineUser), Canary: &s.canary, Binary: s.binaries["mirrorengine"], Env: s.cfg.EngineEnv,
				}
				if n > 0 {
					cfg.Replica = strconv.Itoa(n + 1)
				}
				e, err := StartEngine(ctx, cfg)
				if e != nil {
					site.Replicas = append(site.Replicas, e)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	for _, site := range sites {
		for _, e := range site.Replicas {
			if e.proc != nil {
				s.stop = append(s.stop, e.Stop)
			}
		}
		if len(site.Replicas) > 0 {
			site.Engine = site.Replicas[0]
		}
	}
	return err
}

// Site finds a site by name.
func (s *System) Site(name string) (*Site, error) {
	for _, site := range []*Site{s.Home, s.Standby} {
		if site.Name == name {
			return site, nil
		}
	}
	return nil, fmt.Errorf("site %q is neither %s nor %s", name, s.Home.Name, s.Standby.Name)
}

// Pair is the pair's name.
func (s *System) Pair() string { return s.cfg.Pair }

// Dir is the folder of all data and logs.
func (s *System) Dir() string { return s.cfg.Dir }

// Link is the name of the link between two sites, as in the plan.
func Link(source, destination *Site) string { return source.Name + "-to-" + destination.Name }

// Stop ends everything, the last started first. Stopping twice is harmless.
func (s *System) Stop() error {
	var errs []error
	for i := len(s.stop) - 1; i >= 0; i-- {
		errs = append(errs, s.stop[i]())
	}
	s.stop = nil
	return errors.Join(errs...)
}
