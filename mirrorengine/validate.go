package mirrorengine

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/link"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
)

var (
	siteName  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	topicName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)
)

// Validate reports all that is wrong, each fault with its key and the cure. It
// opens no file and no connection.
func (c Config) Validate() error {
	var faults []error
	fault := func(key, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %w", key, fmt.Errorf(format, args...)))
	}
	if !siteName.MatchString(c.Name) {
		fault("name", "'%s' is no site name; use small letters, digits and dashes, as in east", c.Name)
	}
	if host, port, err := net.SplitHostPort(c.Listen); err != nil || !isPort(port, 0) {
		fault("listen", "'%s' is no host:port; use 127.0.0.1:8090, or port 0 for any", c.Listen)
	} else if !loopback(host) {
		if c.TokenFile == "" && len(c.Tokens)+len(c.Certificates) == 0 {
			fault("tokens", "required because listen (%s) is not a loopback address; write a random token into a file (openssl rand -hex 32) and name it with a role, or set certificates, or listen on 127.0.0.1", c.Listen)
		}
		if c.TLS.CertFile == "" {
			fault("tls.cert_file", "required because listen (%s) is not a loopback address; without TLS tokens are read on the way; behind a proxy of your own listen on 127.0.0.1", c.Listen)
		}
	}
	c.validateCallers(fault)
	c.Kafka.validate(fault)
	c.Canary.validate(fault, c.Kafka)
	c.Vault.Check(fault)
	if len(c.Secrets.Vault) > 0 && c.Vault == (secret.VaultConfig{}) {
		fault("secrets.vault", "links may not refer to a vault that the engine does not have; add vault.address and a way to log in")
	}
	if !topicName.MatchString(c.State.Topic) || c.State.Topic == "." || c.State.Topic == ".." {
		fault("state.topic", "'%s' is no topic name; the default is _drawbridge_state", c.State.Topic)
	}
	if c.State.Shards < 1 || c.State.Shards > 1024 {
		fault("state.shards", "%d is not from 1 to 1024; the default is 16", c.State.Shards)
	}
	if a := c.Replicas.Advertise; a != "" && !reachable(a) {
		fault("replicas.advertise", "'%s' is neither host:port nor https://host:port, as other replicas reach this one", a)
	}
	if s := c.Replicas.SessionTimeout; s < time.Second || s > 30*time.Minute {
		fault("replicas.session_timeout", "%s is not from 1s to 30m; the default is 10s", s)
	}
	if f := c.State.ReplicationFactor; f < -1 || f == 0 {
		fault("state.replication_factor", "%d is neither -1 (the cluster's default) nor at least 1", f)
	}
	oneOf(fault, "log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf(fault, "log.format", c.Log.Format, "text", "json")
	return errors.Join(faults...)
}

func (c Config) validateCallers(fault faulter) {
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		fault("tls.cert_file", "goes together with tls.key_file; set both or none")
	}
	if c.TLS.ClientCAFile != "" && c.TLS.CertFile == "" {
		fault("tls.client_ca_file", "client certificates come over TLS only; set tls.cert_file and tls.key_file")
	}
	if (c.TLS.ClientCAFile == "") != (len(c.Certificates) == 0) {
		fault("certificates", "go together with tls.client_ca_file: the authorities to trust, and which of their certificates has which role")
	}
	names := map[string]bool{"admin": c.TokenFile != ""}
	for i, t := range c.Tokens {
		key := fmt.Sprintf("tokens[%d]", i)
		if t.Name == "" || names[t.Name] {
			fault(key+".name", "'%s' is missing or taken; it tells in the log who changed what", t.Name)
		}
		names[t.Name] = true
		if t.File == "" {
			fault(key+".file", "required: the file with the token itself")
		}
		role(fault, key+".role", t.Role)
	}
	for i, cert := range c.Certificates {
		key := fmt.Sprintf("certificates[%d]", i)
		if cert.Name == "" {
			fault(key+".name", "required: the certificate's common name or an alternative name")
		}
		role(fault, key+".role", cert.Role)
	}
}

func role(fault faulter, key, name string) { oneOf(fault, key, name, "read", "operate", "admin") }

type faulter func(key, format string, args ...any)

// oauthBearer is the mechanism whose tokens come from kafka.oauth.
const oauthBearer = "OAUTHBEARER"

