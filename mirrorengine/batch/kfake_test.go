package batch

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// broker is a kfake cluster of one broker, topics of one partition each, and a
// client that sends requests of our making.
type broker struct {
	t   *testing.T
	ctx context.Context
	url []string
	cl  *kgo.Client
	ids map[string][16]byte
}

func startBroker(t *testing.T, topics ...string) *broker {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topics...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	b := &broker{t: t, ctx: ctx, url: c.ListenAddrs(), ids: map[string][16]byte{}}
	b.cl = b.client()
	resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, b.cl)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range resp.Topics {
		b.ids[*topic.Topic] = topic.TopicID
	}
	return b
}

func (b *broker) client(opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.url...)}, opts...)...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(cl.Close)
	return cl
}

// fetch reads the raw record set of a topic from an offset on.
func (b *broker) fetch(topic string, offset int64) []byte {
	b.t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.MaxWaitMillis = 64<<20, 100
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = topic, b.ids[topic]
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = offset, 64<<20, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(b.ctx, b.cl.SeedBrokers()[0])
	if err != nil {
		b.t.Fatal(err)
	}
	p := resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		b.t.Fatalf("fetch %s at %d: %v", topic, offset, err)
	}
	return p.RecordBatches
}

// produce sends one batch as it is.
func (b *broker) produce(topic string, batch []byte) error {
	b.t.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 10_000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.TopicID = topic, b.ids[topic]
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Records = batch
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(b.ctx, b.cl.SeedBrokers()[0])
	if err != nil {
		b.t.Fatal(err)
	}
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

// consume reads n records from the start of a topic with a plain consumer.
func (b *broker) consume(topic string, n int) []Record {
	b.t.Helper()
	cl := b.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var out []Record
	for len(out) < n {
		fs := cl.PollFetches(b.ctx)
		if err := fs.Err(); err != nil {
			b.t.Fatalf("%d of %d records of %s read: %v", len(out), n, topic, err)
		}
		fs.EachRecord(func(r *kgo.Record) { out = append(out, fromKgo(r)) })
	}
	return out
}

// What a real client sent and a broker gave back, through Rewrite (from the
// start, and from inside a batch) into another topic of the broker.
func TestABrokerTakesWhatRealClientsSentInEveryCodec(t *testing.T) {
	for codec, with := range kgoCodecs {
		t.Run(codec.String(), func(t *testing.T) {
			b := startBroker(t, "source", "whole", "inside")
			cl := b.client(kgo.ProducerBatchCompression(with), kgo.ProducerLinger(20*time.Millisecond), kgo.DefaultProduceTopic("source"))
			var sent []*kgo.Record
			for i := range 300 {
				r := &kgo.Record{Key: []byte(fmt.Sprintf("key-%d", i%7)), Value: []byte(fmt.Sprintf(`{"n":%d,"text":"the same words again and again"}`, i))}
				if i%11 == 0 {
					r.Key, r.Headers = nil, []kgo.RecordHeader{{Key: "h", Value: nil}, {Key: "g", Value: []byte("x")}}
				}
				if i%13 == 0 {
					r.Value = nil
				}
				sent = append(sent, r)
			}
			for i := 0; i < len(sent); i += 100 {
				if err := cl.ProduceSync(b.ctx, sent[i:i+100]...).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			source := b.consume("source", len(sent))
			for topic, from := range map[string]int64{"whole": 0, "inside": 57} {
				batches, err := Split(b.fetch("source", from))
				if err != nil {
					t.Fatal(err)
				}
				s, packed := Stamp{ProducerID: 77, ProducerEpoch: 0}, 0
				var runs []Run
				for _, src := range batches {
					if err := src.Check(); err != nil {
						t.Fatal(err)
					}
					if src.Codec() == codec {
						packed++
					}
					out, err := Rewrite(src, s, from)
					if err != nil {
						t.Fatal(err)
					}
					if err := b.produce(topic, out.Bytes); err != nil {
						t.Fatalf("%s refused the batch at offset %d: %v", topic, src.BaseOffset(), err)
					}
					s.BaseSequence = NextSequence(s.BaseSequence, out.Records)
					runs = append(runs, out.Runs...)
				}
				if packed != len(batches) {
					t.Fatalf("%d of %d batches were packed with %v", packed, len(batches), codec)
				}
				want, wantRuns := mirrored(source, from)
				var n int32
				for i, run := range runs {
					if run.SourceStart != from+int64(n) {
						t.Fatalf("run %d starts at %d", i, run.SourceStart)
					}
					n += run.Count
				}
				if n != wantRuns[0].Count {
					t.Fatalf("runs hold %d records, want %d", n, wantRuns[0].Count)
				}
				sameRecords(t, topic, want, b.consume(topic, len(want)))
			}
		})
	}
}

func TestABrokerTakesEveryKindOfRewrittenBatch(t *testing.T) {
	r := seeded(t)
	b := startBroker(t, "mirror")
	s := Stamp{ProducerID: 78}
	var want []Record
	for range 120 {
		base := r.Int64N(1 << 30)
		records := randomRecords(r, 30, base, true, true)
		last := records[len(records)-1].Offset
		var set []byte
		if r.IntN(4) == 0 {
			for i := range records {
				records[i].Headers = nil
			}
			set = legacySet(t, 1, records, codecs[1+r.IntN(3)], 0)
		} else {
			bits := []int16{0, bitTransactional, bitDeleteHorizon, bitLogAppendTime}[r.IntN(4)]
			set = build(t, spec{base: base, last: last, records: records, codec: codecs[r.IntN(5)], bits: bits, baseTimestamp: records[0].Timestamp, maxTimestamp: maxTime(records)})
			if bits == bitLogAppendTime {
				for i := range records {
					records[i].Timestamp = maxTime(records)
				}
			}
		}
		from := base + r.Int64N(3)
		out, err := Rewrite(only(t, set), s, from)
		if err != nil {
			t.Fatal(err)
		}
		if out.Records == 0 {
			continue
		}
		if err := b.produce("mirror", out.Bytes); err != nil {
			t.Fatalf("refused (%v): %v", out.Reencoded, err)
		}
		s.BaseSequence = NextSequence(s.BaseSequence, out.Records)
		more, _ := mirrored(records, from)
		for i := range more {
			more[i].Offset = int64(len(want))
			want = append(want, more[i])
		}
	}
	sameRecords(t, "the mirror", want, b.consume("mirror", len(want)))
	if err := b.produce("mirror", WrongCRC([]byte("canary"), nil)); err == nil {
		t.Fatal("the canary was stored")
	}
}

func TestMarkersOfRealTransactionsAreTold(t *testing.T) {
	b := startBroker(t, "source")
	cl := b.client(kgo.TransactionalID("tx"), kgo.DefaultProduceTopic("source"))
	for _, commit := range []bool{true, false, true} {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(b.ctx, kgo.StringRecord("x")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(b.ctx, kgo.TransactionEndTry(commit)); err != nil {
			t.Fatal(err)
		}
	}
	batches, err := Split(b.fetch("source", 0))
	if err != nil {
		t.Fatal(err)
	}
	var got string
	for _, src := range batches {
		if !src.IsTransactional() || src.ProducerID() < 0 {
			t.Fatalf("batch at %d is not transactional", src.BaseOffset())
		}
		if !src.IsControl() {
			got += "d"
			if _, err := src.IsAbort(); err == nil {
				t.Fatal("a data batch was read as a marker")
			}
			continue
		}
		abort, err := src.IsAbort()
		if err != nil {
			t.Fatal(err)
		}
		got += map[bool]string{true: "a", false: "c"}[abort]
	}
	if got != "dcdadc" {
		t.Fatalf("batches read as %q, want %q (d data, c commit, a abort)", got, "dcdadc")
	}
}
