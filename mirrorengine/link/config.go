package link

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
)

// Config is the configuration of one link, read from the contract's keys.
// Parse makes it; the zero value is of no use.
type Config struct {
	// Bootstrap are the source's host:port (bootstrap.servers).
	Bootstrap []string
	// Protocol is one of PLAINTEXT, SASL_PLAINTEXT, SSL, SASL_SSL.
	Protocol string
	// Mechanism is PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER; empty
	// without SASL.
	Mechanism string
	// TokenEndpoint gives OAUTHBEARER's tokens (sasl.oauthbearer.token.endpoint.url).
	TokenEndpoint string
	// JAAS is the login line, as given: with references in it, or one itself.
	JAAS secret.Redacted
	TLS  TLS

	// OffsetSync copies the offsets of the groups that Groups matches, every
	// OffsetSyncEvery.
	OffsetSync      bool
	OffsetSyncEvery time.Duration
	Groups          Filters

	// AutoCreate makes a mirror of each topic of the source that Topics chooses,
	// looking every Client.MetadataMaxAge.
	AutoCreate bool
	Topics     Filters
	// ACLSync copies the ACL entries that ACLs chooses, every ACLSyncEvery.
	ACLSync      bool
	ACLSyncEvery time.Duration
	ACLs         ACLFilters

	// ConfigSyncEvery is the period of topic config sync. ConfigSyncInclude are
	// topic configs in which mirrors have the source's effective value, also where
	// that is only the default of its cluster.
	ConfigSyncEvery   time.Duration
	ConfigSyncInclude []string

	// StartOffset is where new mirrors begin in their source: earliest, latest,
	// or a time by RFC 3339 (the first record of that time or later).
	StartOffset string
	// Paused stops all mirrors of the link (LINK_PAUSED).
	Paused bool
	// RetryTimeout is how long a mirror's fault is retried before it is FAILED.
	RetryTimeout time.Duration
	// AvailabilityCheck, times AvailabilityFailures, is how long a source may be
	// silent until its mirrors are SOURCE_UNAVAILABLE.
	AvailabilityCheck    time.Duration
	AvailabilityFailures int
	// OpenTransaction is how long a transaction may be open at the source until the
	// link's task says so.
	OpenTransaction time.Duration
	// PromoteTimeout is how long a promote may stand still, or have no source,
	// until it is given up.
	PromoteTimeout time.Duration

	Fetch  FetchConfig
	Flow   FlowConfig
	Client ClientConfig
}

// TLS is what the link's connections trust and show. Values may be references.
type TLS struct {
	// TrustCertificates (PEM text) or TrustFile (a path) are the authorities;
	// none: the system's.
	TrustCertificates string
	TrustFile         string
	// ClientCertificates and ClientKey (PEM text), or ClientFile with both, are
	// shown to the source; none: no client certificate.
	ClientCertificates string
	ClientKey          secret.Redacted
	ClientFile         string
	// AnyHost takes a certificate of a trusted authority for any host name
	// (ssl.endpoint.identification.algorithm="").
	AnyHost bool
}

// FetchConfig bounds the record path's reads, in bytes.
type FetchConfig struct {
	PartitionBytes int32 // replica.fetch.max.bytes
	ResponseBytes  int32 // replica.fetch.response.max.bytes
	MinBytes       int32 // replica.fetch.min.bytes
	MaxWait        time.Duration
	Backoff        time.Duration
}

// FlowConfig bounds what the link fetches, all its partitions together.
type FlowConfig struct {
	// InFlightBytes are fetched and not yet acknowledged by the destination
	// (drawbridge.inflight.max.bytes).
	InFlightBytes int64
	// Bandwidth in bytes a second, as they come from the source; 0: no bound
	// (drawbridge.bandwidth.max.bytes.per.second).
	Bandwidth int64
	// CatchUpBandwidth bounds the partitions that lag by more than CatchUpLag
	// records, together, so that the others stay close to their source; 0: no bound
	// (drawbridge.catchup.bandwidth.max.bytes.per.second, drawbridge.catchup.lag.records).
	CatchUpBandwidth int64
	CatchUpLag       int64
}

