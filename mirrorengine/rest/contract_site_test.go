package rest_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/drawbridge-dr/drawbridge/mirrorengine"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// site is one embedded Kafka with who looks after it.
type site struct {
	*kfake.Cluster
	client *kgo.Client
	adm    *kadm.Client
}

func newSite(t *testing.T, id string, opts []kfake.Opt, client ...kgo.Opt) site {
	t.Helper()
	c, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1), kfake.ClusterID(id))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cl, err := kgo.NewClient(append(client, kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return site{c, cl, kadm.NewClient(cl)}
}

// The login at the source; the password stands in the link's JAAS line, as the
// contract's tools send it.
const user, password = "link", "right-password"

// sourceSite has topics of two partitions with ten records in each.
func sourceSite(t *testing.T, topics ...string) site {
	t.Helper()
	s := newSite(t, "cluster-east", []kfake.Opt{kfake.EnableSASL(), kfake.Superuser("PLAIN", user, password)},
		kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism()))
	if _, err := s.adm.CreateTopics(t.Context(), 2, 1, nil, topics...); err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics {
		var records []*kgo.Record
		for n := range 20 {
			records = append(records, &kgo.Record{Topic: topic, Partition: int32(n % 2), Value: fmt.Append(nil, n)})
		}
		if err := s.client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// The engine's tokens.
const adminToken, readToken = "admin-token-0123456789", "read-token-0123456789"

// engine runs a whole engine beside a site and gives its base URL.
func engine(t *testing.T, s site) string {
	t.Helper()
	cfg := mirrorengine.Default()
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cfg.Name, cfg.Listen, cfg.Kafka.Bootstrap, cfg.State.Shards = "west", "127.0.0.1:0", s.ListenAddrs(), 2
	cfg.TokenFile, cfg.EncryptionKeyFile = file("token", adminToken), file("key", secret.GenerateKey())
	cfg.Tokens = []mirrorengine.Token{{Name: "reader", Role: "read", File: file("read", readToken)}}
	e, err := mirrorengine.New(t.Context(), cfg, "v1", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		e.Close()
	})
	return "http://" + e.Addr().String()
}

// eventually waits until look is nil.
func eventually(t *testing.T, what string, look func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := local.WaitFor(ctx, what, func(context.Context) error { return look() }); err != nil {
		t.Fatal(err)
	}
}
