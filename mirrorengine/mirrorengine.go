package mirrorengine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/cluster"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/link"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/rest"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
)

var (
	_ rest.Links   = (*link.Manager)(nil)
	_ rest.Replica = (*link.Manager)(nil)
	_ rest.Cluster = (*cluster.Reader)(nil)
	_ link.Peer    = (*api.Client)(nil)
)

// Engine is one mirroring engine, or one of its replicas, listening and connected
// to its local cluster.
type Engine struct {
	listener net.Listener
	manager  *link.Manager
	reader   *cluster.Reader
	server   *rest.Server
}

// New opens the API's address, connects to the local cluster and takes over its
// share of the state topic; nothing is mirrored and nobody is answered before Run.
// version is given out in descriptions. Close it in any case.
//
// The address comes first: an engine that cannot serve must not take shards over
// from one that does.
func New(ctx context.Context, cfg Config, version string, logger *slog.Logger) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	access, err := cfg.access()
	if err != nil {
		return nil, err
	}
	token := "" // by which replicas ask one another
	if cfg.TokenFile != "" {
		if token, err = readToken(cfg.TokenFile); err != nil {
			return nil, fmt.Errorf("token_file: %w", err)
		}
	}
	var sealer *secret.Sealer
	if cfg.EncryptionKeyFile != "" {
		if sealer, err = secret.NewSealer(cfg.EncryptionKeyFile); err != nil {
			return nil, fmt.Errorf("encryption_key_file: %w", err)
		}
	}
	vault, err := secret.NewVault(cfg.Vault)
	if err != nil {
		return nil, err
	}
	resolve := secret.Reader{Vault: vault}.Resolve
	local, err := cfg.Kafka.clientOptions(cfg.Kafka.Username, cfg.Kafka.Password, resolve)
	if err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	var canary []kgo.Opt
	if cfg.Canary.Username != "" {
		if canary, err = cfg.Kafka.clientOptions(cfg.Canary.Username, cfg.Canary.Password, resolve); err != nil {
			return nil, fmt.Errorf("canary: %w", err)
		}
	}
	listener, err := rest.Listen(ctx, cfg.Listen, access, rest.TLS(cfg.TLS))
	if err != nil {
		return nil, err
	}
	address, err := cfg.advertised(listener.Addr())
	var peers *http.Client
	if err == nil {
		if peers, err = (api.TLSFiles{CAFile: cfg.Replicas.CAFile}).HTTPClient(); err != nil {
			err = fmt.Errorf("replicas.ca_file: %w", err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	registry := newRegistry(version)
	manager, err := link.New(ctx, link.Options{
		Local: local, ProduceConnections: cfg.Kafka.ProduceConnections, Canary: canary, Name: cfg.Name, Version: version,
		Principal: cfg.Kafka.principal(), CanaryPrincipal: cfg.Canary.principal(),
		StateTopic: cfg.State.Topic, Shards: cfg.State.Shards, ReplicationFactor: cfg.State.ReplicationFactor,
		Resolve: secret.Scope{Dirs: cfg.Secrets.Dirs, Env: cfg.Secrets.Env, Paths: cfg.Secrets.Vault, Vault: vault}.Resolve,
		Sealer:  sealer, Logger: logger, Registry: registry,
		Address: address, Instance: address, Session: cfg.Replicas.SessionTimeout,
		Peer: func(address string) link.Peer {
			return &api.Client{BaseURL: api.ReplicaURL(address), Token: token, HTTP: peers}
		},
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the engine of %s: %w", cfg.Name, err), listener.Close())
	}
	reader, err := cluster.New(local, cfg.Name)
	if err != nil {
		manager.Close()
		return nil, errors.Join(err, listener.Close())
	}
	server := rest.New(rest.Options{
		Links: manager, Cluster: reader, Access: access, Version: version, Ready: manager.Ready,
		Replica: manager, Leader: manager.Leader, Away: manager.Away, Stuck: manager.Stuck, Peers: peers, PeerToken: token,
		Metrics: metricsHandler(registry, logger), Logger: logger,
	})
	return &Engine{listener: listener, manager: manager, reader: reader, server: server}, nil
}

// Addr is the API's address, with the port that was given for port 0.
func (e *Engine) Addr() net.Addr { return e.listener.Addr() }

// Run mirrors and serves until ctx ends (nil), or until one of them cannot go
// on.
func (e *Engine) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return e.manager.Run(ctx) })
	group.Go(func() error { return e.server.Run(ctx, e.listener) })
	return group.Wait()
}

