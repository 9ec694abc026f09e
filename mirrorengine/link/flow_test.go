package link

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// backlog writes n records of 50 kB, each a batch, to partition 0.
func (s *site) backlog(t *testing.T, topic string, n int) (bytes int) {
	t.Helper()
	rng := rand.NewChaCha8([32]byte{7})
	value := make([]byte, 50_000)
	for range n {
		_, _ = rng.Read(value)
		if err := s.client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return n * len(value)
}

func TestALinksBandwidthIsBounded(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	src.topic(t, "orders", 2, nil)
	const rate = 500_000
	bytes := src.backlog(t, "orders", 40)
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, map[string]string{"drawbridge.bandwidth.max.bytes.per.second": fmt.Sprint(rate)})
	began := time.Now()
	newTestMirror(t, m, "orders")
	awaitLagZero(t, m, src, "orders")
	// What is fetched last is paid for afterwards.
	if took := time.Since(began); took < time.Duration(bytes-rate/2)*time.Second/rate {
		t.Errorf("%d bytes at %d a second within %s", bytes, rate, took)
	}
}

// Partitions that are far behind get what catching up may take; the others stay
// close to their source meanwhile.
func TestCatchingUpLeavesTheOthersTheirBandwidth(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	src.topic(t, "orders", 2, nil)
	const rate, records = 400_000, 60
	bytes := src.backlog(t, "orders", records)
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, map[string]string{
		"drawbridge.catchup.bandwidth.max.bytes.per.second": fmt.Sprint(rate), "drawbridge.catchup.lag.records": "2",
	})
	began := time.Now()
	newTestMirror(t, m, "orders")
	positions := func() (behind, tip int64) {
		t.Helper()
		got, err := m.Mirror(t.Context(), "l", "orders", false)
		if err != nil {
			t.Fatal(err)
		}
		for _, lag := range got.MirrorLags {
			if lag.Partition == 0 {
				behind = lag.LastSourceFetchOffset
			} else {
				tip = lag.LastSourceFetchOffset
			}
		}
		return behind, tip
	}
	for n := int64(1); n <= 5; n++ {
		src.produce(t, "orders", 1, int(n), 1)
		eventually(t, "the record at the tip is mirrored", func() error {
			if _, tip := positions(); tip < n {
				return fmt.Errorf("at %d of %d", tip, n)
			}
			return nil
		})
	}
	// On a machine with little time for this test the other one may have caught up by right.
	due := time.Duration(bytes-rate) * time.Second / rate
	if behind, _ := positions(); behind == records && time.Since(began) < due {
		t.Error("the partition at the tip had to wait until the other one had caught up")
	}
	eventually(t, "the other one has caught up", func() error {
		if behind, _ := positions(); behind < records {
			return errors.New("not yet")
		}
		return nil
	})
	if took := time.Since(began); took < due {
		t.Errorf("%d bytes at %d a second within %s", bytes, rate, took)
	}
}
