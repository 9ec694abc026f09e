package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"
	"github.com/google/renameio/v2"

	"github.com/drawbridge-dr/drawbridge/workflows/plan"
)

// writePlan makes the people's keys, as they would by drctl, and the plan.
func (s *System) writePlan(ctx context.Context) error {
	s.Drctl = &Drctl{system: s, binary: s.binaries["drctl"]}
	for _, name := range []string{Requester, Approver} {
		var key struct {
			PublicKey string `json:"public_key"`
		}
		if err := s.Drctl.JSON(ctx, &key, "key", "new", "--name", name, "--key", s.Key(name)); err != nil {
			return fmt.Errorf("key of %s: %w", name, err)
		}
		s.people[name] = key.PublicKey
	}
	p, err := s.plan(ctx)
	if err != nil {
		return err
	}
	if s.cfg.Plan != nil {
		s.cfg.Plan(&p)
	}
	// Normalised, so that the file says all that it means.
	raw, err := json.Marshal(p.Normalise())
	if err != nil {
		return err
	}
	if raw, err = yaml.JSONToYAML(raw); err != nil {
		return err
	}
	s.PlanFile = filepath.Join(s.cfg.Dir, "plans", s.cfg.Pair+".yaml")
	if err := os.MkdirAll(filepath.Dir(s.PlanFile), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(s.PlanFile, raw, 0o644); err != nil {
		return err
	}
	_, err = s.Drctl.Run(ctx, "plan", "validate", s.PlanFile)
	return err
}

// Key is the file of a person's key.
func (s *System) Key(person string) string { return filepath.Join(s.cfg.Dir, "keys", person+".json") }

// plan is the pair's: short intervals, since people watch.
func (s *System) plan(ctx context.Context) (plan.Plan, error) {
	p := plan.Plan{
		Pair: s.cfg.Pair, Home: s.cfg.Home, Groups: s.cfg.Groups, Reports: s.Reports,
		Objectives: plan.Objectives{RTOSeconds: 120, RPOSeconds: 10},
		// What is owed is paid by the tests themselves.
		Debts: plan.Duty{EverySeconds: -1},
		// Stories move a pair there and back within minutes: that is no flapping.
		Limits: plan.Limits{ClientsSeconds: 60, FreezeSeconds: 120, CatchUpSeconds: 300, AntiFlapSeconds: new(int64)},
		People: []plan.Person{
			{Name: Requester, Roles: []string{"operator"}, PublicKey: s.people[Requester]},
			{Name: Approver, Roles: []string{"approver"}, PublicKey: s.people[Approver]},
		},
		Approvals: map[string]plan.Rule{
			"failover": {Count: 1, Roles: []string{"approver"}},
			"failback": {Count: 1, Roles: []string{"approver"}},
			"restore":  {Count: 1, Roles: []string{"approver"}},

			"switchover": {Count: 1, Roles: []string{"approver"}},
		},
	}
	for _, t := range s.cfg.Topics {
		p.Topics = append(p.Topics, t.Name)
	}
	worker, link := s.as(WorkerUser), s.as(LinkUser)
	for _, site := range []*Site{s.Home, s.Standby} {
		own, err := s.passwordFile("worker", worker.Name, worker.Password)
		if err != nil {
			return p, err
		}
		canary, err := s.passwordFile("worker", s.canary.Name, s.canary.Password)
		if err != nil {
			return p, err
		}
		// References of links are resolved by the engine, which looks into its own
		// folder only.
		source, err := s.passwordFile(filepath.Join(site.Name, "engine"), "source", link.Password)
		if err != nil {
			return p, err
		}
		consul, err := s.consul(ctx, site)
		if err != nil {
			return p, err
		}
		p.Sites = append(p.Sites, plan.Site{
			Name: site.Name,
			Kafka: plan.Kafka{Bootstrap: site.Kafka.Bootstrap(), Security: plan.Security{
				Protocol: "SASL_PLAINTEXT", Mechanism: "PLAIN", Username: worker.Name, PasswordFile: own,
			}},
			Engine: plan.Engine{URL: site.Engine.URL(), LinkSecurity: plan.Security{
				Protocol: "SASL_PLAINTEXT", Mechanism: "PLAIN", Username: link.Name, PasswordFile: source,
			}},
			Consul: consul,
			Canary: &plan.Security{Protocol: "SASL_PLAINTEXT", Mechanism: "PLAIN", Username: s.canary.Name, PasswordFile: canary},
		})
	}
	for _, way := range [][2]*Site{{s.Home, s.Standby}, {s.Standby, s.Home}} {
		p.Links = append(p.Links, plan.Link{
			Name: Link(way[0], way[1]), Source: way[0].Name, Destination: way[1].Name,
			Configs: map[string]string{"consumer.offset.sync.ms": "1000"},
		})
	}
	return p, nil
}

// consul is a site's, with a token of the worker's where it demands one.
func (s *System) consul(ctx context.Context, site *Site) (plan.Consul, error) {
	out := plan.Consul{Address: site.Consul.Address()}
	if s.cfg.Least == nil {
		return out, nil
	}
	token, err := site.Consul.Token(ctx, "drawbridge-worker-"+s.cfg.Pair, s.cfg.Least.Policy)
	if err != nil {
		return out, err
	}
	out.TokenFile = filepath.Join(s.cfg.Dir, "worker", "consul-"+site.Name+".token")
	return out, renameio.WriteFile(out.TokenFile, []byte(token), 0o600)
}

func (s *System) passwordFile(folder, name, password string) (string, error) {
	file := filepath.Join(s.cfg.Dir, folder, name+".password")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", err
	}
	return file, renameio.WriteFile(file, []byte(password), 0o600)
}