// ClientConfig are time-outs of the source's client.
type ClientConfig struct {
	MetadataMaxAge time.Duration
	RequestTimeout time.Duration
	RetryBackoff   time.Duration
	MaxIdle        time.Duration
	DialTimeout    time.Duration
}

// Security protocols.
const (
	protocolPlaintext     = "PLAINTEXT"
	protocolSASLPlaintext = "SASL_PLAINTEXT"
	protocolSSL           = "SSL"
	protocolSASLSSL       = "SASL_SSL"
)

// SASL tells whether the link logs in.
func (c Config) SASL() bool {
	return c.Protocol == protocolSASLPlaintext || c.Protocol == protocolSASLSSL
}

// Encrypted tells whether the link's connections are TLS.
func (c Config) Encrypted() bool { return c.Protocol == protocolSSL || c.Protocol == protocolSASLSSL }

// unavailableAfter is how long a source may be silent until its mirrors are
// SOURCE_UNAVAILABLE.
func (c Config) unavailableAfter() time.Duration {
	return c.AvailabilityCheck * time.Duration(c.AvailabilityFailures)
}

// SameConnection tells whether both configurations reach the source in the same
// way: then a change from one to the other needs no new client, and must be
// possible while the source is away.
func (c Config) SameConnection(other Config) bool {
	return slices.Equal(c.Bootstrap, other.Bootstrap) && c.Protocol == other.Protocol &&
		c.Mechanism == other.Mechanism && c.TokenEndpoint == other.TokenEndpoint && c.JAAS == other.JAAS && c.TLS == other.TLS && c.Client == other.Client
}

// ConfigError is everything that is wrong with a link's configuration; as an
// *api.Error it is a 400 with all of it.
type ConfigError struct{ faults []error }

// Error lists the faults.
func (e *ConfigError) Error() string { return errors.Join(e.faults...).Error() }

// Unwrap gives the single faults.
func (e *ConfigError) Unwrap() []error { return e.faults }

// As makes the error an *api.Error for those who answer a caller.
func (e *ConfigError) As(target any) bool {
	t, ok := target.(**api.Error)
	if ok {
		*t = api.BadRequest("%s", strings.ReplaceAll(e.Error(), "\n", "; "))
	}
	return ok
}

func configError(faults []error) error {
	faults = slices.DeleteFunc(faults, func(err error) bool { return err == nil })
	if len(faults) == 0 {
		return nil
	}
	return &ConfigError{faults: faults}
}

// Parse reads a link's configs, secrets as given: references are checked for
// their form and resolved when used. It reports all mistakes at once, as a
// *ConfigError, and quotes no sensitive value.
func Parse(values map[string]string) (Config, error) {
	var faults []error
	for _, name := range sorted(values) {
		if k, ok := findKey(name); ok {
			faults = append(faults, k.verify(values[name]))
		} else {
			faults = append(faults, fmt.Errorf("%s: unknown link config; take it out, or look for a typing error", name))
		}
	}
	r := configReader{values: values}
	c := r.read()
	faults = append(faults, together(c, values)...)
	return c, configError(faults)
}

