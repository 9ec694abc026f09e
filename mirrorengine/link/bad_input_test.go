package link

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// twoMirrors are "orders", which is to suffer, and "others", which must not notice.
func twoMirrors(t *testing.T, src, dst *site, configs ...api.NameValue) *Manager {
	t.Helper()
	for _, topic := range []string{"orders", "others"} {
		src.topic(t, topic, 1, nil)
		src.produce(t, topic, 0, 0, 5)
	}
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, map[string]string{"replica.fetch.wait.max.ms": "20"})
	newTestMirror(t, m, "others")
	if err := m.CreateMirror(t.Context(), "l", api.CreateMirror{SourceTopicName: "orders", ReplicationFactor: 1, Configs: configs}); err != nil {
		t.Fatal(err)
	}
	return m
}

// othersGoOn: five more records of the other mirror arrive.
func othersGoOn(t *testing.T, m *Manager, src *site) {
	t.Helper()
	src.produce(t, "others", 0, 5, 5)
	awaitLagZero(t, m, src, "others")
}

// stalledFor waits until orders says why it stands still.
func stalledFor(t *testing.T, m *Manager, says ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("orders stands still: %q", says), func() error {
		p, err := m.Progress(t.Context(), "l")
		if err != nil {
			return err
		}
		for _, mt := range p.Mirrors {
			if mt.Topic != "orders" {
				continue
			}
			for _, s := range says {
				if !strings.Contains(mt.Partitions[0].Stalled, s) {
					return fmt.Errorf("%s: %s", mt.Status, mt.Partitions[0].Stalled)
				}
			}
		}
		return nil
	})
}

func failedFor(t *testing.T, m *Manager, says ...string) {
	t.Helper()
	awaitStatus(t, m, "orders", status.Failed)
	l, _ := m.link("l")
	mt, err := l.mirror("orders")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range says {
		if reason := mt.record().Reason; !strings.Contains(reason, s) {
			t.Errorf("the reason does not say %q: %s", s, reason)
		}
	}
}

// A bit that fell over at the source, or on the way: what is not what its producer
// wrote must not be mirrored, under a right checksum least of all.
func TestABatchWithAWrongChecksumFailsItsMirrorAndTheOthersGoOn(t *testing.T) {
	src, dst := newSite(t, "src"), newSite(t, "dst")
	m := twoMirrors(t, src, dst)
	awaitLagZero(t, m, src, "orders")
	alter(t, m, api.VerbPause, "orders") // and resumed it asks again, by name
	src.produce(t, "orders", 0, 5, 1)
	whole := src.rawBatches(t, "orders")
	id := newCluster(src.client)
	if err := id.refresh(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	meta, _ := id.topic("orders")
	hurt := append([]byte(nil), whole...)
	hurt[len(hurt)-2] ^= 4
	var spoilt atomic.Int64
	src.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		req := kreq.(*kmsg.FetchRequest)
		src.KeepControl()
		for _, topic := range req.Topics {
			if topic.TopicID != meta.id || req.IsolationLevel != 1 {
				continue
			}
			spoilt.Add(1)
			res := req.ResponseKind().(*kmsg.FetchResponse)
			rt := kmsg.NewFetchResponseTopic()
			rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
			rp := kmsg.NewFetchResponseTopicPartition()
			rp.HighWatermark, rp.RecordBatches = 6, hurt
			rt.Partitions = append(rt.Partitions, rp)
			res.Topics = append(res.Topics, rt)
			return res, nil, true
		}
		return nil, nil, false
	})
	alter(t, m, api.VerbResume, "orders")
	failedFor(t, m, "orders", "partition 0")
	if spoilt.Load() == 0 {
		t.Fatal("no answer was spoilt: the test shows nothing")
	}
	othersGoOn(t, m, src)
	if end := dst.end(t, "orders", 0); end != 5 {
		t.Errorf("the mirror ends at %d, want 5: what was spoilt is in it", end)
	}
}

func TestABatchOverTheDestinationsLimitWaitsForTheLimitAndTheOthersGoOn(t *testing.T) {
	src, dst := newSite(t, "src"), newSite(t, "dst")
	// kfake does not look at max.message.bytes.
	limit := dst.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "orders", Err: kerr.MessageTooLarge, Count: -1})
	m := twoMirrors(t, src, dst)
	stalledFor(t, m, "larger than the mirror's max.message.bytes", "raise it on orders")
	othersGoOn(t, m, src)
	limit.Remove()
	awaitLagZero(t, m, src, "orders")
	if err := sameRecords(src.committed(t, "orders", 0), dst.committed(t, "orders", 0)); err != nil {
		t.Error(err)
	}
}

func TestARecordThatACompactedMirrorRefusesFailsItAndTheOthersGoOn(t *testing.T) {
	src, dst := newSite(t, "src"), newSite(t, "dst")
	// What Apache Kafka answers to a null key (TestANullKeyIntoACompactedMirrorOnApacheKafka).
	dst.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "orders", Err: kerr.InvalidRecord, Count: -1})
	compact := "compact"
	m := twoMirrors(t, src, dst, api.NameValue{Name: "cleanup.policy", Value: &compact})
	failedFor(t, m, "a compacted mirror takes no null keys", "source offset 0")
	othersGoOn(t, m, src)
}