func (k Kafka) validate(fault faulter) {
	if len(k.Bootstrap) == 0 {
		fault("kafka.bootstrap", "required; host:port of the local cluster's brokers")
	}
	for _, b := range k.Bootstrap {
		if host, port, err := net.SplitHostPort(strings.TrimSpace(b)); err != nil || host == "" || !isPort(port, 1) {
			fault("kafka.bootstrap", "'%s' is no host:port", b)
		}
	}
	oneOf(fault, "kafka.security_protocol", k.SecurityProtocol, "PLAINTEXT", "SASL_PLAINTEXT", "SSL", "SASL_SSL")
	if strings.HasPrefix(k.SecurityProtocol, "SASL_") {
		oneOf(fault, "kafka.sasl_mechanism", k.SASLMechanism, "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", oauthBearer)
		if k.Username == "" {
			fault("kafka.username", "required with %s", k.SecurityProtocol)
		}
		reference(fault, "kafka.password", k.Password)
	} else if k.Username != "" || k.Password != "" || k.SASLMechanism != "" {
		fault("kafka.username", "%s sends no credentials; set kafka.security_protocol to SASL_SSL or SASL_PLAINTEXT, or take username, password and sasl_mechanism out", k.SecurityProtocol)
	}
	if !strings.HasSuffix(k.SecurityProtocol, "SSL") && k.TLS != (TLS{}) {
		fault("kafka.tls", "%s is not encrypted; set kafka.security_protocol to SSL or SASL_SSL, or take tls out", k.SecurityProtocol)
	}
	if bearer := k.SASLMechanism == oauthBearer; bearer != (k.OAuth.TokenURL != "") {
		fault("kafka.oauth.token_url", "goes together with kafka.sasl_mechanism %s; set both or none", oauthBearer)
	} else if !bearer && k.OAuth != (OAuth{}) {
		fault("kafka.oauth", "is for kafka.sasl_mechanism %s; take it out", oauthBearer)
	} else if bearer {
		if err := link.CheckTokenURL(k.OAuth.TokenURL); err != nil {
			fault("kafka.oauth.token_url", "%v", err)
		}
	}
	principal(fault, "kafka.principal", k.Principal)
	if k.ProduceConnections < 1 || k.ProduceConnections > 64 {
		fault("kafka.produce_connections", "%d is not from 1 to 64; the default is 2", k.ProduceConnections)
	}
	if (k.TLS.CertFile == "") != (k.TLS.KeyFile == "") {
		fault("kafka.tls.cert_file", "goes together with kafka.tls.key_file; set both or none")
	}
}

func (c Canary) validate(fault faulter, k Kafka) {
	if c == (Canary{}) {
		return
	}
	if !strings.HasPrefix(k.SecurityProtocol, "SASL_") {
		fault("canary.username", "kafka.security_protocol %s has no principals; take canary out", k.SecurityProtocol)
		return
	}
	if c.Username == "" {
		fault("canary.username", "required when canary.password is set")
	}
	principal(fault, "canary.principal", c.Principal)
	if c.Username != "" && (c.Username == k.Username || c.principal() == k.principal()) {
		fault("canary.username", "is the engine's own principal (kafka.username), which must be able to write; make another one without rights beyond WRITE")
	}
	reference(fault, "canary.password", c.Password)
}

// principal wants none, or one as ACLs have it.
func principal(fault faulter, key, value string) {
	if kind, name, _ := strings.Cut(value, ":"); value != "" && (kind == "" || name == "") {
		fault(key, "'%s' is no principal; write it as ACLs have it, User:drawbridge", value)
	}
}

// reference wants a secret by reference; it does not quote what it got.
func reference(fault faulter, key, value string) {
	if !secret.Referenced(value) {
		fault(key, "wants a reference, not the secret itself: ${file:/path}, ${file:/path:key}, ${env:NAME} or ${vault:mount/path#key}")
	} else if err := secret.Check(value); err != nil {
		fault(key, "%w", err)
	}
}

func oneOf(fault faulter, key, value string, values ...string) {
	if !slices.Contains(values, value) {
		fault(key, "'%s' is none of %s", value, strings.Join(values, ", "))
	}
}

// reachable is an address that others can be told.
func reachable(address string) bool {
	scheme, rest, found := strings.Cut(address, "://")
	if !found {
		scheme, rest = "http", address
	}
	host, port, err := net.SplitHostPort(rest)
	ip := net.ParseIP(host)
	return (scheme == "http" || scheme == "https") && err == nil && host != "" && isPort(port, 1) && (ip == nil || !ip.IsUnspecified())
}

func isPort(s string, lowest uint64) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n >= lowest
}

// loopback is a first look at the configured host; rest.Listen looks at the
// address that was bound.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
