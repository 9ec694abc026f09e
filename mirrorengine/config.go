package mirrorengine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
)

// Config is the configuration of one engine. Values come from defaults, then
// the file, then the environment; the environment variable of a.b is
// DRAWBRIDGE_A_B.
type Config struct {
	// Name is the site that the engine stands at, as in "east". It is part of
	// client ids, by which a broker's owner knows the engine. Required.
	Name string `yaml:"name"`
	// Listen is the API's host:port. Default 127.0.0.1:8090. Everything but
	// loopback wants TLS, and at least one of TokenFile, Tokens and Certificates.
	Listen string `yaml:"listen"`
	// TokenFile holds a token of the role admin; short for an entry of Tokens named
	// admin. Tokens are read at start, and have at least 16 bytes. Without any token
	// and certificate nobody is asked, and everybody is an admin.
	TokenFile string `yaml:"token_file"`
	// Tokens give roles to callers that show them.
	Tokens []Token `yaml:"tokens"`
	// TLS is the API's own. Default none: plain HTTP, on loopback only.
	TLS Serving `yaml:"tls"`
	// Certificates give roles to client certificates of tls.client_ca_file.
	Certificates []Certificate `yaml:"certificates"`
	// Kafka is the local cluster: the destination of every link.
	Kafka Kafka `yaml:"kafka"`
	// Canary is the principal that proves that mirrors are read-only. Default
	// none: guards are set, but never reported as proven.
	Canary Canary `yaml:"canary"`
	// Replicas is how the processes of one engine share its work.
	Replicas Replicas `yaml:"replicas"`
	// State is where the engine keeps what must not be forgotten.
	State State `yaml:"state"`
	// EncryptionKeyFile holds the key that seals inline secrets of links: 32
	// bytes in base64. Default none: links must give references instead.
	EncryptionKeyFile string `yaml:"encryption_key_file"`
	// Vault is where ${vault:mount/path#key} leads. Default none.
	Vault secret.VaultConfig `yaml:"vault"`
	// Secrets is where the references of links may lead.
	Secrets Secrets `yaml:"secrets"`
	// Log is what the engine writes to standard error.
	Log Log `yaml:"log"`
}

// Token is a secret that gives a role: read looks, operate changes mirrors, admin
// makes and alters links too and sees /debug. Name stands in the log of changes.
type Token struct {
	Name string `yaml:"name"`
	Role string `yaml:"role"`
	File string `yaml:"file"`
}

// Serving is what the API shows and trusts, by PEM files; they are read again when
// they change.
type Serving struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// ClientCAFile has the authorities of client certificates. Default none: no
	// certificate is asked for.
	ClientCAFile string `yaml:"client_ca_file"`
}

// Certificate gives a role to certificates with that common name, or alternative
// name (DNS, URI, e-mail).
type Certificate struct {
	Name string `yaml:"name"`
	Role string `yaml:"role"`
}

// Kafka is how to reach the local cluster.
type Kafka struct {
	// Bootstrap are host:port; in the environment separated by commas. Required.
	Bootstrap []string `yaml:"bootstrap"`
	// SecurityProtocol is PLAINTEXT (default), SASL_PLAINTEXT, SSL or SASL_SSL.
	SecurityProtocol string `yaml:"security_protocol"`
	// SASLMechanism is PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER; required
	// by SASL_*.
	SASLMechanism string `yaml:"sasl_mechanism"`
	// OAuth is where OAUTHBEARER gets its tokens; Username and Password are then
	// the client's id and secret there.
	OAuth OAuth `yaml:"oauth"`
	// Username is the engine's principal; required by SASL_*. Its rights are in
	// ARCHITECTURE.md.
	Username string `yaml:"username"`
	// Password is a reference: ${file:/path}, ${file:/path:key} or ${env:NAME}.
	Password string `yaml:"password"`
	// Principal is the engine's own, as ACLs name it: guards and fences must not
	// shut the engine out. Default User:<username>; needed where the brokers map
	// names (sasl.kerberos or ssl.principal.mapping.rules), know the engine by
	// its certificate, or by another claim of a token than its client's id.
	Principal string `yaml:"principal"`
	// TLS is for SSL and SASL_SSL.
	TLS TLS `yaml:"tls"`
	// ProduceConnections is the number of connections to each broker that record
	// batches are sent over; a partition keeps to one. Default 2; more help where
	// followers are slow, since a broker does not look at a connection while a
	// produce of it waits for them.
	ProduceConnections int `yaml:"produce_connections"`
}

