package local

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// prepareApache fetches Kafka, and writes and formats each broker's folder. Every broker is its own controller too
// (combined mode), with static voters.
func (k *Kafka) prepareApache(ctx context.Context) error {
	libs, version, err := brokerJars.fetch(ctx)
	if err != nil {
		return err
	}
	k.version = version
	// Two listeners per broker that no client uses, and a proxy's.
	found, err := FreePorts(3 * k.cfg.Brokers)
	if err != nil {
		return err
	}
	found, proxies := found[:2*k.cfg.Brokers], found[2*k.cfg.Brokers:]
	var voters []string
	for i := range k.cfg.Brokers {
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, loopback(found[2*i])))
	}
	format, ctx := errgroup.WithContext(ctx)
	for i, b := range k.brokers {
		dir := filepath.Join(k.cfg.Dir, "broker"+strconv.Itoa(i+1))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		internal := listener{bind: loopback(found[2*i+1]), advertised: loopback(found[2*i+1])}
		if k.cfg.ProxiedReplication {
			internal.advertised = loopback(proxies[i])
			proxy, err := StartProxy(internal.advertised, internal.bind)
			if err != nil {
				return fmt.Errorf("proxy between broker %d and the others: %w", i, err)
			}
			k.between = append(k.between, proxy)
		}
		properties := k.apacheProperties(i+1, dir, b, loopback(found[2*i]), internal, strings.Join(voters, ","))
		file := filepath.Join(dir, "server.properties")
		if err := os.WriteFile(file, properties, 0o600); err != nil { // holds passwords
			return err
		}
		logging := filepath.Join(dir, "log4j2.properties")
		if err := os.WriteFile(logging, []byte(apacheLogging), 0o644); err != nil {
			return err
		}
		java := []string{"-Dlog4j2.configurationFile=" + logging, "-cp", filepath.Join(libs, "*")}
		broker := apacheJVM
		if k.cfg.JVM != nil {
			broker = k.cfg.JVM
		}
		k.nodes = append(k.nodes, &node{spec: Spec{
			Name:    fmt.Sprintf("kafka %s broker %d", k.cfg.Name, i+1),
			Path:    "java",
			Args:    slices.Concat(broker, java, []string{"kafka.Kafka", file}),
			LogFile: filepath.Join(dir, "kafka.log"),
		}})
		format.Go(func() error {
			args := slices.Concat(apacheJVM, java, []string{"kafka.tools.StorageTool", "format", "-t", k.clusterID, "-c", file})
			for _, u := range append([]User{k.cfg.SuperUser}, k.cfg.Users...) {
				args = append(args, "--add-scram", fmt.Sprintf("SCRAM-SHA-256=[name=%s,password=%s]", u.Name, u.Password))
			}
			if out, err := exec.CommandContext(ctx, "java", args...).CombinedOutput(); err != nil {
				return fmt.Errorf("format storage of broker %d: %w\n%s", i+1, err, out)
			}
			return nil
		})
	}
	return format.Wait()
}

// apacheJVM keeps a broker small and quick to start: many run on one laptop, none for long.
var apacheJVM = []string{
	"-Xms256m", "-Xmx384m", "-XX:ActiveProcessorCount=2", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
	"-Xshare:auto", "-Djava.awt.headless=true",
}

const apacheLogging = `status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %p %m (%c{1})%n
rootLogger.level=info
rootLogger.appenderRef.out.ref=out
# Each line of these repeats the configuration or a client's request.
logger.config.name=org.apache.kafka.common.config.AbstractConfig
logger.config.level=warn
logger.authorizer.name=kafka.authorizer.logger
logger.authorizer.level=warn
`

// listener is where a broker listens, and where others are told that it does.
type listener struct{ bind, advertised string }

