package link

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
)

// configKey is one link configuration of the contract.
type configKey struct {
	name string
	def  string // default; empty also means "not set"
	// check tells what is wrong with a value; nil takes any.
	check func(value string) error
	// only says why no value but the default is taken; such a key is read-only.
	only string
	// sensitive values are never given out.
	sensitive bool
	// secret values are sealed or references; certificates are sensitive to the
	// contract, yet no secret.
	secret bool
	// fixed values cannot change after the link was made.
	fixed bool
}

// Reasons why a key of the contract takes its default only.
const (
	notYet      = "is not supported by this release of the engine"
	noEffect    = "has no effect in this engine, which fetches in its own way"
	sourceSide  = "belongs to links that the source initiates; this engine stands beside the destination and dials the source"
	pemOnly     = "belongs to JKS and PKCS12 stores; this engine reads PEM, without a password"
	defaultSASL = "GSSAPI" // Kafka's default, which this engine does not speak
)

// configKeys are all keys, in the order of the contract's table (see
// ARCHITECTURE.md, "REST contract"); drawbridge.* are our own.
var configKeys = []configKey{
	{name: "link.mode", def: "DESTINATION", check: checkMode, fixed: true},
	{name: "connection.mode", def: "OUTBOUND", only: "INBOUND " + sourceSide, fixed: true},
	{name: keyBootstrap, check: checkBootstrap},
	{name: "client.dns.lookup", def: "use_all_dns_ips", only: "other lookups are not done; all addresses of a name are tried in turn"},
	{name: keyProtocol, def: protocolPlaintext, check: oneOf(protocolPlaintext, protocolSASLPlaintext, protocolSSL, protocolSASLSSL)},
	{name: keyMechanism, def: defaultSASL, check: checkMechanism},
	{name: keyJAAS, sensitive: true, secret: true, check: checkJAAS},
	{name: "sasl.login.callback.handler.class", check: checkLoginHandler},
	{name: keyTokenURL, check: CheckTokenURL},
	{name: "ssl.endpoint.identification.algorithm", def: "https", check: oneOf("https", "")},
	{name: "ssl.truststore.type", def: "PEM", check: checkStoreType},
	{name: keyTrustCerts, sensitive: true, check: secret.Check},
	{name: keyTrustFile},
	{name: "ssl.truststore.password", sensitive: true, only: pemOnly},
	{name: "ssl.keystore.type", def: "PEM", check: checkStoreType},
	{name: keyClientCerts, sensitive: true, check: secret.Check},
	{name: keyClientKey, sensitive: true, secret: true, check: secret.Check},
	{name: keyClientFile},
	{name: "ssl.keystore.password", sensitive: true, only: pemOnly},
	{name: "ssl.key.password", sensitive: true, only: pemOnly},
	{name: "local.listener.name", only: sourceSide, fixed: true},
	{name: "local.security.protocol", only: sourceSide},
	{name: "local.sasl.mechanism", only: sourceSide},
	{name: "local.sasl.jaas.config", sensitive: true, only: sourceSide},

	{name: keyOffsetSync, def: "false", check: boolean},
	{name: "consumer.offset.sync.ms", def: "30000", check: between(1000, maxMillis)},
	{name: keyGroupFilters, check: func(v string) error { _, err := ParseGroupFilters(v); return err }},
	{name: "consumer.group.prefix.enable", def: "false", only: "prefixes: " + notYet},
	{name: keyACLSync, def: "false", check: boolean},
	{name: "acl.sync.ms", def: "5000", check: between(1000, maxMillis)},
	{name: keyACLFilters, check: func(v string) error { _, err := ParseACLFilters(v); return err }},
	{name: keyAutoCreate, def: "false", check: boolean},
	{name: keyTopicFilters, check: func(v string) error { _, err := ParseTopicFilters(v); return err }},
	{name: "topic.config.sync.ms", def: "5000", check: between(100, maxMillis)},
	{name: "topic.config.sync.include", check: checkInclude},
	{name: "cluster.link.prefix", only: "prefixes: " + notYet, fixed: true},
	{name: "mirror.start.offset.spec", def: "earliest", check: checkStart},
	{name: "cluster.link.paused", def: "false", check: boolean},
	{name: "cluster.link.retry.timeout.ms", def: "300000", check: between(0, maxMillis)},
	{name: "availability.check.ms", def: "60000", check: between(1000, maxMillis)},
	{name: "availability.check.consecutive.failure.threshold", def: "5", check: between(1, 1000)},
	{name: keyOpenTransaction, def: "60000", check: between(1000, maxMillis)},
	{name: "drawbridge.promote.timeout.ms", def: "60000", check: between(1000, maxMillis)},
	{name: "drawbridge.inflight.max.bytes", def: "67108864", check: between(1<<20, 1<<40)},
	{name: "drawbridge.bandwidth.max.bytes.per.second", def: "0", check: rate},
	{name: "drawbridge.catchup.bandwidth.max.bytes.per.second", def: "0", check: rate},
	{name: "drawbridge.catchup.lag.records", def: "10000", check: between(0, 1<<62)},

	{name: "metadata.max.age.ms", def: "300000", check: between(1000, maxMillis)},
	{name: "request.timeout.ms", def: "30000", check: between(1000, maxMillis)},
	{name: "retry.backoff.ms", def: "100", check: between(1, 60_000)},
	{name: "connections.max.idle.ms", def: "600000", check: between(1000, maxMillis)},
	{name: "socket.connection.setup.timeout.ms", def: "10000", check: between(100, maxMillis)},
	{name: "socket.connection.setup.timeout.max.ms", def: "30000", only: noEffect},
	{name: "replica.fetch.max.bytes", def: "5242880", check: between(1024, maxFetch)},
	{name: "replica.fetch.min.bytes", def: "1", check: between(1, maxFetch)},
	{name: "replica.fetch.response.max.bytes", def: "10485760", check: between(1024, maxFetch)},
	{name: "replica.fetch.wait.max.ms", def: "500", check: between(0, 60_000)},
	{name: "replica.fetch.backoff.ms", def: "1000", check: between(1, 60_000)},
	{name: "replica.socket.timeout.ms", def: "30000", only: noEffect},
	{name: "replica.socket.receive.buffer.bytes", def: "-1", only: noEffect},
	{name: "num.cluster.link.fetchers", def: "1", only: noEffect},
}