// OAuth is the client credentials flow (RFC 6749, 4.4) of SASL OAUTHBEARER.
type OAuth struct {
	// TokenURL is the token endpoint, https unless on loopback. Required by
	// OAUTHBEARER.
	TokenURL string `yaml:"token_url"`
	// Scope is asked for, separated by blanks. Default none.
	Scope string `yaml:"scope"`
}

// principal is the engine's own, empty if it logs in as nobody.
func (k Kafka) principal() string {
	if k.Principal == "" && k.Username != "" {
		return "User:" + k.Username
	}
	return k.Principal
}

// TLS is what connections to the local cluster trust and show, by PEM files.
type TLS struct {
	// CAFile has the authorities. Default the system's.
	CAFile string `yaml:"ca_file"`
	// CertFile and KeyFile are the engine's own certificate. Default none.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// Secrets bounds the references in links' configs, which come over the API. The
// engine's own configuration may refer to anything.
type Secrets struct {
	// Dirs are folders whose files links may refer to by ${file:…}. Default none.
	Dirs []string `yaml:"dirs"`
	// Env are the environment variables that links may refer to by ${env:…}.
	// Default none.
	Env []string `yaml:"env"`
	// Vault are the paths in Vault, mount first as in kv/kafka, below which links may
	// refer to secrets by ${vault:…}. Default none.
	Vault []string `yaml:"vault"`
}

// Canary is a principal with ALLOW WRITE on the mirrored topics that is no super
// user; it uses the security protocol and mechanism of Kafka.
type Canary struct {
	Username string `yaml:"username"`
	Password string `yaml:"password"` // a reference
	// Principal as ACLs name it. Default User:<username>.
	Principal string `yaml:"principal"`
}

// principal is the canary's, empty if there is none.
func (c Canary) principal() string {
	if c.Principal == "" && c.Username != "" {
		return "User:" + c.Username
	}
	return c.Principal
}

// Replicas are the processes with the same state topic on the same cluster: they
// are one engine, share its shards, and one of them leads.
type Replicas struct {
	// Advertise is where the other replicas reach this one's API: host:port, with
	// https:// before it where TLS is in front (the default with tls.cert_file). They
	// pass calls on to the replica that leads, with the caller's token, and ask one
	// another with TokenFile's, which must be the same for all; with it they also
	// vouch for callers known by a certificate. It is also this replica's name in
	// the group that shares the shards, so it must differ between replicas; one that
	// comes back under it gets its shards back at once. Default the address of
	// Listen, with the host's name where that is a wildcard.
	Advertise string `yaml:"advertise"`
	// SessionTimeout is after what silence a replica counts as dead and its shards go
	// to the others: until then the partitions there stand still. Too short a one
	// takes a slow replica for a dead one. The brokers bound it
	// (group.min.session.timeout.ms, 6s by default). Default 10s.
	SessionTimeout time.Duration `yaml:"session_timeout"`
	// CAFile has the authorities of the replicas' certificates. Default the system's.
	CAFile string `yaml:"ca_file"`
}

// advertised is where the other replicas reach this one, which listens at bound.
func (c Config) advertised(bound net.Addr) (string, error) {
	if c.Replicas.Advertise != "" {
		return c.Replicas.Advertise, nil
	}
	scheme := ""
	if c.TLS.CertFile != "" {
		scheme = "https://"
	}
	tcp, ok := bound.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return scheme + bound.String(), nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("replicas.advertise: this host does not know its name; set it to where other replicas reach this one: %w", err)
	}
	return scheme + net.JoinHostPort(host, strconv.Itoa(tcp.Port)), nil
}

// State is the compacted state topic on the local cluster.
type State struct {
	// Topic is its name, and that of the group by which replicas share its shards.
	// Default _drawbridge_state. Engines with the same topic on the same cluster are
	// replicas of one engine.
	Topic string `yaml:"topic"`
	// Shards is its number of partitions, fixed when the topic is made, and the most
	// replicas that have work. Default 16.
	Shards int32 `yaml:"shards"`
	// ReplicationFactor of the topic when the engine makes it. Default -1, the
	// cluster's own default.
	ReplicationFactor int16 `yaml:"replication_factor"`
}

// Log is the engine's own log.
type Log struct {
	// Level is debug, info (default), warn or error.
	Level string `yaml:"level"`
	// Format is text (default) or json.
	Format string `yaml:"format"`
}

