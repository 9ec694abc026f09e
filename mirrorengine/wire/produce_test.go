package wire

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The bytes are those of kmsg's encoder, whatever the batches and the version,
// and large records are pieces of their own, not copies.
func TestAProduceRequestIsEncodedAsKmsgDoes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 40 {
		var batches []Batch
		for topic := range rng.IntN(5) {
			name := fmt.Sprintf("topic-%0*d", 1+rng.IntN(200), topic)
			id := [16]byte{byte(topic), 1}
			for p := range rng.IntN(6) {
				size := [...]int{0, 1, 61, 126, 127, 128, smallRecords, smallRecords + 1, 16382, 16383, 70_000, 1 << 18}[rng.IntN(12)]
				records := make([]byte, size)
				for i := 0; i < size; i += 97 {
					records[i] = byte(rng.Uint32())
				}
				batches = append(batches, Batch{Topic: name, ID: id, Partition: int32(p), Records: records})
			}
		}
		rng.Shuffle(len(batches), func(i, j int) { batches[i], batches[j] = batches[j], batches[i] })
		topics := gather(batches)
		req := kmsg.NewPtrProduceRequest()
		req.Acks, req.TimeoutMillis = -1, 9000
		large := 0
		for _, topic := range topics {
			rt := kmsg.NewProduceRequestTopic()
			rt.Topic, rt.TopicID = topic.topic, topic.id
			for _, b := range topic.batches {
				rp := kmsg.NewProduceRequestTopicPartition()
				rp.Partition, rp.Records = b.Partition, b.Records
				rt.Partitions = append(rt.Partitions, rp)
				if len(b.Records) > smallRecords {
					large++
				}
			}
			req.Topics = append(req.Topics, rt)
		}
		for version := int16(produceLow); version <= produceHigh; version++ {
			req.Version = version
			want := req.AppendTo(nil)
			parts := encodeProduce(version, 9*time.Second, topics)
			if got := bytes.Join(parts, nil); !bytes.Equal(got, want) {
				t.Fatalf("round %d, v%d, %d batches: %d bytes differ from kmsg's %d", round, version, len(batches), len(got), len(want))
			}
			if (version >= produceFlexible) != req.IsFlexible() {
				t.Fatalf("v%d: flexible is %t", version, req.IsFlexible())
			}
			shared := 0
			for _, p := range parts {
				for _, b := range batches {
					if len(p) > smallRecords && len(b.Records) == len(p) && &p[0] == &b.Records[0] {
						shared++
					}
				}
			}
			if shared != large {
				t.Fatalf("round %d, v%d: %d of %d large batches are pieces of the request", round, version, shared, large)
			}
		}
	}
}

// kmsg leaves record batches where they are in the answer's buffer: otherwise
// every fetched byte would be copied once more.
func TestFetchedRecordsAreSlicesOfTheAnswer(t *testing.T) {
	for version := int16(fetchLow); version <= fetchHigh; version++ {
		res := kmsg.NewPtrFetchResponse()
		res.Version = version
		rt := kmsg.NewFetchResponseTopic()
		rt.Topic = "t"
		rp := kmsg.NewFetchResponseTopicPartition()
		rp.RecordBatches = bytes.Repeat([]byte("records"), 100)
		rt.Partitions = append(rt.Partitions, rp)
		res.Topics = append(res.Topics, rt)
		raw := res.AppendTo(nil)
		var got kmsg.FetchResponse
		got.Version = version
		if err := got.ReadFrom(raw); err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(raw, rp.RecordBatches)
		if &got.Topics[0].Partitions[0].RecordBatches[0] != &raw[at] {
			t.Errorf("v%d: the records were copied", version)
		}
	}
}
