package activities

import (
	"errors"
	"hash/crc32"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestTheCanaryIsAWholeBatchButForItsChecksum(t *testing.T) {
	raw := wrongCRC()
	var b kmsg.RecordBatch
	if err := b.ReadFrom(raw); err != nil {
		t.Fatal(err)
	}
	if int(b.Length) != len(raw)-12 || b.Magic != 2 || b.NumRecords != 1 || b.ProducerID != -1 || b.FirstSequence != -1 {
		t.Errorf("batch %+v", b)
	}
	var r kmsg.Record
	if err := r.ReadFrom(b.Records); err != nil || int(r.Length) != len(b.Records)-1 || string(r.Value) != "canary" {
		t.Errorf("record %+v, %v", r, err)
	}
	if right := crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)); int32(right) == b.CRC || int32(^right) != b.CRC {
		t.Errorf("crc %x of a batch with crc %x", b.CRC, right)
	}
}

// A cluster that does not check would store the canary: it sings once, and
// never again.
func TestACanaryThatIsStoredIsNotSentTwice(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	var asked atomic.Int32
	cluster.ControlKey(kmsg.Produce.Int16(), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		asked.Add(1)
		req, ok := kreq.(*kmsg.ProduceRequest)
		if !ok {
			return nil, errors.New("no produce"), true
		}
		res := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, rt := range req.Topics {
			st := kmsg.NewProduceResponseTopic()
			st.Topic = rt.Topic
			for _, rp := range rt.Partitions {
				sp := kmsg.NewProduceResponseTopicPartition()
				sp.Partition, sp.BaseOffset = rp.Partition, 7
				st.Partitions = append(st.Partitions, sp)
			}
			res.Topics = append(res.Topics, st)
		}
		return res, nil, true
	})
	a := newActivities(t, Options{})
	plaintext := runbook.Security{Protocol: "PLAINTEXT"}
	site := runbook.Site{Name: "east", Kafka: runbook.Kafka{Bootstrap: cluster.ListenAddrs(), Security: plaintext}, Canary: &plaintext}
	_, err = a.ProveWritable(t.Context(), workflows.ProveWritableInput{Call: call("writable"), Site: site, Topics: []string{"orders"}, Within: 5 * time.Second})
	typed(t, err, workflows.ErrRefused, false)
	if !strings.Contains(err.Error(), "orders/0 at offset 7") || asked.Load() != 1 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
}

func TestASiteWithoutACanaryIsNotProvenWritable(t *testing.T) {
	a := newActivities(t, Options{})
	got, err := a.ProveWritable(t.Context(), workflows.ProveWritableInput{Call: call("writable"), Site: runbook.Site{Name: "east"}, Topics: []string{"orders"}})
	if err != nil || got.Writable || len(got.Refused) != 1 || !strings.Contains(got.Refused[0], "no canary principal") {
		t.Errorf("%+v, %v", got, err)
	}
}