// Default is the configuration that a file begins with.
func Default() Config {
	return Config{
		Listen: "127.0.0.1:8090",
		Kafka:  Kafka{SecurityProtocol: "PLAINTEXT", ProduceConnections: 2},
		State:  State{Topic: "_drawbridge_state", Shards: 16, ReplicationFactor: -1},
		Log:    Log{Level: "info", Format: "text"},

		Replicas: Replicas{SessionTimeout: 10 * time.Second},
	}
}

// Load reads path (empty: no file) over the defaults, and the environment over
// both; unknown keys are errors. It does not Validate: flags may come on top.
func Load(path string, getenv func(string) string) (Config, error) {
	c := Default()
	if path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return c, fmt.Errorf("config: %w", err)
		}
		dec := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict())
		if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
			// Without the lines around the fault: they may hold a secret.
			return c, fmt.Errorf("config %s: %s", path, yaml.FormatError(err, false, false))
		}
		var more any
		if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
			return c, fmt.Errorf("config %s: has more than one document; keep one", path)
		}
	}
	return c, c.fromEnvironment(getenv)
}

// fromEnvironment puts set variables in the place of values.
func (c *Config) fromEnvironment(getenv func(string) string) error {
	for name, field := range map[string]*string{
		"NAME": &c.Name, "LISTEN": &c.Listen, "TOKEN_FILE": &c.TokenFile,
		"TLS_CERT_FILE": &c.TLS.CertFile, "TLS_KEY_FILE": &c.TLS.KeyFile, "TLS_CLIENT_CA_FILE": &c.TLS.ClientCAFile,
		"KAFKA_SECURITY_PROTOCOL": &c.Kafka.SecurityProtocol, "KAFKA_SASL_MECHANISM": &c.Kafka.SASLMechanism,
		"KAFKA_OAUTH_TOKEN_URL": &c.Kafka.OAuth.TokenURL, "KAFKA_OAUTH_SCOPE": &c.Kafka.OAuth.Scope,
		"KAFKA_USERNAME": &c.Kafka.Username, "KAFKA_PASSWORD": &c.Kafka.Password, "KAFKA_PRINCIPAL": &c.Kafka.Principal,
		"KAFKA_TLS_CA_FILE": &c.Kafka.TLS.CAFile, "KAFKA_TLS_CERT_FILE": &c.Kafka.TLS.CertFile, "KAFKA_TLS_KEY_FILE": &c.Kafka.TLS.KeyFile,
		"CANARY_USERNAME": &c.Canary.Username, "CANARY_PASSWORD": &c.Canary.Password, "CANARY_PRINCIPAL": &c.Canary.Principal,
		"STATE_TOPIC": &c.State.Topic, "ENCRYPTION_KEY_FILE": &c.EncryptionKeyFile,
		"REPLICAS_ADVERTISE": &c.Replicas.Advertise,
		"LOG_LEVEL":          &c.Log.Level, "LOG_FORMAT": &c.Log.Format,
	} {
		if v := getenv(environment + name); v != "" {
			*field = v
		}
	}
	if v := getenv(environment + "KAFKA_BOOTSTRAP"); v != "" {
		c.Kafka.Bootstrap = strings.Split(v, ",")
	}
	var err3 error
	if v := getenv(environment + "REPLICAS_SESSION_TIMEOUT"); v != "" {
		if c.Replicas.SessionTimeout, err3 = time.ParseDuration(v); err3 != nil {
			err3 = fmt.Errorf("environment variable %sREPLICAS_SESSION_TIMEOUT: '%s' is no duration as 10s", environment, v)
		}
	}
	shards, err := number(getenv, "STATE_SHARDS", int64(c.State.Shards), 32)
	c.State.Shards = int32(shards) //nolint:gosec // parsed with 32 bits
	factor, err2 := number(getenv, "STATE_REPLICATION_FACTOR", int64(c.State.ReplicationFactor), 16)
	c.State.ReplicationFactor = int16(factor) //nolint:gosec // parsed with 16 bits
	conns, err4 := number(getenv, "KAFKA_PRODUCE_CONNECTIONS", int64(c.Kafka.ProduceConnections), 32)
	c.Kafka.ProduceConnections = int(conns)
	return errors.Join(err, err2, err3, err4)
}

const environment = "DRAWBRIDGE_"

func number(getenv func(string) string, name string, byDefault int64, bits int) (int64, error) {
	v := getenv(environment + name)
	if v == "" {
		return byDefault, nil
	}
	n, err := strconv.ParseInt(v, 10, bits)
	if err != nil {
		return byDefault, fmt.Errorf("environment variable %s%s: '%s' is no whole number of %d bits", environment, name, v, bits)
	}
	return n, nil
}
