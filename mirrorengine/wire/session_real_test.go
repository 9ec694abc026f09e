//go:build real

package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

// reading is a session on a live broker, and what its requests named.
type reading struct {
	*testing.T
	conn    *Conn
	session *Session
	id      [16]byte
	at      map[int32]int64
	full    int
	named   int
}

// fetch runs one Fetch and answers with the partitions that had records.
func (r *reading) fetch() map[int32]int {
	r.Helper()
	req := kmsg.NewPtrFetchRequest()
	var err error
	if req.Version, err = r.session.Version(r.conn); err != nil {
		r.Fatal(err)
	}
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel = -1, 100, 1, 1<<20, 1
	r.session.Fill(req)
	if r.full, r.named = 0, 0; req.SessionEpoch == 0 {
		r.full = 1
	}
	for _, t := range req.Topics {
		r.named += len(t.Partitions)
	}
	for _, t := range req.ForgottenTopics {
		r.named += len(t.Partitions)
	}
	a, err := r.conn.Ask(r.Context(), req)
	if err != nil {
		r.Fatal(err)
	}
	defer a.Release()
	res := kmsg.NewPtrFetchResponse()
	res.Version = req.Version
	if err := res.ReadFrom(a.Body); err != nil {
		r.Fatal(err)
	}
	out := map[int32]int{}
	if err := r.session.Took(res); errors.Is(err, ErrAgain) {
		return nil
	} else if err != nil {
		r.Fatal(err)
	}
	for i := range res.Topics {
		t := &res.Topics[i]
		if name := r.session.Name(t); name != "many" {
			r.Fatalf("an answer for topic %q", name)
		}
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				r.Fatalf("partition %d: error %d", p.Partition, p.ErrorCode)
			}
			if len(p.RecordBatches) > 0 {
				out[p.Partition] = len(p.RecordBatches)
				r.at[p.Partition]++ // each batch holds one record
				r.want(p.Partition)
			}
		}
	}
	return out
}

func (r *reading) want(p int32) {
	r.session.Want(Partition{"many", p}, r.id, r.at[p], 1<<20, "test")
}

// On a live broker: idle partitions are named once, a forgotten one brings
// nothing until it is wanted again, and lost sessions are begun anew.
func TestFetchSessionsOnApacheKafka(t *testing.T) {
	const partitions = 50
	k := local.KafkaForTest(t, local.KafkaConfig{Kind: local.Apache, Name: "east", SuperUser: local.User{Name: "admin", Password: "admin-secret"}})
	client, err := kgo.NewClient(append(k.Options(k.SuperUser()), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), partitions, 1, nil, "many"); err != nil {
		t.Fatal(err)
	}
	if err := local.WaitFor(t.Context(), "every partition led", func(ctx context.Context) error {
		ends, err := kadm.NewClient(client).ListEndOffsets(ctx, "many")
		if err == nil {
			err = ends.Error()
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	topics, err := kadm.NewClient(client).ListTopics(t.Context(), "many")
	if err != nil {
		t.Fatal(err)
	}
	opts := dialOptions()
	opts.SASL, _ = client.OptValue(kgo.SASL).([]sasl.Mechanism)
	opts.Dial, _ = client.OptValue(kgo.Dialer).(func(context.Context, string, string) (net.Conn, error))
	r := &reading{T: t, conn: dial(t, k.Bootstrap()[0], opts), session: NewSession(), id: [16]byte(topics["many"].ID), at: map[int32]int64{}}
	write := func(p int32) {
		t.Helper()
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "many", Partition: p, Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	// await fetches until a partition's record came; a broker may answer with nothing.
	await := func(p int32) (named int) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
			got := r.fetch()
			named += r.named
			if got[p] > 0 {
				return named
			}
		}
		t.Fatalf("no record of partition %d", p)
		return 0
	}
	for p := range int32(partitions) {
		r.want(p)
	}
	if r.fetch(); r.full != 1 || r.named != partitions {
		t.Fatalf("the first request names %d of %d partitions", r.named, partitions)
	}
	for range 5 {
		if r.fetch(); r.full != 0 || r.named != 0 {
			t.Errorf("an idle request names %d partitions", r.named)
		}
	}
	for p := range int32(10) {
		write(p)
		if named := await(p); named > 1 { // the partition that moved before
			t.Errorf("%d partitions named for a record of one", named)
		}
	}
	r.session.Forget(Partition{"many", 3}, "test")
	write(3)
	write(4)
	await(4)
	for range 3 {
		if got := r.fetch(); len(got) != 0 {
			t.Errorf("a forgotten partition brought records: %v", got)
		}
	}
	r.want(3)
	await(3)

	r.session.epoch += 5 // INVALID_FETCH_SESSION_EPOCH
	if got := r.fetch(); got != nil {
		t.Errorf("a wrong epoch was taken: %v", got)
	}
	write(5)
	await(5)
	r.session.id++ // FETCH_SESSION_ID_NOT_FOUND
	if got := r.fetch(); got != nil {
		t.Errorf("a wrong id was taken: %v", got)
	}
	write(6)
	await(6)
	r.session.Reset() // a lost connection
	write(7)
	if named := await(7); named < partitions {
		t.Errorf("%d partitions named by a new session", named)
	}
	for p, n := range r.at {
		if want := int64(1); n != want+map[int32]int64{3: 1, 4: 1, 5: 1, 6: 1, 7: 1}[p] {
			t.Error(fmt.Errorf("partition %d: %d records fetched", p, n))
		}
	}
}