// Names of keys that the code asks for more than once.
const (
	keyBootstrap    = "bootstrap.servers"
	keyProtocol     = "security.protocol"
	keyMechanism    = "sasl.mechanism"
	keyJAAS         = "sasl.jaas.config"
	keyTokenURL     = "sasl.oauthbearer.token.endpoint.url"
	keyTrustCerts   = "ssl.truststore.certificates"
	keyTrustFile    = "ssl.truststore.location"
	keyClientCerts  = "ssl.keystore.certificate.chain"
	keyClientKey    = "ssl.keystore.key"
	keyClientFile   = "ssl.keystore.location"
	keyOffsetSync   = "consumer.offset.sync.enable"
	keyGroupFilters = "consumer.offset.group.filters"
	keyAutoCreate   = "auto.create.mirror.topics.enable"
	// keyOpenTransaction is a key of our own.
	keyOpenTransaction = "drawbridge.open.transaction.ms"
	keyTopicFilters    = "auto.create.mirror.topics.filters"
	keyACLSync         = "acl.sync.enable"
	keyACLFilters      = "acl.filters"
)

const (
	maxMillis = int64(366 * 24 * time.Hour / time.Millisecond)
	maxFetch  = 1 << 30
)

func findKey(name string) (configKey, bool) {
	i := slices.IndexFunc(configKeys, func(k configKey) bool { return k.name == name })
	if i < 0 {
		return configKey{}, false
	}
	return configKeys[i], true
}

// verify tells what is wrong with the value of a key; it never quotes a
// sensitive one.
func (k configKey) verify(value string) error {
	switch {
	case value == k.def:
		return nil
	case k.only != "":
		return fmt.Errorf("%s: %s; leave it out", k.name, k.only)
	case k.check == nil:
		return nil
	}
	if err := k.check(value); err != nil {
		return fmt.Errorf("%s: %w", k.name, err)
	}
	return nil
}

