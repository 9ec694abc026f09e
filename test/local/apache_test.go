package local

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func TestApacheComesBackFromKillWithItsLogOffsetsAndACLs(t *testing.T) {
	testKill(t, KafkaConfig{Kind: Apache, Name: "east", SuperUser: admin, Users: []User{app}, Proxied: true})
}

func TestThreeApacheBrokersGoOnWithoutOne(t *testing.T) {
	began := time.Now()
	k := KafkaForTest(t, KafkaConfig{Kind: Apache, Name: "east", Brokers: 3, SuperUser: admin})
	t.Logf("start of three brokers took %s, Kafka %s", time.Since(began), k.Version())
	cl := connect(t, k.Options(admin))
	createTopic(t, cl, "orders", 3)
	ctx := within(t, 2*time.Minute)
	if err := produce(ctx, cl, "orders", "1"); err != nil {
		t.Fatal(err)
	}
	if err := k.KillBroker(2); err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"2", "3", "4", "5", "6"} {
		if err := produce(ctx, cl, "orders", v); err != nil {
			t.Fatalf("produce %s with one broker of three gone: %v", v, err)
		}
	}
	began = time.Now()
	if err := k.RestartBroker(ctx, 2); err != nil {
		t.Fatal(err)
	}
	t.Logf("return of one broker took %s", time.Since(began))
	topics, err := kadm.NewClient(cl).ListTopics(ctx, "orders")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range topics["orders"].Partitions {
		if len(p.Replicas) != 3 {
			t.Errorf("partition %d has replicas %v, want 3", p.Partition, p.Replicas)
		}
	}
	sc := connect(t, nil, kgo.SeedBrokers(k.Bootstrap()...), kgo.SASL(scram.Auth{User: admin.Name, Pass: admin.Password}.AsSha256Mechanism()))
	if err := sc.Ping(ctx); err != nil {
		t.Errorf("SCRAM login: %v", err)
	}
}