// Close releases the address and the clients; call it after Run has returned.
func (e *Engine) Close() {
	_ = e.listener.Close() // Run has closed it, unless it was never called
	e.reader.Close()
	e.manager.Close()
}

// clientOptions are a client of the local cluster as one principal. They are
// made by way of a link's configuration, so that both ends of a link dial, log
// in and trust alike.
func (k Kafka) clientOptions(user, password string, resolve func(string) (string, error)) ([]kgo.Opt, error) {
	values := map[string]string{
		"bootstrap.servers": strings.Join(k.Bootstrap, ","),
		"security.protocol": k.SecurityProtocol,
	}
	if user != "" {
		values["sasl.mechanism"] = k.SASLMechanism
		values["sasl.jaas.config"] = k.loginLine(quoted.Replace(user), quoted.Replace(password))
		if k.OAuth.TokenURL != "" {
			values["sasl.oauthbearer.token.endpoint.url"] = k.OAuth.TokenURL
		}
	}
	for key, file := range map[string]string{
		"ssl.truststore.location":        k.TLS.CAFile,
		"ssl.keystore.certificate.chain": fileReference(k.TLS.CertFile),
		"ssl.keystore.key":               fileReference(k.TLS.KeyFile),
	} {
		if file != "" {
			values[key] = file
		}
	}
	cfg, err := link.Parse(values)
	if err != nil {
		return nil, err
	}
	return link.ClientOptions(cfg, resolve)
}

// loginLine is a principal's, as Kafka's own clients have it.
func (k Kafka) loginLine(user, password string) string {
	const modules = "org.apache.kafka.common.security."
	switch k.SASLMechanism {
	case oauthBearer:
		line := fmt.Sprintf(`%soauthbearer.OAuthBearerLoginModule required clientId="%s" clientSecret="%s"`, modules, user, password)
		if k.OAuth.Scope != "" {
			line += fmt.Sprintf(` scope="%s"`, quoted.Replace(k.OAuth.Scope))
		}
		return line + ";"
	case "PLAIN":
		return fmt.Sprintf(`%splain.PlainLoginModule required username="%s" password="%s";`, modules, user, password)
	}
	return fmt.Sprintf(`%sscram.ScramLoginModule required username="%s" password="%s";`, modules, user, password)
}

// quoted escapes what would end a quoted value of a login line.
var quoted = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

func fileReference(path string) string {
	if path == "" {
		return ""
	}
	return "${file:" + path + "}"
}

// access reads the tokens.
func (c Config) access() (rest.Access, error) {
	var out rest.Access
	tokens := c.Tokens
	if c.TokenFile != "" {
		tokens = append([]Token{{Name: "admin", Role: "admin", File: c.TokenFile}}, tokens...)
	}
	for _, t := range tokens {
		text, err := readToken(t.File)
		if err != nil {
			return out, fmt.Errorf("token %s: %w", t.Name, err)
		}
		for _, other := range out.Tokens {
			if other.Secret == text {
				return out, fmt.Errorf("token %s: %s has the same token; the log could not tell them apart", t.Name, other.Name)
			}
		}
		role, _ := rest.ParseRole(t.Role) // Validate has looked
		out.Tokens = append(out.Tokens, rest.Token{Name: t.Name, Role: role, Secret: text})
	}
	for _, cert := range c.Certificates {
		role, _ := rest.ParseRole(cert.Role)
		out.Certificates = append(out.Certificates, rest.Certificate{Name: cert.Name, Role: role})
	}
	return out, nil
}

// readToken reads one token.
func readToken(path string) (string, error) {
	token, err := secret.File(path)
	if err != nil {
		return "", err
	}
	if len(token) < minToken {
		return "", fmt.Errorf("%s: the token has %d characters, at least %d are wanted; write one by: openssl rand -hex 32", path, len(token), minToken)
	}
	return token, nil
}

// minToken is the least length of a token, in bytes: shorter ones can be tried
// out.
const minToken = 16
