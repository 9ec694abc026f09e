package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

type thing struct {
	N int `json:"n"`
}

func cluster(t *testing.T) []kgo.Opt {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...)}
}

func open(t *testing.T, local []kgo.Opt) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Local: local, ClusterID: "c", Topic: "_state", Shards: 4, ReplicationFactor: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestANewOwnerReadsWhatTheFormerOneWrote(t *testing.T) {
	local := cluster(t)
	a := open(t, local)
	for i := range 40 {
		if err := a.Put(t.Context(), int32(i%4), Entry{fmt.Sprintf("k/%02d", i), thing{-1}}, Entry{fmt.Sprintf("k/%02d", i), thing{i}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Put(t.Context(), 39%4, Entry{Key: "k/39"}); err != nil {
		t.Fatal(err)
	}
	a.Close()
	b := open(t, local)
	got, err := All[thing](b, "k/")
	if err != nil {
		t.Fatal(err)
	}
	want := make([]thing, 39)
	for i := range want {
		want[i].N = i
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTakingOverFencesTheFormerOwner(t *testing.T) {
	local := cluster(t)
	a := open(t, local)
	if err := a.Put(t.Context(), 1, Entry{"x", thing{1}}); err != nil {
		t.Fatal(err)
	}
	b := open(t, local)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := a.Put(ctx, 1, Entry{"x", thing{2}}); !errors.Is(err, ErrFenced) {
		t.Fatalf("the former owner's write: %v, want ErrFenced", err)
	}
	var got thing
	if _, err := b.Get("x", &got); err != nil || got.N != 1 {
		t.Fatalf("got %v, %v", got, err)
	}
}

func TestPutsThatComeTogetherAreAllKept(t *testing.T) {
	local := cluster(t)
	a := open(t, local)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if err := a.Put(t.Context(), 2, Entry{fmt.Sprintf("k/%03d", i), thing{i}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	a.Close()
	b := open(t, local)
	all, err := All[thing](b, "k/")
	if err != nil {
		t.Fatal(err)
	}
	want := make([]thing, 200)
	for i := range want {
		want[i].N = i
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
}

func TestANewerRecordIsRefusedByName(t *testing.T) {
	local := cluster(t)
	open(t, local).Close()
	cl, err := kgo.NewClient(append(local, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "_state", Partition: 2, Key: []byte("link/x"), Value: []byte(`{"v":9,"data":{}}`)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), Options{Local: local, ClusterID: "c", Topic: "_state", Shards: 4, ReplicationFactor: 1, Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		t.Fatal("an older build read a newer record")
	}
	t.Log(err)
}

func TestAnOwnerThatHasNothingToWriteLearnsThatItIsNoneAnyMore(t *testing.T) {
	local := cluster(t)
	a := open(t, local)
	b := open(t, local)
	select {
	case err := <-a.Lost():
		if !errors.Is(err, ErrFenced) {
			t.Errorf("lost by %v", err)
		}
	case <-time.After(10 * ownerEvery):
		t.Fatal("the former owner does not know that it was taken over")
	}
	for i := range 20 { // writing must not look like a loss to the writer
		if err := b.Put(t.Context(), 0, Entry{"k", thing{i}}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-b.Lost():
		t.Errorf("the owner takes itself for fenced: %v", err)
	case <-time.After(3 * ownerEvery):
	}
}