func checkMode(v string) error {
	switch v {
	case "SOURCE":
		return errors.New("SOURCE is refused: this engine stands beside the destination and dials the source; create the link at the destination's engine with link.mode=DESTINATION")
	case "BIDIRECTIONAL":
		return errors.New("BIDIRECTIONAL is not supported by this release yet; create one DESTINATION link at each side's engine")
	default:
		return oneOf("DESTINATION")(v)
	}
}

func checkMechanism(v string) error {
	return oneOf("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", mechanismOAuth)(v)
}

// checkJAAS looks at the form only: a line that is itself a reference is read
// when it is used.
func checkJAAS(v string) error {
	if secret.Sealed(v) || wholeReference(v) {
		return nil
	}
	_, err := parseJAAS(v)
	return err
}

func checkStart(v string) error {
	if v == "earliest" || v == "latest" {
		return nil
	}
	if _, err := time.Parse(time.RFC3339, v); err != nil {
		return fmt.Errorf("'%s' is neither earliest nor latest nor a time as 2026-11-22T03:00:00Z", v)
	}
	return nil
}

func checkStoreType(v string) error {
	if v != "PEM" {
		return fmt.Errorf("'%s' stores are not read; convert them to PEM and set PEM", v)
	}
	return nil
}

func checkBootstrap(v string) error {
	var errs []error
	for _, server := range strings.Split(v, ",") {
		host, port, err := net.SplitHostPort(strings.TrimSpace(server))
		n, portErr := strconv.ParseUint(port, 10, 16)
		if err != nil || host == "" || portErr != nil || n == 0 {
			errs = append(errs, fmt.Errorf("'%s' is no host:port; write host1:9092,host2:9092", strings.TrimSpace(server)))
		}
	}
	return errors.Join(errs...)
}

// rate is in bytes a second; 0 is no bound.
func rate(v string) error {
	if v == "0" {
		return nil
	}
	if err := between(10_000, 1<<40)(v); err != nil {
		return fmt.Errorf("%w; 0 is no bound", err)
	}
	return nil
}

func boolean(v string) error { return oneOf("true", "false")(v) }

func oneOf(values ...string) func(string) error {
	return func(v string) error {
		if slices.Contains(values, v) {
			return nil
		}
		return fmt.Errorf("'%s' is none of %s", v, strings.Join(values, ", "))
	}
}

func between(low, high int64) func(string) error {
	return func(v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < low || n > high {
			return fmt.Errorf("'%s' is no whole number from %d to %d", v, low, high)
		}
		return nil
	}
}

// Sources of a config, as the contract spells them.
const (
	sourceSet     = "DYNAMIC_CLUSTER_LINK_CONFIG"
	sourceDefault = "DEFAULT_CONFIG"
)

// DescribeConfigs lists every key with its value, for a link on which values
// were set. Sensitive ones have no value.
func DescribeConfigs(values map[string]string) []api.LinkConfig {
	out := make([]api.LinkConfig, 0, len(configKeys))
	for _, k := range configKeys {
		value, set := values[k.name]
		c := api.LinkConfig{
			Name: k.name, Source: sourceSet, Synonyms: []string{k.name},
			IsSensitive: k.sensitive, Sensitive: k.sensitive,
			IsReadOnly: k.fixed || k.only != "", ReadOnly: k.fixed || k.only != "",
		}
		if !set {
			value, c.Source, c.IsDefault, c.Default = k.def, sourceDefault, true, true
		}
		if !k.sensitive {
			c.Value = &value
		}
		out = append(out, c)
	}
	return out
}

// InlineSecrets are the keys of values that hold a secret itself, neither a
// reference nor sealed: they must be sealed before they are stored.
func InlineSecrets(values map[string]string) []string {
	var keys []string
	for _, k := range configKeys {
		v := values[k.name]
		if !k.secret || v == "" || secret.Sealed(v) || wholeReference(v) {
			continue
		}
		if k.name == keyJAAS {
			if j, err := parseJAAS(v); err == nil && !j.inline() {
				continue
			}
		}
		keys = append(keys, k.name)
	}
	return keys
}

// wholeReference: the value is one reference and nothing else.
func wholeReference(v string) bool {
	v = strings.TrimSpace(v)
	return strings.HasPrefix(v, "${") && strings.IndexByte(v, '}') == len(v)-1
}
