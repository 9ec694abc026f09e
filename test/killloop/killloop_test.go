package killloop

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// produceKey is Produce's api key.
const produceKey = 0

const (
	link       = "east-west"
	partitions = 3
)

var admin = local.User{Name: "admin", Password: "admin-secret"}

// clusters are shared by the tests: their start is the dear part.
var source, dest *local.Kafka

// secrets is the engines' folder: the link that all of them share refers to a
// password there.
var secrets string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "killloop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	secrets = filepath.Join(dir, "engine")
	defer func() { _ = harness.Clean() }()
	for _, c := range []struct {
		into    **local.Kafka
		name    string
		brokers int
		proxied bool
	}{{&source, "east", 1, false}, {&dest, "west", 3, true}} {
		k, err := local.StartKafka(ctx, local.KafkaConfig{
			Kind: local.Apache, Name: c.name, Dir: filepath.Join(dir, c.name), Brokers: c.brokers, SuperUser: admin, Proxied: c.proxied,
			// A stopped broker counts as in sync for as long as a kill lasts, so
			// that a batch hangs between log end and high watermark.
			Properties: map[string]string{"broker.session.timeout.ms": "180000", "replica.lag.time.max.ms": "180000"},
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = k.Stop() }()
		*c.into = k
	}
	if err := keepOffStoppedBrokers(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// loop is one run: how much is produced, how often the engine dies, which
// engine.
type loop struct {
	topic    string
	records  int
	kills    int
	mutant   string
	patience time.Duration // for the mirror to be complete at the end
}

func TestTheMirrorIsExactAfterTenKills(t *testing.T) {
	if err := (loop{topic: "orders", records: 200_000, kills: 10, patience: 2 * time.Minute}).run(t); err != nil {
		t.Fatal(err)
	}
}

func TestAnEngineThatResumesAtTheHighWatermarkIsCaught(t *testing.T) {
	err := (loop{topic: "hw", records: 10_000, kills: 2, mutant: "resume-at-high-watermark", patience: 20 * time.Second}).run(t)
	if err == nil {
		t.Fatal("the checker found nothing wrong with a wrong engine")
	}
	t.Logf("caught: %v", err)
}

func TestAnEngineThatRestartsItsSequenceIsCaught(t *testing.T) {
	err := (loop{topic: "seq", records: 10_000, kills: 1, mutant: "sequence-from-zero", patience: 20 * time.Second}).run(t)
	if err == nil {
		t.Fatal("the checker found nothing wrong with a wrong engine")
	}
	t.Logf("caught: %v", err)
}

// run plays the loop and answers with what the checker found wrong; what keeps
// it from being played fails the test.
func (l loop) run(t *testing.T) error {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	var tags []string
	if l.mutant != "" {
		tags = []string{"mutant"}
	}
	bin, err := harness.Build(ctx, "mirrorengine", tags...)
	if err != nil {
		t.Fatal(err)
	}
	srcAdm := adm(t, source)
	if _, err := srcAdm.CreateTopic(ctx, partitions, 1, nil, l.topic); err != nil {
		t.Fatal(err)
	}
	dir := secrets
	engine, err := harness.StartEngine(ctx, harness.EngineConfig{
		Name: "west", Dir: dir, Kafka: dest, User: admin, Binary: bin, Env: []string{"DRAWBRIDGE_MUTANT=" + l.mutant},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = engine.Stop()
		if t.Failed() {
			t.Log(logTail(filepath.Join(dir, "engine.log")))
		}
	})
	if err := l.createMirror(ctx, engine, dir); err != nil {
		t.Fatal(err)
	}
	w := newWriter(t, l, rand.New(rand.NewPCG(seed, 1)))
	written := make(chan error, 1)
	go func() { written <- w.run(ctx) }()
	for i := range l.kills {
		if err := l.kill(ctx, t, i, engine, w, srcAdm); err != nil {
			cancel()
			if ended := <-written; ended != nil {
				t.Logf("the writer ended: %v", ended)
			}
			if failed := l.mirrorFailed(t, engine); failed != nil {
				return failed
			}
			t.Fatalf("kill %d: %v", i+1, err)
		}
		w.allow()
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if err := l.awaitComplete(ctx, engine, srcAdm); err != nil {
		return err
	}
	return l.check(ctx, t, w)
}

func (l loop) createMirror(ctx context.Context, e *harness.Engine, dir string) error {
	configs, err := harness.SourceConfigs(source, admin, dir)
	if err != nil {
		return err
	}
	err = e.Client().CreateLink(ctx, link, api.CreateLink{SourceClusterID: source.ClusterID(), Configs: configs}, false, true)
	if err != nil && !errors.Is(err, api.LinkExists()) {
		return err
	}
	return e.Client().CreateMirror(ctx, link, api.CreateMirror{SourceTopicName: l.topic, ReplicationFactor: 3})
}

// kill ends the engine while a produce of it has no answer and records wait at
// the source, then starts it again. Two kills of three lose an acknowledgement: the
// batch landed, the engine never heard of it. The third stops a broker, so that
// the batch lies beyond the high watermark when the next engine comes.
func (l loop) kill(ctx context.Context, t *testing.T, i int, e *harness.Engine, w *writer, src *kadm.Client) error {
	t.Helper()
	at, err := e.Client().Mirror(ctx, link, l.topic, false)
	if err != nil {
		return err
	}
	stopped := -1
	if i%3 != 1 {
		// The proxies forward one produce of the engine and cut the connection
		// in place of its answer.
		dropped := make(chan struct{}, len(dest.Proxies()))
		for _, p := range dest.Proxies() {
			one := p.DropResponse(produceKey, "drawbridge-engine-", 1)
			go func() {
				select {
				case <-one:
					dropped <- struct{}{}
				case <-ctx.Done():
				}
			}()
		}
		select {
		case <-dropped:
		case <-time.After(30 * time.Second):
			return errors.New("no produce within 30 s")
		}
	} else {
		if err := l.awaitProgress(ctx, e); err != nil {
			return err
		}
		watch, err := newWatcher(ctx, l.topic)
		if err != nil {
			return err
		}
		defer watch.client.Close()
		if stopped, err = watch.follower(); err != nil {
			return err
		}
		if err := dest.PauseBroker(stopped); err != nil {
			return err
		}
		err = local.WaitFor(within(ctx, 20*time.Second), "a batch beyond the high watermark", func(ctx context.Context) error {
			for p, e := range watch.ends(ctx, int32(stopped+1)) {
				if e.end > e.hw {
					t.Logf("kill %d: broker %d stopped; partition %d log end %d, high watermark %d", i+1, stopped, p, e.end, e.hw)
					return nil
				}
			}
			return errors.New("none yet")
		})
		if err != nil {
			return errors.Join(err, dest.ResumeBroker(stopped))
		}
	}
	if err := e.Kill(); err != nil {
		return errors.Join(err, resume(stopped))
	}
	lag := int64(0)
	ends, err := src.ListEndOffsets(ctx, l.topic)
	if err != nil {
		return errors.Join(err, resume(stopped))
	}
	for _, p := range at.MirrorLags {
		end, _ := ends.Lookup(l.topic, p.Partition)
		lag += end.Offset - max(p.LastSourceFetchOffset, 0)
		t.Logf("kill %d: partition %d: source ends at %d, shortly before the engine stood at source offset %d", i+1, p.Partition, end.Offset, p.LastSourceFetchOffset)
	}
	t.Logf("kill %d: lag %d, a produce without answer, %d records written", i+1, lag, w.count())
	if lag <= 0 {
		return errors.Join(errors.New("no lag at the kill"), resume(stopped))
	}
	if err := e.Restart(within(ctx, 2*time.Minute)); err != nil {
		return errors.Join(err, resume(stopped))
	}
	if stopped < 0 {
		return nil
	}
	// The next engine must meet the unreplicated batch before it is replicated.
	err = l.awaitMeeting(ctx, e)
	return errors.Join(err, resume(stopped))
}

// awaitMeeting waits until the engine says that it waits for the replicas. A
// mutant does not know that it should; it is given the same time.
func (l loop) awaitMeeting(ctx context.Context, e *harness.Engine) error {
	patience := time.Minute
	if l.mutant != "" {
		patience = 25 * time.Second
	}
	met := errors.New("no partition waits for the destination's replicas")
	err := local.WaitFor(within(ctx, patience), "the engine waits for the replicas", func(ctx context.Context) error {
		p, err := e.Client().Progress(ctx, link)
		if err != nil {
			return err
		}
		for _, m := range p.Mirrors {
			for _, part := range m.Partitions {
				if m.Topic == l.topic && strings.Contains(part.Stalled, "replicas") {
					return nil
				}
			}
		}
		return met
	})
	if l.mutant != "" {
		return nil
	}
	return err
}

// mirrorFailed is why the engine gave the mirror up, nil if it did not.
func (l loop) mirrorFailed(t *testing.T, e *harness.Engine) error {
	t.Helper()
	m, err := e.Client().Mirror(t.Context(), link, l.topic, true)
	if err != nil || m.MirrorStatus != "FAILED" {
		return nil
	}
	return fmt.Errorf("mirror FAILED: %v", m.StateTransitionErrors)
}

// awaitProgress waits until the engine acknowledges records that it did not
// before the call.
func (l loop) awaitProgress(ctx context.Context, e *harness.Engine) error {
	first := int64(-1)
	return local.WaitFor(within(ctx, 60*time.Second), "the engine mirrors", func(ctx context.Context) error {
		m, err := e.Client().Mirror(ctx, link, l.topic, true)
		if err != nil {
			return err
		}
		at := int64(0)
		for _, p := range m.MirrorLags {
			at += max(p.LastSourceFetchOffset, 0)
		}
		if first < 0 {
			first = at
		}
		if at <= first {
			return fmt.Errorf("it stands at %d, status %s %v", at, m.MirrorStatus, m.StateTransitionErrors)
		}
		return nil
	})
}

func resume(broker int) error {
	if broker < 0 {
		return nil
	}
	return dest.ResumeBroker(broker)
}

func within(ctx context.Context, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(ctx, d)
	context.AfterFunc(ctx, cancel)
	return ctx
}

func adm(t *testing.T, k *local.Kafka) *kadm.Client {
	t.Helper()
	cl, err := kgo.NewClient(k.DirectOptions(admin)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

func logTail(file string) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(raw[max(0, len(raw)-6000):])
}