// together finds what is wrong between keys.
func together(c Config, values map[string]string) []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(c.Bootstrap) == 0 {
		fault("%s: required; the source's host:port, comma separated", keyBootstrap)
	}
	if c.SASL() {
		if values[keyMechanism] == "" || values[keyMechanism] == defaultSASL {
			fault("%s: %s wants PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER (the default, GSSAPI, %s)", keyMechanism, c.Protocol, notYet)
		}
		if c.JAAS == "" {
			fault(`%s: required with %s; as org.apache.kafka.common.security.plain.PlainLoginModule required username="…" password="${file:/path:key}";`, keyJAAS, c.Protocol)
		} else if err := matchMechanism(c); err != nil {
			fault("%s: %w", keyJAAS, err)
		}
	} else if c.JAAS != "" {
		fault("%s: %s sends no credentials; set security.protocol to SASL_SSL or SASL_PLAINTEXT, or take the login line out", keyJAAS, c.Protocol)
	}
	if (c.Mechanism == mechanismOAuth) != (values[keyTokenURL] != "") {
		fault("%s: goes together with %s %s; set both or none", keyTokenURL, keyMechanism, mechanismOAuth)
	}
	t := c.TLS
	if !c.Encrypted() && (t.TrustCertificates+t.TrustFile+t.ClientCertificates+t.ClientKey.Reveal()+t.ClientFile != "" || t.AnyHost) {
		fault("ssl.*: %s is not encrypted; set security.protocol to SSL or SASL_SSL, or take the ssl.* keys out", c.Protocol)
	}
	if t.TrustCertificates != "" && t.TrustFile != "" {
		fault("%s: %s is set too; keep one of them", keyTrustCerts, keyTrustFile)
	}
	if (t.ClientCertificates == "") != (t.ClientKey == "") {
		fault("%s: goes together with %s; set both", keyClientCerts, keyClientKey)
	}
	if t.ClientCertificates != "" && t.ClientFile != "" {
		fault("%s: %s is set too; keep one of them", keyClientCerts, keyClientFile)
	}
	if c.OffsetSync && values[keyGroupFilters] == "" {
		fault(`%s: required while %s is true; all groups are {"groupFilters":[{"name":"*","patternType":"LITERAL","filterType":"INCLUDE"}]}`, keyGroupFilters, keyOffsetSync)
	}
	if c.AutoCreate && values[keyTopicFilters] == "" {
		fault(`%s: required while %s is true; all topics are {"topicFilters":[{"name":"*","patternType":"LITERAL","filterType":"INCLUDE"}]}`, keyTopicFilters, keyAutoCreate)
	}
	// ACL sync without filters is taken, as the contract has it: its task says so.
	return faults
}

// Alter applies changes (SET, DELETE) to a link's values and checks the whole.
// It changes nothing of values and gives the new ones.
func Alter(values map[string]string, changes []api.AlterConfig) (map[string]string, Config, error) {
	next := make(map[string]string, len(values))
	for k, v := range values {
		next[k] = v
	}
	var faults []error
	for _, change := range changes {
		k, known := findKey(change.Name)
		before, was := next[change.Name]
		if change.Operation == "DELETE" || change.Value == nil {
			delete(next, change.Name)
		} else {
			next[change.Name] = *change.Value
		}
		after, is := next[change.Name]
		if !was {
			before = k.def
		}
		if !is {
			after = k.def
		}
		switch {
		case !known && !is:
			faults = append(faults, fmt.Errorf("%s: unknown link config; look for a typing error", change.Name))
		case k.fixed && before != after:
			faults = append(faults, fmt.Errorf("%s: cannot be changed after the link was made; create another link", change.Name))
		}
	}
	clearFilters(next, values, changes)
	c, err := Parse(next)
	var config *ConfigError
	if errors.As(err, &config) {
		faults = append(faults, config.faults...)
	}
	return next, c, configError(faults)
}

// clearFilters: switching a feature off clears its filters, as the contract has
// it, unless the same request sets them.
func clearFilters(next, before map[string]string, changes []api.AlterConfig) {
	for feature, filters := range map[string]string{keyACLSync: keyACLFilters, keyOffsetSync: keyGroupFilters, keyAutoCreate: keyTopicFilters} {
		set := slices.ContainsFunc(changes, func(c api.AlterConfig) bool { return c.Name == filters })
		if before[feature] == "true" && next[feature] != "true" && !set {
			delete(next, filters)
		}
	}
}

// configReader gives typed values. Faults were found by verify; it reads what
// cannot be read as zero.
type configReader struct{ values map[string]string }

