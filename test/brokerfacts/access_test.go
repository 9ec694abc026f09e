package brokerfacts

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

// try produces a good batch as a user to the cluster one.
func try(t *testing.T, as local.User, to topic) error {
	t.Helper()
	_, err := produce(t, connect(t, one, as), leader, to, plain("v").encode(t))
	return err
}

// chirp is the canary of engine.md 6: a batch without a producer id and with a wrong CRC.
func chirp(t *testing.T, k *local.Kafka, as local.User, broker int, to topic) error {
	t.Helper()
	wrong := plain("canary")
	wrong.wrongCRC = true
	_, err := produce(t, connect(t, k, as), broker, to, wrong.encode(t))
	return err
}

// Fact: a DENY entry beats an ALLOW entry, whichever is older, and binds no super user (StandardAuthorizer). The read-only guard
// and the fences rest on it.
func TestDenyBeatsAllowButNotSuperUsers(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	grant(t, one, allow(engine, kadm.OpWrite).Topics(to.name))
	eventually(t, "ALLOW to take effect", nil, func() error { return try(t, engine, to) })
	grant(t, one, deny("User:"+engine.Name, kadm.OpWrite).Topics(to.name))
	eventually(t, "DENY to take effect", kerr.TopicAuthorizationFailed, func() error { return try(t, engine, to) })
	if err := try(t, super, to); err != nil {
		t.Errorf("super user: %v", err)
	}
}

// Fact: DENY for User:* shuts out every principal but super users, whatever ALLOW they have; an ALLOW made later changes nothing.
func TestDenyForEverybodyShutsOutEverybodyButSuperUsers(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	grant(t, one, deny("User:*", kadm.OpWrite).Topics(to.name))
	grant(t, one, allow(engine, kadm.OpWrite, kadm.OpDescribe).Topics(to.name))
	cl := connect(t, one, engine)
	// Describing works as soon as the later entry is in force; so the refusal below is not that of a late entry.
	eventually(t, "ALLOW DESCRIBE to take effect", nil, func() error {
		req := kmsg.NewPtrMetadataRequest()
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = kmsg.StringPtr(to.name)
		req.Topics = append(req.Topics, rt)
		return kerr.ErrorForCode(ask[*kmsg.MetadataResponse](t, cl, leader, req).Topics[0].ErrorCode)
	})
	if err := try(t, engine, to); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Errorf("ALLOW made after DENY User:*: %v, want TOPIC_AUTHORIZATION_FAILED", err)
	}
	if err := try(t, super, to); err != nil {
		t.Errorf("super user: %v", err)
	}
	wantEnd(t, to, 1)
}

// Fact: a produce without producer id and with a wrong CRC is answered by the leader with CORRUPT_MESSAGE when the principal may write,
// TOPIC_AUTHORIZATION_FAILED under a DENY, and writes nothing either way (engine.md 6, canary).
func TestCanaryTellsWhetherItsPrincipalMayWriteAndWritesNothing(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	if err := chirp(t, one, canary, leader, to); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Errorf("without rights: %v, want TOPIC_AUTHORIZATION_FAILED", err)
	}
	grant(t, one, allow(canary, kadm.OpWrite).Topics(to.name))
	eventually(t, "the canary to be let through to the CRC check", kerr.CorruptMessage, func() error { return chirp(t, one, canary, leader, to) })
	grant(t, one, deny("User:"+canary.Name, kadm.OpWrite).Topics(to.name))
	eventually(t, "the canary to be refused", kerr.TopicAuthorizationFailed, func() error { return chirp(t, one, canary, leader, to) })
	wantEnd(t, to, 0)
	if n := len(producers(t, to)); n != 0 {
		t.Errorf("the canary left %d producer states", n)
	}
}

// Fact: a broker that does not lead the partition answers the canary with NOT_LEADER_OR_FOLLOWER when the principal may
// write, and TOPIC_AUTHORIZATION_FAILED under a DENY: each broker can be asked whether it has the entry in force.
func TestCanaryIsAnsweredByEveryBroker(t *testing.T) {
	k, err := three()
	if err != nil {
		t.Fatal(err)
	}
	to := newTopic(t, k)
	lead := leaderOf(t, k, to)
	grant(t, k, allow(canary, kadm.OpWrite).Topics(to.name))
	for broker := 1; broker <= 3; broker++ {
		want := kerr.NotLeaderForPartition
		if broker == lead {
			want = kerr.CorruptMessage
		}
		eventually(t, "the canary at a broker", want, func() error { return chirp(t, k, canary, broker, to) })
	}
	grant(t, k, deny("User:"+canary.Name, kadm.OpWrite).Topics(to.name))
	for broker := 1; broker <= 3; broker++ {
		eventually(t, "DENY at a broker", kerr.TopicAuthorizationFailed, func() error { return chirp(t, k, canary, broker, to) })
	}
	if end := logEnd(t, connect(t, k, super), lead, to); end != 0 {
		t.Errorf("log ends at %d after canaries, want 0", end)
	}
}

// leaderOf returns the node id of the leader of the topic's partition, once all three replicas are in sync.
func leaderOf(t *testing.T, k *local.Kafka, of topic) int {
	t.Helper()
	adm := kadm.NewClient(connect(t, k, super))
	var lead int32
	eventually(t, "a leader with three replicas in sync", nil, func() error {
		topics, err := adm.ListTopics(within(t, 2*time.Minute), of.name)
		if err != nil {
			return err
		}
		p := topics[of.name].Partitions[0]
		if p.Err != nil || len(p.ISR) != 3 {
			return kerr.NotEnoughReplicas
		}
		lead = p.Leader
		return nil
	})
	awaitLeader(t, k, int(lead), of)
	return int(lead)
}
