package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

// stage is the two clusters and what all runs share.
type stage struct {
	opts     Options
	dir      string // data, configurations, logs; goes at the end
	inMemory bool
	src, dst *local.Kafka
	srcCl    *kgo.Client
	dstCl    *kgo.Client
	userCl   *kgo.Client // of the source, as mirrors see it
	user     local.User  // as whom mirrors read the source
	mirrors  []mirror    // that run now
	topics   int         // made so far
	out      io.Writer
	began    time.Time
}

// brokerJVM: as performance guides have it for a small broker, with the optimising compiler.
var brokerJVM = []string{"-Xms512m", "-Xmx512m", "-XX:+UseG1GC", "-XX:ActiveProcessorCount=2", "-Djava.awt.headless=true"}

// newStage starts the clusters. Close it in any case.
func newStage(ctx context.Context, opts Options, out io.Writer) (*stage, error) {
	s := &stage{opts: opts, out: out, began: time.Now(), user: local.User{Name: "mirror", Password: password()}}
	// Memory takes the disk's speed out of the comparison.
	shm := "/dev/shm"
	dir, err := os.MkdirTemp(shm, "drawbridge-bench-")
	if s.inMemory = err == nil; err != nil {
		if dir, err = os.MkdirTemp("", "drawbridge-bench-"); err != nil {
			return s, err
		}
	}
	s.dir = dir
	s.say("two Apache Kafka clusters in %s", dir)
	super := local.User{Name: "admin", Password: password()}
	var group errgroup.Group
	for name, k := range map[string]**local.Kafka{"source": &s.src, "destination": &s.dst} {
		group.Go(func() (err error) {
			*k, err = local.StartKafka(ctx, local.KafkaConfig{
				Kind: local.Apache, Name: name, Dir: filepath.Join(dir, name), SuperUser: super, Users: []local.User{s.user}, JVM: brokerJVM,
				Properties: map[string]string{"log.segment.bytes": fmt.Sprint(256 * mib), "log.segment.delete.delay.ms": "100"},
			})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return s, err
	}
	for k, cl := range map[*local.Kafka]**kgo.Client{s.src: &s.srcCl, s.dst: &s.dstCl} {
		if *cl, err = kgo.NewClient(k.Options(super)...); err != nil {
			return s, err
		}
	}
	if s.userCl, err = kgo.NewClient(s.src.Options(s.user)...); err != nil {
		return s, err
	}
	// MirrorMaker keeps its offset syncs at the source, and looks for groups to translate.
	return s, s.allow(ctx, s.principal().Topics("mm2-").Groups("*").Clusters().ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kadm.OpAll))
}

func (s *stage) principal() *kadm.ACLBuilder {
	return kadm.NewACLs().Allow("User:" + s.user.Name).AllowHosts()
}

func (s *stage) allow(ctx context.Context, acl *kadm.ACLBuilder) error {
	results, err := kadm.NewClient(s.srcCl).CreateACLs(ctx, acl)
	for _, r := range results {
		err = errors.Join(err, r.Err)
	}
	if err != nil {
		return fmt.Errorf("rights of the mirrors at the source: %w", err)
	}
	return nil
}

// show lets mirrors see a topic of the source, and waits until they do: a broker answers a new ACL entry a moment before it
// obeys it. Until then the topic does not exist for them, so that it can be loaded while they run.
func (s *stage) show(ctx context.Context, topic string) error {
	err := s.allow(ctx, s.principal().Topics(topic).ResourcePatternType(kadm.ACLPatternLiteral).
		Operations(kadm.OpRead, kadm.OpDescribe, kadm.OpDescribeConfigs))
	if err != nil {
		return err
	}
	return local.WaitFor(ctx, "topic "+topic+" to be seen by the mirrors", func(ctx context.Context) error {
		_, _, err := logEnds(ctx, s.userCl, topic)
		return err
	})
}

// remove deletes a topic on both sides, the source first: what still mirrors it must not bring it back.
func (s *stage) remove(ctx context.Context, topic string) error {
	for _, cl := range []*kgo.Client{s.srcCl, s.dstCl} {
		deleted, err := kadm.NewClient(cl).DeleteTopics(ctx, topic)
		if err == nil {
			err = deleted.Error()
		}
		if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return fmt.Errorf("delete topic %s: %w", topic, err)
		}
	}
	return nil
}

// logEnds asks the only broker of a cluster for the ends of a topic's partitions; a topic that is not there yet is empty.
func logEnds(ctx context.Context, cl *kgo.Client, topic string) (ends [partitions]int64, total int64, err error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	for p := range int32(partitions) {
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.CurrentLeaderEpoch, rp.Timestamp = p, -1, -1 // the end
		t.Partitions = append(t.Partitions, rp)
	}
	req.Topics = append(req.Topics, t)
	res, err := cl.SeedBrokers()[0].Request(ctx, req)
	if err != nil {
		return ends, 0, fmt.Errorf("log ends of topic %s: %w", topic, err)
	}
	for _, t := range res.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range t.Partitions {
			switch err := kerr.ErrorForCode(p.ErrorCode); {
			case err == nil:
				ends[p.Partition] = p.Offset
				total += p.Offset
			case !errors.Is(err, kerr.UnknownTopicOrPartition) && !kerr.IsRetriable(err):
				return ends, 0, fmt.Errorf("log end of topic %s partition %d: %w", topic, p.Partition, err)
			}
		}
	}
	return ends, total, nil
}

// stored is the size of a topic's log in bytes.
func stored(ctx context.Context, cl *kgo.Client, topic string) (int64, error) {
	set := kadm.TopicsSet{}
	for p := range int32(partitions) {
		set.Add(topic, p)
	}
	dirs, err := kadm.NewClient(cl).DescribeAllLogDirs(ctx, set)
	if err != nil {
		return 0, fmt.Errorf("size of topic %s: %w", topic, err)
	}
	var size int64
	dirs.Each(func(d kadm.DescribedLogDir) { size += d.Size() })
	return size, nil
}

// say prints a line of progress, with the time since the start.
func (s *stage) say(format string, args ...any) {
	fmt.Fprintf(s.out, "%5.0fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// close ends all that runs, mirrors first, and removes the data.
func (s *stage) close() error {
	var errs []error
	for len(s.mirrors) > 0 {
		errs = append(errs, s.stop(s.mirrors[len(s.mirrors)-1]))
	}
	for _, cl := range []*kgo.Client{s.srcCl, s.dstCl, s.userCl} {
		if cl != nil {
			cl.Close()
		}
	}
	for _, k := range []*local.Kafka{s.src, s.dst} {
		if k != nil {
			errs = append(errs, k.Stop())
		}
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

func password() string {
	var b [12]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}