// apacheProperties writes a broker's server.properties.
func (k *Kafka) apacheProperties(id int, dir string, b broker, controller string, internal listener, voters string) []byte {
	replicas := min(k.cfg.Brokers, 3)
	insync := max(1, replicas-1)
	// How long a killed broker stays leader, and bars its own return (DuplicateBrokerRegistrationException). Alone it has
	// nobody to hand over to; among three a stall of a busy machine must not cost it its partitions.
	session := "6000"
	if k.cfg.Brokers == 1 {
		session = "3000"
	}
	// Brokers' own password: nobody but the cluster's processes reads it, and its folder is theirs alone.
	secret := "internal-" + k.clusterID
	jaas := fmt.Sprintf(`org.apache.kafka.common.security.plain.PlainLoginModule required username="%s" password="%s" user_%s="%s"`,
		internalUser, secret, internalUser, secret)
	clients := `org.apache.kafka.common.security.plain.PlainLoginModule required`
	for _, u := range append([]User{k.cfg.SuperUser}, k.cfg.Users...) {
		clients += fmt.Sprintf(` user_%s="%s"`, u.Name, u.Password)
	}
	p := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        strconv.Itoa(id),
		"controller.quorum.voters":       voters,
		"controller.listener.names":      "CONTROLLER",
		"inter.broker.listener.name":     "INTERNAL",
		"listeners":                      "CLIENT://" + b.direct + ",INTERNAL://" + internal.bind + ",CONTROLLER://" + controller,
		"advertised.listeners":           "CLIENT://" + b.advertised + ",INTERNAL://" + internal.advertised,
		"listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,INTERNAL:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
		"log.dirs":                       filepath.Join(dir, "data"),

		"sasl.enabled.mechanisms":                                     "PLAIN",
		"sasl.mechanism.inter.broker.protocol":                        "PLAIN",
		"sasl.mechanism.controller.protocol":                          "PLAIN",
		"listener.name.client.sasl.enabled.mechanisms":                "PLAIN,SCRAM-SHA-256",
		"listener.name.client.plain.sasl.jaas.config":                 clients + ";",
		"listener.name.client.scram-sha-256.sasl.jaas.config":         "org.apache.kafka.common.security.scram.ScramLoginModule required;",
		"listener.name.internal.plain.sasl.jaas.config":               jaas + ";",
		"listener.name.controller.plain.sasl.jaas.config":             jaas + ";",
		"authorizer.class.name":                                       "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":                                                 "User:" + internalUser + ";User:" + k.cfg.SuperUser.Name,
		"allow.everyone.if.no.acl.found":                              "false",
		"auto.create.topics.enable":                                   "false",
		"default.replication.factor":                                  strconv.Itoa(replicas),
		"min.insync.replicas":                                         strconv.Itoa(insync),
		"offsets.topic.replication.factor":                            strconv.Itoa(replicas),
		"offsets.topic.num.partitions":                                "4",
		"transaction.state.log.replication.factor":                    strconv.Itoa(replicas),
		"transaction.state.log.min.isr":                               strconv.Itoa(insync),
		"transaction.state.log.num.partitions":                        "4",
		"share.coordinator.state.topic.replication.factor":            strconv.Itoa(replicas),
		"share.coordinator.state.topic.min.isr":                       strconv.Itoa(insync),
		"share.coordinator.state.topic.num.partitions":                "4",
		"group.initial.rebalance.delay.ms":                            "0",
		"group.min.session.timeout.ms":                                "1000", // as kfaked: tests should not wait 6 s for a dead member
		"group.consumer.min.session.timeout.ms":                       "1000",
		"group.consumer.min.heartbeat.interval.ms":                    "200",
		"num.network.threads":                                         "2",
		"num.io.threads":                                              "4",
		"background.threads":                                          "2",
		"log.cleaner.dedupe.buffer.size":                              "8388608", // the default of 128 MiB is half our heap
		"log.index.size.max.bytes":                                    "1048576",
		"broker.heartbeat.interval.ms":                                "500",
		"broker.session.timeout.ms":                                   session,
		"controlled.shutdown.enable":                                  "false",
		"controller.quorum.fetch.timeout.ms":                          "2000",
		"controller.quorum.election.timeout.ms":                       "500",
		"replica.lag.time.max.ms":                                     "10000",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
	}
	if b.tls != "" {
		p["listeners"] += ",TLS://" + b.tls
		p["advertised.listeners"] += ",TLS://" + b.tls
		p["listener.security.protocol.map"] += ",TLS:SSL"
		maps.Copy(p, map[string]string{
			"listener.name.tls.ssl.client.auth":         "required",
			"listener.name.tls.ssl.keystore.type":       "PEM",
			"listener.name.tls.ssl.keystore.location":   k.cfg.TLS.KeyStore,
			"listener.name.tls.ssl.truststore.type":     "PEM",
			"listener.name.tls.ssl.truststore.location": k.cfg.TLS.TrustStore,
		})
	}
	maps.Copy(p, k.cfg.Properties)
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&text, "%s=%s\n", key, p[key])
	}
	return []byte(text.String())
}

// javaFound says once why no Apache cluster can be started here.
var javaFound = sync.OnceValue(func() error {
	for _, tool := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("no JDK 17 and Maven on PATH, which Apache Kafka needs: %w", err)
		}
	}
	return nil
})
