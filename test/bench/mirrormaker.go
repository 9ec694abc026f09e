package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/drawbridge-dr/drawbridge/test/bench/measure"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// mirrorMaker is MirrorMaker 2 in dedicated mode.
type mirrorMaker struct {
	stage *stage
	proc  *local.Process
}

var mirrorMakerJVM = []string{"-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-XX:ActiveProcessorCount=2", "-Djava.awt.headless=true"}

// mirrorMakerBatch is the producer's batch.size of the preset for high volume that Red Hat documents for MirrorMaker 2
// (Streams for Apache Kafka 2.5 to 2.8); so are fetch.max.bytes, max.partition.fetch.bytes and two tasks.
const mirrorMakerBatch = 327680

// mirrorMakerProperties are tuned for volume: the preset, with more records per poll and a shorter linger than it has
// (both help here). What a standby needs is on (offset sync); heartbeats, which would only cost, are off. Topics are found
// in a second instead of ten minutes, since finding them is not measured.
var mirrorMakerProperties = map[string]string{
	"src->dst.enabled":                       "true",
	"src->dst.topics":                        measure.MirrorMaker + `\..*`,
	"dst->src.enabled":                       "false",
	"replication.policy.class":               "org.apache.kafka.connect.mirror.IdentityReplicationPolicy",
	"tasks.max":                              "2",
	"replication.factor":                     "1",
	"checkpoints.topic.replication.factor":   "1",
	"heartbeats.topic.replication.factor":    "1",
	"offset-syncs.topic.replication.factor":  "1",
	"offset.storage.replication.factor":      "1",
	"status.storage.replication.factor":      "1",
	"config.storage.replication.factor":      "1",
	"emit.heartbeats.enabled":                "false",
	"sync.topic.acls.enabled":                "false",
	"sync.group.offsets.enabled":             "true",
	"emit.checkpoints.interval.seconds":      "1",
	"sync.group.offsets.interval.seconds":    "1",
	"refresh.topics.interval.seconds":        "1",
	"refresh.groups.interval.seconds":        "5",
	"src.consumer.auto.offset.reset":         "earliest",
	"src.consumer.fetch.max.bytes":           "52428800",
	"src.consumer.max.partition.fetch.bytes": "1048576",
	"src.consumer.max.poll.records":          "5000",
	"dst.producer.batch.size":                fmt.Sprint(mirrorMakerBatch),
	"dst.producer.linger.ms":                 "5",
	"dst.producer.acks":                      "all",
}

// latencyPreset is what a MirrorMaker that is to be quick has instead: nothing waits for company.
var latencyPreset = map[string]string{"dst.producer.linger.ms": "0"}

const mirrorMakerLogging = `status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %p %m (%c{1})%n
rootLogger.level=info
rootLogger.appenderRef.out.ref=out
`

// startMirrorMaker starts a MirrorMaker that compresses as codec says, with more properties over the common ones. It
// answers at once; when it has begun to mirror is seen by what it mirrors.
func (s *stage) startMirrorMaker(ctx context.Context, codec string, more map[string]string) (*mirrorMaker, error) {
	jars, _, err := local.MirrorMakerJars(ctx)
	if err != nil {
		return nil, err
	}
	p := maps.Clone(mirrorMakerProperties)
	maps.Copy(p, more)
	p["dst.producer.compression.type"] = codec
	p["clusters"] = "src,dst"
	for alias, at := range map[string]struct {
		k *local.Kafka
		u local.User
	}{"src.": {s.src, s.user}, "dst.": {s.dst, s.dst.SuperUser()}} {
		p[alias+"bootstrap.servers"] = strings.Join(at.k.Bootstrap(), ",")
		p[alias+"security.protocol"] = "SASL_PLAINTEXT"
		p[alias+"sasl.mechanism"] = "PLAIN"
		p[alias+"sasl.jaas.config"] = fmt.Sprintf(`org.apache.kafka.common.security.plain.PlainLoginModule required username="%s" password="%s";`, at.u.Name, at.u.Password)
	}
	dir, err := os.MkdirTemp(s.dir, "mirrormaker-")
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&text, "%s=%s\n", key, strings.ReplaceAll(p[key], `\`, `\\`)) // as java.util.Properties reads it
	}
	file, logging := filepath.Join(dir, "mm2.properties"), filepath.Join(dir, "log4j2.properties")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil { // holds passwords
		return nil, err
	}
	if err := os.WriteFile(logging, []byte(mirrorMakerLogging), 0o644); err != nil {
		return nil, err
	}
	proc, err := local.Start(local.Spec{
		Name: "MirrorMaker 2", Path: "java", LogFile: filepath.Join(dir, "mm2.log"),
		Args: slices.Concat(mirrorMakerJVM, []string{
			"-Dlog4j2.configurationFile=" + logging, "-cp", filepath.Join(jars, "*"), "org.apache.kafka.connect.mirror.MirrorMaker", file,
		}),
	})
	if err != nil {
		return nil, err
	}
	m := &mirrorMaker{stage: s, proc: proc}
	s.mirrors = append(s.mirrors, m)
	return m, nil
}

func (m *mirrorMaker) name() string            { return measure.MirrorMaker }
func (m *mirrorMaker) process() *local.Process { return m.proc }

// begin has nothing to say: MirrorMaker mirrors what it can see and what is named as its topics are.
func (m *mirrorMaker) begin(context.Context, string) error { return nil }

// end has nothing to say either: MirrorMaker forgets a topic that is deleted at the source.
func (m *mirrorMaker) end(context.Context, string) error { return nil }
