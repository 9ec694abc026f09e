package harness

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Principal is an ordinary user with ALLOW entries on both clusters. ACLs are
// made by whoever owns the clients: mirroring them is not here yet.
type Principal struct {
	Name   string
	Write  []string // topics
	Read   []string // topics
	Groups []string // consumer groups
}

// Principals of a system that gives no more than is needed (Config.Least).
const (
	EngineUser = "drawbridge-engine"
	LinkUser   = "drawbridge-link"
	WorkerUser = "drawbridge-worker"
	CanaryUser = "drawbridge-canary"
)

// as is how one of them logs in: by itself, or else as the super user.
func (s *System) as(name string) local.User {
	if s.cfg.Least == nil {
		return s.super
	}
	return s.logins[name]
}

// makeLogins gives every principal a password. Without Config.Least the engine and
// the worker log in as the super user, which no DENY entry binds: a fence may then
// deny User:*.
func (s *System) makeLogins() {
	s.super = local.User{Name: "drawbridge", Password: password()}
	s.canary = local.User{Name: CanaryUser, Password: password()}
	for _, p := range s.cfg.Principals {
		s.logins[p.Name] = local.User{Name: p.Name, Password: password()}
	}
	for _, name := range s.least() {
		s.logins[name] = local.User{Name: name, Password: password()}
	}
}

// least are the principals that Config.Least has beside the canary.
func (s *System) least() []string {
	if s.cfg.Least == nil {
		return nil
	}
	return []string{EngineUser, LinkUser, WorkerUser}
}

func password() string {
	var b [12]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

func (s *System) kafkaConfig(site *Site) local.KafkaConfig {
	users := []local.User{s.canary}
	for _, p := range s.cfg.Principals {
		users = append(users, s.logins[p.Name])
	}
	for _, name := range s.least() {
		users = append(users, s.logins[name])
	}
	return local.KafkaConfig{
		Kind: s.cfg.Kind, Name: site.Name, Dir: filepath.Join(s.cfg.Dir, site.Name, "kafka"), Brokers: s.cfg.Brokers,
		SuperUser: s.super, Users: users, Proxied: site == s.Home || s.cfg.ProxyStandby,
		Volatile: s.cfg.Volatile,
	}
}

// createTopics makes the topics at home and the rights on both sides.
func (s *System) createTopics(ctx context.Context) error {
	for _, site := range []*Site{s.Home, s.Standby} {
		admin, err := site.Admin()
		if err != nil {
			return err
		}
		err = s.createAt(ctx, site, admin)
		admin.Close()
		if err != nil {
			return fmt.Errorf("cluster %s: %w", site.Name, err)
		}
		if err := s.writeCredentials(site); err != nil {
			return err
		}
		if s.cfg.Least != nil {
			if err := s.cfg.Least.Grant(ctx, site); err != nil {
				return fmt.Errorf("rights on cluster %s: %w", site.Name, err)
			}
		}
	}
	return nil
}

func (s *System) createAt(ctx context.Context, site *Site, admin *kadm.Client) error {
	if site == s.Home {
		for _, t := range s.cfg.Topics {
			if _, err := admin.CreateTopic(ctx, t.Partitions, -1, nil, t.Name); err != nil {
				return fmt.Errorf("create topic %s: %w", t.Name, err)
			}
		}
	}
	names := []string{runbook.CanaryTopic(s.cfg.Pair), runbook.DrillTopic(s.cfg.Pair)}
	for _, t := range s.cfg.Topics {
		names = append(names, t.Name)
	}
	var grants []*kadm.ACLBuilder
	if s.cfg.Least == nil {
		grants = append(grants, allow(s.canary.Name).Topics(names...).Operations(kadm.OpWrite, kadm.OpDescribe))
	}
	for _, p := range s.cfg.Principals {
		if len(p.Write) > 0 {
			grants = append(grants, allow(p.Name).Topics(p.Write...).Operations(kadm.OpWrite, kadm.OpDescribe))
		}
		if len(p.Read) > 0 {
			grants = append(grants, allow(p.Name).Topics(p.Read...).Operations(kadm.OpRead, kadm.OpDescribe))
		}
		if len(p.Groups) > 0 {
			grants = append(grants, allow(p.Name).Groups(p.Groups...).Operations(kadm.OpRead))
		}
	}
	for _, g := range grants {
		results, err := admin.CreateACLs(ctx, g)
		if err != nil {
			return fmt.Errorf("create ACL entries: %w", err)
		}
		for _, r := range results {
			if r.Err != nil {
				return fmt.Errorf("create ACL entry for %s on %s: %w", r.Principal, r.Name, r.Err)
			}
		}
	}
	return nil
}

func allow(user string) *kadm.ACLBuilder {
	return kadm.NewACLs().Allow("User:" + user).AllowHosts("*").ResourcePatternType(kadm.ACLPatternLiteral)
}

// writeCredentials writes what drctl exec hands to a child of each principal:
// KAFKA_USERNAME and KAFKA_PASSWORD.
func (s *System) writeCredentials(site *Site) error {
	for _, u := range s.logins {
		file := s.Credentials(site, u.Name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		text := fmt.Sprintf("KAFKA_USERNAME=%s\nKAFKA_PASSWORD=%s\n", u.Name, u.Password)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Credentials is the file with a principal's login at a site, for drctl exec.
func (s *System) Credentials(site *Site, principal string) string {
	return filepath.Join(s.cfg.Dir, site.Name, "credentials", principal+".env")
}

// Login is a principal's.
func (s *System) Login(principal string) local.User { return s.logins[principal] }

// Client returns a client of the super user that goes round the proxies. The
// caller closes it.
func (s *Site) Client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(s.Kafka.DirectOptions(s.super), opts...)...)
}

// Admin returns an administrator's client that goes round the proxies. The
// caller closes it.
func (s *Site) Admin() (*kadm.Client, error) {
	client, err := s.Client(kgo.ClientID("drawbridge-harness"))
	if err != nil {
		return nil, err
	}
	return kadm.NewClient(client), nil
}