func (r configReader) read() Config {
	groups, _ := ParseGroupFilters(r.text(keyGroupFilters))
	topics, _ := ParseTopicFilters(r.text(keyTopicFilters))
	acls, _ := ParseACLFilters(r.text(keyACLFilters))
	c := Config{
		Bootstrap: r.list(keyBootstrap), Protocol: r.text(keyProtocol), JAAS: secret.Redacted(r.text(keyJAAS)),
		TLS: TLS{
			TrustCertificates: r.text(keyTrustCerts), TrustFile: r.text(keyTrustFile),
			ClientCertificates: r.text(keyClientCerts), ClientKey: secret.Redacted(r.text(keyClientKey)), ClientFile: r.text(keyClientFile),
			AnyHost: r.text("ssl.endpoint.identification.algorithm") == "",
		},
		OffsetSync: r.text(keyOffsetSync) == "true", OffsetSyncEvery: r.millis("consumer.offset.sync.ms"), Groups: groups,
		AutoCreate: r.text(keyAutoCreate) == "true", Topics: topics,
		ACLSync: r.text(keyACLSync) == "true", ACLSyncEvery: r.millis("acl.sync.ms"), ACLs: acls,
		ConfigSyncEvery: r.millis("topic.config.sync.ms"), ConfigSyncInclude: r.list("topic.config.sync.include"),
		StartOffset: r.text("mirror.start.offset.spec"), Paused: r.text("cluster.link.paused") == "true",
		RetryTimeout:         r.millis("cluster.link.retry.timeout.ms"),
		AvailabilityCheck:    r.millis("availability.check.ms"),
		AvailabilityFailures: int(r.number("availability.check.consecutive.failure.threshold")),
		OpenTransaction:      r.millis(keyOpenTransaction),
		PromoteTimeout:       r.millis("drawbridge.promote.timeout.ms"),
		Fetch: FetchConfig{
			PartitionBytes: int32(r.number("replica.fetch.max.bytes")),          //nolint:gosec // checked against maxFetch
			ResponseBytes:  int32(r.number("replica.fetch.response.max.bytes")), //nolint:gosec // checked against maxFetch
			MinBytes:       int32(r.number("replica.fetch.min.bytes")),          //nolint:gosec // checked against maxFetch
			MaxWait:        r.millis("replica.fetch.wait.max.ms"), Backoff: r.millis("replica.fetch.backoff.ms"),
		},
		Flow: FlowConfig{
			InFlightBytes: r.number("drawbridge.inflight.max.bytes"), Bandwidth: r.number("drawbridge.bandwidth.max.bytes.per.second"),
			CatchUpBandwidth: r.number("drawbridge.catchup.bandwidth.max.bytes.per.second"), CatchUpLag: r.number("drawbridge.catchup.lag.records"),
		},
		Client: ClientConfig{
			MetadataMaxAge: r.millis("metadata.max.age.ms"), RequestTimeout: r.millis("request.timeout.ms"),
			RetryBackoff: r.millis("retry.backoff.ms"), MaxIdle: r.millis("connections.max.idle.ms"),
			DialTimeout: r.millis("socket.connection.setup.timeout.ms"),
		},
	}
	if c.SASL() {
		c.Mechanism = r.text(keyMechanism)
		c.TokenEndpoint = r.text(keyTokenURL)
	}
	return c
}

func (r configReader) text(name string) string {
	if v, ok := r.values[name]; ok {
		return v
	}
	k, _ := findKey(name)
	return k.def
}

func (r configReader) list(name string) []string {
	var out []string
	for _, v := range strings.Split(r.text(name), ",") {
		if v = strings.TrimSpace(v); v != "" {
			out = append(out, v)
		}
	}
	return out
}

func (r configReader) number(name string) int64 {
	n, err := strconv.ParseInt(r.text(name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (r configReader) millis(name string) time.Duration {
	return time.Duration(r.number(name)) * time.Millisecond
}

func sorted(values map[string]string) []string {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