// A broker whose disk is full takes its log folder offline and answers
// KAFKA_STORAGE_ERROR, first for one mirror, then for all, the state topic too.
func TestAFullDiskOfTheDestinationHoldsMirrorsUpAndLosesNothing(t *testing.T) {
	src, dst := newSite(t, "src"), newSite(t, "dst")
	m := twoMirrors(t, src, dst)
	awaitLagZero(t, m, src, "orders")
	one := dst.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "orders", Err: kerr.KafkaStorageError, Count: -1})
	src.produce(t, "orders", 0, 5, 20)
	stalledFor(t, m, "KAFKA_STORAGE_ERROR")
	othersGoOn(t, m, src)
	all := dst.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.KafkaStorageError, Count: -1})
	// What must be recorded waits: nothing is done that is not written down.
	paused := make(chan error, 1)
	go func() {
		res, err := m.AlterMirrors(t.Context(), "l", api.VerbPause, api.AlterMirrors{MirrorTopicNames: []string{"others"}}, false)
		if err == nil {
			err = res[0].Err()
		}
		paused <- err
	}()
	eventually(t, "the state cannot be written", func() error {
		if all.Hits() == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	awaitStatus(t, m, "others", status.Active)
	one.Remove()
	all.Remove()
	if err := <-paused; err != nil {
		t.Error(err)
	}
	awaitStatus(t, m, "others", status.Paused)
	alter(t, m, api.VerbResume, "others")
	src.produce(t, "orders", 0, 25, 5)
	awaitLagZero(t, m, src, "orders")
	awaitLagZero(t, m, src, "others")
	for _, topic := range []string{"orders", "others"} {
		if err := sameRecords(src.committed(t, topic, 0), dst.committed(t, topic, 0)); err != nil {
			t.Errorf("%s: %v", topic, err)
		}
	}
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
}

// The right to read is taken away while records move: the mirror says what it lacks
// and goes on when it is back.
func TestRightsRevokedWhileMirroringAreNamedAndMirroringGoesOnWhenTheyAreBack(t *testing.T) {
	t.Setenv("DRAWBRIDGE_TEST_APP", "app")
	src, dst := newGuardedSite(t), newSite(t, "dst")
	src.topic(t, "orders", 1, nil)
	m, _ := newEngine(t, dst)
	acls := kadm.NewACLs().Topics("orders").Allow("User:app").AllowHosts("*").Operations(kadm.OpRead, kadm.OpDescribe, kadm.OpDescribeConfigs).ResourcePatternType(kadm.ACLPatternLiteral)
	if _, err := src.adm.CreateACLs(t.Context(), acls); err != nil {
		t.Fatal(err)
	}
	newTestLink(t, m, src, map[string]string{
		keyProtocol: "SASL_PLAINTEXT", keyMechanism: "PLAIN", keyJAAS: `x.PlainLoginModule required username="app" password="${env:DRAWBRIDGE_TEST_APP}";`,
		"replica.fetch.wait.max.ms": "20",
	})
	newTestMirror(t, m, "orders")
	src.produce(t, "orders", 0, 0, 5)
	awaitLagZero(t, m, src, "orders")
	deletion := kadm.NewACLs().Topics("orders").Allow("User:app").AllowHosts("*").Operations(kadm.OpRead).ResourcePatternType(kadm.ACLPatternLiteral)
	if res, err := src.adm.DeleteACLs(t.Context(), deletion); err != nil || len(res) != 1 || len(res[0].Deleted) != 1 {
		t.Fatal(res, err)
	}
	src.produce(t, "orders", 0, 5, 5)
	stalledFor(t, m, "READ", "User:app", "orders")
	if _, err := src.adm.CreateACLs(t.Context(), deletion); err != nil {
		t.Fatal(err)
	}
	awaitLagZero(t, m, src, "orders")
	if got := values(dst.read(t, "orders", 0, 0, 10)); got != "v0 v1 v2 v3 v4 v5 v6 v7 v8 v9" {
		t.Errorf("the mirror has %s", got)
	}
}

// A login that is refused from now on (user deleted, password changed) shows when
// the connection has to be made anew.
func TestALoginRevokedWhileMirroringIsToldAndTheMirrorFailsOverWithoutTheSource(t *testing.T) {
	t.Setenv("DRAWBRIDGE_TEST_ADMIN", "admin")
	src, dst := newGuardedSite(t), newSite(t, "dst")
	src.topic(t, "orders", 1, nil)
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, map[string]string{
		keyProtocol: "SASL_PLAINTEXT", keyMechanism: "PLAIN", keyJAAS: `x.PlainLoginModule required username="admin" password="${env:DRAWBRIDGE_TEST_ADMIN}";`,
		"replica.fetch.wait.max.ms": "20",
	})
	newTestMirror(t, m, "orders")
	src.produce(t, "orders", 0, 0, 5)
	awaitLagZero(t, m, src, "orders")
	refused := src.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.SASLAuthenticate}, Err: kerr.SaslAuthenticationFailed, Count: -1})
	for _, key := range []kmsg.Key{kmsg.Fetch, kmsg.Metadata, kmsg.ListOffsets} { // the connections that stand are lost
		src.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
			src.KeepControl()
			return nil, errors.New("cut"), true
		})
	}
	eventually(t, "the link says that its login fails", func() error {
		got, err := m.Link(t.Context(), "l", true)
		if err != nil {
			return err
		}
		if refused.Hits() == 0 || got.LinkState == api.LinkActive {
			return fmt.Errorf("%d logins refused: %s %s", refused.Hits(), got.LinkState, got.LinkError)
		}
		return nil
	})
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	if got := values(dst.read(t, "orders", 0, 0, 5)); got != "v0 v1 v2 v3 v4" {
		t.Errorf("the mirror has %s", got)
	}
}
