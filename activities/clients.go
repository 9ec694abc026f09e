package activities

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	consul "github.com/hashicorp/consul/api"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// clients are the open connections, by what they were made from. Secrets are
// no part of it: they are read at each login (Kafka) or call (the others).
type clients struct {
	mu      sync.Mutex // guards what follows
	kafka   map[string]*kafka
	consuls map[string]*consul.Client
	engines map[string]*api.Client

	resolve func(reference string) (string, error) // set once
}

// kafka is one cluster as one principal.
type kafka struct {
	client *kgo.Client
	adm    *kadm.Client
	site   string
}

func (c *clients) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.kafka {
		k.client.Close()
	}
	for _, e := range c.engines {
		e.HTTP.CloseIdleConnections()
	}
	c.kafka, c.consuls, c.engines = nil, nil, nil
}

// kafka is the worker's own connection to a site.
func (a *Activities) kafka(s runbook.Site) (*kafka, error) {
	return a.clients.dial(s.Name, "drawbridge-worker", s.Kafka.Bootstrap, s.Kafka.Security)
}

// canary is the connection of a site's canary principal, nil without one.
func (a *Activities) canary(s runbook.Site) (*kafka, error) {
	if s.Canary == nil {
		return nil, nil
	}
	return a.clients.dial(s.Name, "drawbridge-worker-canary", s.Kafka.Bootstrap, *s.Canary)
}

// produceByName is the last version of Produce that names topics (KIP-516): the
// canary asks about names.
const produceByName = 12

func (c *clients) dial(site, id string, bootstrap []string, sec runbook.Security) (*kafka, error) {
	key, err := json.Marshal([]any{site, id, bootstrap, sec})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.kafka[string(key)]; k != nil {
		return k, nil
	}
	opts, err := kafkaOptions(bootstrap, sec, c.resolve)
	if err != nil {
		return nil, fmt.Errorf("connection to site %s: %w", site, err)
	}
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(kmsg.Produce.Int16(), produceByName)
	client, err := kgo.NewClient(append(opts, kgo.ClientID(id), kgo.MaxVersions(versions),
		kgo.RetryTimeout(callTimeout), kgo.RequestTimeoutOverhead(callTimeout), kgo.DisableClientMetrics(),
		// A broker that refuses connections is known to be away after two seconds;
		// waits have their own loops.
		kgo.RequestRetries(4), kgo.RetryBackoffFn(backoff), kgo.MetadataMinAge(pollEvery))...)
	if err != nil {
		return nil, fmt.Errorf("connection to site %s: %w", site, err)
	}
	if c.kafka == nil {
		c.kafka = map[string]*kafka{}
	}
	k := &kafka{client: client, adm: kadm.NewClient(client), site: site}
	c.kafka[string(key)] = k
	return k, nil
}

func backoff(tries int) time.Duration { return min(100*time.Millisecond<<min(tries, 10), time.Second) }

// kafkaOptions logs in with secrets that are read at each login.
func kafkaOptions(bootstrap []string, sec runbook.Security, resolve func(string) (string, error)) ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.SeedBrokers(bootstrap...)}
	if strings.HasSuffix(sec.Protocol, "SSL") {
		cfg := &tls.Config{MinVersion: tls.VersionTLS12}
		if sec.CAFile != "" {
			pem, err := os.ReadFile(sec.CAFile)
			if err != nil {
				return nil, badSecret("ca_file: %v", err)
			}
			cfg.RootCAs = x509.NewCertPool()
			if !cfg.RootCAs.AppendCertsFromPEM(pem) {
				return nil, badSecret("ca_file %s has no certificate in PEM", sec.CAFile)
			}
		}
		opts = append(opts, kgo.DialTLSConfig(cfg))
	}
	if !strings.HasPrefix(sec.Protocol, "SASL_") {
		return opts, nil
	}
	var mechanism sasl.Mechanism
	auth := func(context.Context) (scram.Auth, error) {
		pass, err := resolve(sec.Password)
		return scram.Auth{User: sec.Username, Pass: pass}, err
	}
	switch sec.Mechanism {
	case "PLAIN":
		mechanism = plain.Plain(func(ctx context.Context) (plain.Auth, error) {
			got, err := auth(ctx)
			return plain.Auth{User: got.User, Pass: got.Pass}, err
		})
	case "SCRAM-SHA-256":
		mechanism = scram.Sha256(auth)
	case "SCRAM-SHA-512":
		mechanism = scram.Sha512(auth)
	default:
		return nil, badSecret("sasl mechanism %q: use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", sec.Mechanism)
	}
	return append(opts, kgo.SASL(mechanism)), nil
}

// principal is how ACL entries name a login. A cluster whose brokers map names
// (principal mapping rules) is not supported by fences of enumerated principals.
func principal(sec runbook.Security) string {
	if sec.Username == "" {
		return ""
	}
	return "User:" + sec.Username
}

// engine is a site's engine, called as nobody: for looks.
func (a *Activities) engine(s runbook.Site) (*api.Client, error) {
	token, err := secretFile(s.Engine.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("token of engine %s: %w", s.Name, err)
	}
	files := api.TLSFiles{CAFile: s.Engine.CAFile, CertFile: s.Engine.CertFile, KeyFile: s.Engine.KeyFile}
	key := fmt.Sprint(s.Name, " ", s.Engine.URL, files)
	a.clients.mu.Lock()
	defer a.clients.mu.Unlock()
	if c := a.clients.engines[key]; c != nil && c.Token == token {
		return c, nil
	}
	if a.clients.engines == nil {
		a.clients.engines = map[string]*api.Client{}
	}
	c := &api.Client{BaseURL: s.Engine.URL, Token: token, HTTP: a.http}
	if old := a.clients.engines[key]; old != nil {
		c.HTTP = old.HTTP
	} else if own, err := files.HTTPClient(); err != nil {
		return nil, fmt.Errorf("engine %s: %w", s.Name, err)
	} else if own != nil {
		c.HTTP = own
	}
	a.clients.engines[key] = c
	return c, nil
}

// engineAs is a site's engine, called as an operation: for changes. The engine
// refuses it once the operation was ended, revoked or overtaken.
func (a *Activities) engineAs(s runbook.Site, c workflows.Call) (*api.Client, error) {
	e, err := a.engine(s)
	if err != nil {
		return nil, err
	}
	return e.As(api.Operation{OperationID: c.OperationID, Epoch: c.Epoch}), nil
}

// consul is a site's Consul; the token goes with each call.
func (a *Activities) consul(s runbook.Site) (c *consul.Client, token string, err error) {
	if token, err = secretFile(s.Consul.TokenFile); err != nil {
		return nil, "", fmt.Errorf("token of consul %s: %w", s.Name, err)
	}
	key := s.Name + " " + s.Consul.Address
	a.clients.mu.Lock()
	defer a.clients.mu.Unlock()
	if c = a.clients.consuls[key]; c != nil {
		return c, token, nil
	}
	cfg := &consul.Config{Address: s.Consul.Address, Scheme: "http", HttpClient: &http.Client{Transport: a.http.Transport}}
	if c, err = consul.NewClient(cfg); err != nil {
		return nil, "", fmt.Errorf("consul of site %s: %w", s.Name, err)
	}
	if a.clients.consuls == nil {
		a.clients.consuls = map[string]*consul.Client{}
	}
	a.clients.consuls[key] = c
	return c, token, nil
}
