package link

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

const plainLogin = `org.apache.kafka.common.security.plain.PlainLoginModule required username="k" password="hunter2";`

func TestEveryDefaultIsAValidValue(t *testing.T) {
	values := map[string]string{}
	for _, k := range configKeys {
		if k.def != "" {
			values[k.name] = k.def
		}
		if k.def != "" && k.check != nil && k.def != defaultSASL {
			if err := k.check(k.def); err != nil {
				t.Errorf("%s: %v", k.name, err)
			}
		}
	}
	values["bootstrap.servers"] = "east:9092"
	spelt, err := Parse(values)
	if err != nil {
		t.Fatal(err)
	}
	short, err := Parse(map[string]string{"bootstrap.servers": "east:9092"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(short, spelt, cmp.AllowUnexported(Filters{}, ACLFilters{})); diff != "" {
		t.Errorf("defaults spelt out mean something else (-short +spelt)\n%s", diff)
	}
}

func TestALinkIsReadFromTheContractsKeys(t *testing.T) {
	c, err := Parse(map[string]string{
		"link.mode":                                         "DESTINATION",
		"bootstrap.servers":                                 "e1:9092, e2:9092",
		"security.protocol":                                 "SASL_SSL",
		"sasl.mechanism":                                    "PLAIN",
		"sasl.jaas.config":                                  plainLogin,
		"consumer.offset.sync.enable":                       "true",
		"consumer.offset.sync.ms":                           "1000",
		"consumer.offset.group.filters":                     `{"groupFilters":[{"name":"cli-","patternType":"PREFIXED","filterType":"INCLUDE"}]}`,
		"topic.config.sync.include":                         "retention.ms,cleanup.policy",
		"mirror.start.offset.spec":                          "2026-11-22T03:00:00.5Z",
		"drawbridge.promote.timeout.ms":                     "5000",
		"availability.check.ms":                             "2000",
		"replica.fetch.max.bytes":                           "1048576",
		"drawbridge.inflight.max.bytes":                     "2097152",
		"drawbridge.catchup.bandwidth.max.bytes.per.second": "1000000",
		"drawbridge.catchup.lag.records":                    "500",
		"ssl.endpoint.identification.algorithm":             "",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Bootstrap: []string{"e1:9092", "e2:9092"}, Protocol: "SASL_SSL", Mechanism: "PLAIN", JAAS: plainLogin,
		TLS:        TLS{AnyHost: true},
		OffsetSync: true, OffsetSyncEvery: time.Second,
		Groups:          Filters{rules: []filterRule{{name: "cli-", prefix: true}}},
		ACLSyncEvery:    5 * time.Second,
		ConfigSyncEvery: 5 * time.Second, ConfigSyncInclude: []string{"retention.ms", "cleanup.policy"},
		StartOffset: "2026-11-22T03:00:00.5Z", RetryTimeout: 5 * time.Minute,
		AvailabilityCheck: 2 * time.Second, AvailabilityFailures: 5, OpenTransaction: time.Minute, PromoteTimeout: 5 * time.Second,
		Fetch: FetchConfig{PartitionBytes: 1 << 20, ResponseBytes: 10 << 20, MinBytes: 1, MaxWait: 500 * time.Millisecond, Backoff: time.Second},
		Flow:  FlowConfig{InFlightBytes: 2 << 20, CatchUpBandwidth: 1_000_000, CatchUpLag: 500},
		Client: ClientConfig{
			MetadataMaxAge: 5 * time.Minute, RequestTimeout: 30 * time.Second, RetryBackoff: 100 * time.Millisecond,
			MaxIdle: 10 * time.Minute, DialTimeout: 10 * time.Second,
		},
	}
	if diff := cmp.Diff(want, c, cmp.AllowUnexported(Filters{}, filterRule{}, ACLFilters{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if !c.SASL() || !c.Encrypted() || c.unavailableAfter() != 10*time.Second {
		t.Errorf("got %t %t %s", c.SASL(), c.Encrypted(), c.unavailableAfter())
	}
}

func TestEachMistakeIsNamedWithItsKeyAndCure(t *testing.T) {
	for name, tc := range map[string]struct {
		key, value string
		says       []string
	}{
		"no bootstrap":            {"bootstrap.servers", "", []string{"bootstrap.servers: required"}},
		"bootstrap without port":  {"bootstrap.servers", "east", []string{"bootstrap.servers: 'east' is no host:port"}},
		"one of two":              {"bootstrap.servers", "east:9092,west:", []string{"'west:' is no host:port"}},
		"port out of range":       {"bootstrap.servers", "east:70000", []string{"'east:70000'"}},
		"unknown key":             {"bootstrap.server", "x", []string{"bootstrap.server: unknown link config", "typing error"}},
		"source mode":             {"link.mode", "SOURCE", []string{"link.mode: SOURCE is refused", "create the link at the destination's engine"}},
		"bidirectional":           {"link.mode", "BIDIRECTIONAL", []string{"not supported by this release yet"}},
		"no such mode":            {"link.mode", "DEST", []string{"none of DESTINATION"}},
		"inbound":                 {"connection.mode", "INBOUND", []string{"connection.mode: INBOUND belongs to links that the source initiates"}},
		"local listener":          {"local.security.protocol", "PLAINTEXT", []string{"local.security.protocol: belongs to links that the source initiates"}},
		"protocol":                {"security.protocol", "TLS", []string{"security.protocol: 'TLS' is none of PLAINTEXT, SASL_PLAINTEXT, SSL, SASL_SSL"}},
		"create without filters":  {"auto.create.mirror.topics.enable", "true", []string{"auto.create.mirror.topics.filters: required", `"name":"*"`}},
		"topic filters":           {"auto.create.mirror.topics.filters", `{"groupFilters":[]}`, []string{"auto.create.mirror.topics.filters: not the JSON of filters"}},
		"acl filters":             {"acl.filters", `{"aclFilters":[{"resourceFilter":{"resourceType":"queue","patternType":"any"},"accessFilter":{"operation":"any","permissionType":"any","user":"x"}}]}`, []string{"acl.filters: not the JSON of filters", "user"}},
		"prefix":                  {"cluster.link.prefix", "dr-", []string{"cluster.link.prefix: prefixes: is not supported"}},
		"boolean":                 {"cluster.link.paused", "yes", []string{"cluster.link.paused: 'yes' is none of true, false"}},
		"too fast":                {"consumer.offset.sync.ms", "999", []string{"consumer.offset.sync.ms: '999' is no whole number from 1000"}},
		"no number":               {"drawbridge.promote.timeout.ms", "60s", []string{"'60s' is no whole number"}},
		"too little in flight":    {"drawbridge.inflight.max.bytes", "1000", []string{"'1000' is no whole number from 1048576"}},
		"bandwidth":               {"drawbridge.bandwidth.max.bytes.per.second", "10", []string{"'10' is no whole number from 10000", "0 is no bound"}},
		"catch-up bandwidth":      {"drawbridge.catchup.bandwidth.max.bytes.per.second", "-1", []string{"0 is no bound"}},
		"catch-up lag":            {"drawbridge.catchup.lag.records", "few", []string{"drawbridge.catchup.lag.records: 'few'"}},
		"start":                   {"mirror.start.offset.spec", "yesterday", []string{"neither earliest nor latest nor a time"}},
		"fetchers":                {"num.cluster.link.fetchers", "4", []string{"has no effect in this engine"}},
		"filters":                 {"consumer.offset.group.filters", "{", []string{"consumer.offset.group.filters: not the JSON of filters"}},
		"sync without filters":    {"consumer.offset.sync.enable", "true", []string{"consumer.offset.group.filters: required", `"name":"*"`}},
		"login without SASL":      {"sasl.jaas.config", plainLogin, []string{"PLAINTEXT sends no credentials"}},
		"SASL without login":      {"security.protocol", "SASL_SSL", []string{"sasl.jaas.config: required with SASL_SSL", "sasl.mechanism: SASL_SSL wants PLAIN"}},
		"trust without TLS":       {"ssl.truststore.location", "/etc/ca.pem", []string{"PLAINTEXT is not encrypted"}},
		"key without chain":       {"ssl.keystore.key", "hunter2", []string{"ssl.keystore.certificate.chain: goes together"}},
		"JKS":                     {"ssl.truststore.type", "JKS", []string{"convert them to PEM"}},
		"store password":          {"ssl.truststore.password", "hunter2", []string{"PEM, without a password"}},
		"bad login":               {"sasl.jaas.config", "hunter2", []string{"does not begin with a login module"}},
		"no such mechanism":       {"sasl.mechanism", "KERBEROS", []string{"none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER"}},
		"token url without oauth": {"sasl.oauthbearer.token.endpoint.url", "https://idp.example/token", []string{"sasl.oauthbearer.token.endpoint.url: goes together with sasl.mechanism OAUTHBEARER"}},
		"token url in the clear":  {"sasl.oauthbearer.token.endpoint.url", "http://idp.example/token", []string{"in the clear; use https://"}},
		"java class":              {"sasl.login.callback.handler.class", "com.example.Handler", []string{"names a Java class that this engine cannot load"}},
	} {
		values := map[string]string{"bootstrap.servers": "east:9092", tc.key: tc.value}
		_, err := Parse(values)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		for _, says := range tc.says {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%s: got %v, want …%s…", name, err, says)
			}
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: a secret is in the error: %v", name, err)
		}
	}
}

func TestAllMistakesAreReportedAtOnceAsA400(t *testing.T) {
	_, err := Parse(map[string]string{
		"link.mode": "SOURCE", "auto.create.mirror.topics.enable": "true", "no.such.key": "1",
		"consumer.offset.sync.ms": "0", "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN",
		"sasl.jaas.config": strings.Replace(plainLogin, "Plain", "Scram", 1),
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, key := range []string{"link.mode", "auto.create.mirror.topics.filters", "no.such.key", "consumer.offset.sync.ms", "bootstrap.servers", "sasl.jaas.config"} {
		if !strings.Contains(err.Error(), key+": ") {
			t.Errorf("%s is missing in %v", key, err)
		}
	}
	var e *api.Error
	if !errors.As(err, &e) || e.Status != 400 || e.ErrorCode != 40002 || !strings.Contains(e.Message, "link.mode") || !strings.Contains(e.Message, "bootstrap.servers") {
		t.Errorf("as an API error: %v", e)
	}
}

func TestAlterChecksTheWholeAndKeepsWhatIsFixed(t *testing.T) {
	text := func(s string) *string { return &s }
	values := map[string]string{"bootstrap.servers": "east:9092", "cluster.link.paused": "true"}
	before := maps.Clone(values)
	next, c, err := Alter(values, []api.AlterConfig{
		{Name: "consumer.offset.sync.ms", Value: text("2000"), Operation: "SET"},
		{Name: "cluster.link.paused", Operation: "DELETE"},
		{Name: "link.mode", Value: text("DESTINATION")}, // says what is so
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Paused || c.OffsetSyncEvery != 2*time.Second || !maps.Equal(values, before) {
		t.Errorf("got %v; before %v", c, values)
	}
	if _, set := next["cluster.link.paused"]; set {
		t.Error("DELETE did not reset")
	}
	for name, change := range map[string]api.AlterConfig{
		"link.mode":         {Name: "link.mode", Value: text("SOURCE"), Operation: "SET"},
		"bootstrap.servers": {Name: "bootstrap.servers", Operation: "DELETE"},
		"no.such.key":       {Name: "no.such.key", Operation: "DELETE"},
		"other.key":         {Name: "other.key", Value: text("1"), Operation: "SET"},
	} {
		if _, _, err := Alter(values, []api.AlterConfig{change}); err == nil || !strings.Contains(err.Error(), name+": ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestOnlyWhatConcernsTheConnectionMakesANewOne(t *testing.T) {
	text := func(s string) *string { return &s }
	values := map[string]string{"bootstrap.servers": "east:9092"}
	before, err := Parse(values)
	if err != nil {
		t.Fatal(err)
	}
	for change, same := range map[api.AlterConfig]bool{
		{Name: "cluster.link.paused", Value: text("true")}:     true,
		{Name: "consumer.offset.sync.ms", Value: text("2000")}: true,
		{Name: "bootstrap.servers", Value: text("west:9092")}:  false,
		{Name: "security.protocol", Value: text("SSL")}:        false,
		{Name: "request.timeout.ms", Value: text("1000")}:      false,
	} {
		_, after, err := Alter(values, []api.AlterConfig{change})
		if err != nil {
			t.Fatal(err)
		}
		if before.SameConnection(after) != same {
			t.Errorf("%s: got %t", change.Name, !same)
		}
	}
}

func TestDescriptionsGiveNoSensitiveValue(t *testing.T) {
	values := map[string]string{
		"bootstrap.servers": "east:9092", "sasl.jaas.config": plainLogin, "ssl.keystore.key": "hunter2",
		"ssl.truststore.certificates": "hunter2",
	}
	configs := DescribeConfigs(values)
	if len(configs) != len(configKeys) {
		t.Fatalf("%d of %d keys", len(configs), len(configKeys))
	}
	for _, c := range configs {
		if c.IsSensitive != c.Sensitive || c.IsDefault != c.Default || c.IsReadOnly != c.ReadOnly {
			t.Errorf("%s: the two spellings differ", c.Name)
		}
		if c.Value != nil && strings.Contains(*c.Value, "hunter2") {
			t.Errorf("%s: value %s", c.Name, *c.Value)
		}
		_, set := values[c.Name]
		if c.IsDefault == set || (c.Source == "DYNAMIC_CLUSTER_LINK_CONFIG") != set {
			t.Errorf("%s: default %t, source %s, set %t", c.Name, c.IsDefault, c.Source, set)
		}
		if c.Value == nil != c.IsSensitive {
			t.Errorf("%s: value %v, sensitive %t", c.Name, c.Value, c.IsSensitive)
		}
	}
}

func TestOnlySecretsGivenInlineNeedSealing(t *testing.T) {
	got := InlineSecrets(map[string]string{
		"bootstrap.servers": "east:9092", "sasl.jaas.config": plainLogin,
		"ssl.keystore.key": "-----BEGIN", "ssl.truststore.certificates": "-----BEGIN",
	})
	slices.Sort(got)
	if diff := cmp.Diff([]string{"sasl.jaas.config", "ssl.keystore.key"}, got); diff != "" {
		t.Error(diff)
	}
	for _, jaas := range []string{
		"${file:/etc/secrets:jaas}", "sealed:v1:AAAA",
		strings.Replace(plainLogin, "hunter2", "${env:PASSWORD}", 1),
	} {
		if got := InlineSecrets(map[string]string{"sasl.jaas.config": jaas, "ssl.keystore.key": "${file:/k}"}); got != nil {
			t.Errorf("%s: got %v", jaas, got)
		}
	}
}
