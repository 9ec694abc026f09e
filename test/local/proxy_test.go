package local

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func proxied(t *testing.T) *Kafka {
	t.Helper()
	k := KafkaForTest(t, KafkaConfig{Kind: KFake, Name: "east", SuperUser: admin, Proxied: true})
	createTopic(t, connect(t, k.DirectOptions(admin)), "orders", 1)
	return k
}

// as connects with a client id; the last one given counts.
func as(t *testing.T, k *Kafka, clientID string, more ...kgo.Opt) *kgo.Client {
	t.Helper()
	return connect(t, k.Options(admin), append(more, kgo.ClientID(clientID))...)
}

func TestHoldStopsOnlyClientsOfThePrefixUntilRelease(t *testing.T) {
	k := proxied(t)
	engine, other := as(t, k, "engine-1"), as(t, k, "app")
	ctx := within(t, 2*time.Minute)
	// Twice: the first opens a connection to the seed, the second the one to the broker that the metadata name. While
	// franz-go opens a connection it heeds no context.
	for _, cl := range []*kgo.Client{engine, engine, other, other} {
		if err := cl.Ping(ctx); err != nil {
			t.Fatal(err)
		}
	}
	k.Proxies().Hold("engine")
	if err := engine.Ping(within(t, 300*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("held connection: %v, want to hang", err)
	}
	fresh := as(t, k, "engine-2")
	answered := make(chan error, 1)
	go func() { answered <- fresh.Ping(ctx) }()
	err := WaitFor(ctx, "the engine's new connection", func(context.Context) error {
		if k.Proxies().Connections("engine-2") == 0 || k.Proxies().Held(kmsg.ApiVersions.Int16(), "engine-2") == 0 {
			return errors.New("not there yet")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := k.Proxies().Held(kmsg.Produce.Int16(), "engine-2") + k.Proxies().Held(kmsg.ApiVersions.Int16(), "app"); n > 0 {
		t.Errorf("%d requests are held that nobody has sent", n)
	}
	if err := produce(ctx, other, "orders", "lag-1"); err != nil {
		t.Fatalf("a client that is not held: %v", err)
	}
	select {
	case err := <-answered:
		t.Errorf("the new connection of a held client was answered: %v", err)
	default:
	}
	k.Proxies().Release("engine")
	if err := engine.Ping(ctx); err != nil {
		t.Errorf("after Release: %v", err)
	}
	if err := <-answered; err != nil {
		t.Errorf("new connection after Release: %v", err)
	}
}

func TestHoldKeepsBackTheAnswerOfALongFetch(t *testing.T) {
	k := proxied(t)
	reader := as(t, k, "engine", kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(5*time.Second))
	ctx := within(t, 2*time.Minute)
	if err := produce(ctx, as(t, k, "app"), "orders", "1"); err != nil {
		t.Fatal(err)
	}
	if got := reader.PollFetches(ctx).NumRecords(); got != 1 {
		t.Fatalf("read %d records, want 1", got)
	}
	// The reader's next fetch waits at the broker now, or soon; what it answers must not arrive.
	k.Proxies().Hold("engine")
	if err := produce(ctx, as(t, k, "app"), "orders", "2"); err != nil {
		t.Fatal(err)
	}
	if got := reader.PollFetches(within(t, 500*time.Millisecond)).NumRecords(); got != 0 {
		t.Fatalf("%d records passed a held connection", got)
	}
	k.Proxies().Release("engine")
	if got := reader.PollFetches(ctx).NumRecords(); got != 1 {
		t.Fatalf("read %d records after Release, want 1", got)
	}
}

func TestDroppedProduceResponseIsAppendedAndItsAcknowledgementLost(t *testing.T) {
	k := proxied(t)
	cl := as(t, k, "app", kgo.RecordRetries(0), kgo.DisableIdempotentWrite(), kgo.RequestRetries(0))
	ctx := within(t, 2*time.Minute)
	dropped := k.Proxies()[0].DropResponse(int16(kmsg.Produce), "app", 1)
	if err := produce(ctx, cl, "orders", "1"); err == nil {
		t.Fatal("acknowledged although the answer was dropped")
	}
	select {
	case <-dropped:
	case <-ctx.Done():
		t.Fatal("nothing was dropped")
	}
	if err := produce(ctx, cl, "orders", "2"); err != nil {
		t.Fatalf("the rule was for one answer: %v", err)
	}
	if diff := cmp.Diff([]string{"1", "2"}, read(t, k.DirectOptions(admin), "orders", 2)); diff != "" {
		t.Error(diff)
	}
}

func TestJudgeSeesAnswersAndKeepsOneWithoutEndingTheConnection(t *testing.T) {
	k := proxied(t)
	cl := as(t, k, "app")
	ctx := within(t, 2*time.Minute)
	if err := produce(ctx, cl, "orders", "1"); err != nil { // the connection is there before the count
		t.Fatal(err)
	}
	p := k.Proxies()[0]
	accepted := p.Accepted()
	seen := make(chan Answer, 1)
	stop := p.Judge(int16(kmsg.Produce), "app", func(a Answer) Verdict {
		select {
		case seen <- a:
			return Keep
		default:
			return Pass
		}
	})
	acknowledged := make(chan error, 1)
	go func() { acknowledged <- produce(ctx, cl, "orders", "2") }()
	select {
	case a := <-seen:
		res := kmsg.NewPtrProduceResponse()
		res.SetVersion(a.Version)
		body := a.Body
		if res.IsFlexible() {
			body = body[1:] // no tagged fields in the header
		}
		if err := res.ReadFrom(body); err != nil {
			t.Fatal(err)
		}
		if got := res.Topics[0].Partitions[0]; a.ClientID != "app" || got.ErrorCode != 0 || got.BaseOffset != 1 {
			t.Errorf("the rule saw %s: error %d, base offset %d", a.ClientID, got.ErrorCode, got.BaseOffset)
		}
	case <-ctx.Done():
		t.Fatal("no answer was judged")
	}
	stop()
	if now := p.Accepted(); now != accepted {
		t.Errorf("%d connections were accepted while the answer was kept, want none", now-accepted)
	}
	select {
	case err := <-acknowledged:
		t.Fatalf("the client has an answer that was kept from it: %v", err)
	default:
	}
	p.Cut("app")
	if err := <-acknowledged; err != nil {
		t.Logf("the client gave up; it may also have asked again: %v", err)
	}
	if err := produce(ctx, cl, "orders", "3"); err != nil {
		t.Fatalf("the rule was ended: %v", err)
	}
}

func TestCutEndsConnectionsAndClientsComeBack(t *testing.T) {
	k := proxied(t)
	p := k.Proxies()[0]
	cl := as(t, k, "app-1")
	ctx := within(t, 2*time.Minute)
	if err := cl.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	before := p.Accepted()
	if n := p.Connections("app"); n == 0 || p.Connections("engine") != 0 {
		t.Fatalf("%d connections of app, %d of engine", n, p.Connections("engine"))
	}
	p.Cut("app")
	err := WaitFor(ctx, "the end of the connections", func(context.Context) error {
		if n := p.Connections("app"); n != 0 {
			return fmt.Errorf("%d are open", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	if p.Accepted() <= before {
		t.Error("no new connection was opened")
	}
}

func TestDelayAddsToEveryAnswerOnce(t *testing.T) {
	k := proxied(t)
	cl := as(t, k, "far")
	ctx := within(t, 2*time.Minute)
	if err := cl.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	const late = 150 * time.Millisecond
	k.Proxies().Delay("far", late)
	began := time.Now()
	if err := cl.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < late {
		t.Errorf("answered after %s, want %s at least", took, late)
	}
	k.Proxies().Delay("far", 0)
}

func TestProxyRefusesWhileTheBrokerIsDownAndServesItsReturn(t *testing.T) {
	k := proxied(t)
	ctx := within(t, 2*time.Minute)
	cl := as(t, k, "app")
	if err := cl.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	k.Proxies().Hold("app")
	if err := k.Kill(); err != nil {
		t.Fatal(err)
	}
	err := WaitFor(ctx, "the end of connections to a dead broker", func(context.Context) error {
		if n := k.Proxies().Connections(""); n != 0 {
			return fmt.Errorf("%d are open", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	k.Proxies().Release("app")
	if err := k.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if err := cl.Ping(ctx); err != nil {
		t.Fatal(err)
	}
}
