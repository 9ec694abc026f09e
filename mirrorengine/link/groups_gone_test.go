package link

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// What each of these does to the source makes its groups' commits on the topic look
// deleted. They are what the standby's consumers will begin from.
func TestGroupOffsetsStayWhenTheSourceLosesTheirTopic(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		lose func(*testing.T, *site)
		told string // what the sync says of it
	}{
		"deleted": {func(t *testing.T, src *site) {
			if _, err := src.adm.DeleteTopic(t.Context(), "orders"); err != nil {
				t.Fatal(err)
			}
		}, "UNKNOWN_TOPIC_OR_PARTITION"},
		"not to be described any more": {func(t *testing.T, src *site) {
			src.ControlKey(int16(kmsg.OffsetFetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
				src.KeepControl()
				req := kreq.(*kmsg.OffsetFetchRequest)
				res := req.ResponseKind().(*kmsg.OffsetFetchResponse)
				for _, g := range req.Groups {
					rg := kmsg.NewOffsetFetchResponseGroup()
					rg.Group = g.Group
					res.Groups = append(res.Groups, rg)
				}
				return res, nil, true
			})
			src.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "orders", Err: kerr.TopicAuthorizationFailed, Count: -1})
		}, "needs DESCRIBE on TOPIC orders of the source cluster"},
		"with its cluster, another and empty one answers": {func(t *testing.T, src *site) {
			var port int
			if _, err := fmt.Sscanf(src.ListenAddrs()[0], "127.0.0.1:%d", &port); err != nil {
				t.Fatal(err)
			}
			src.Close()
			newSite(t, "other", kfake.Ports(port))
		}, "bootstrap.servers lead to cluster other"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst, m := mirrored(t, 10)
			alter(t, m, api.VerbPause, "orders")
			src.produce(t, "orders", 0, 10, 10)
			src.commit(t, "app", "orders", 0, 5)
			src.commit(t, "ahead", "orders", 0, 17)
			syncNow(t, m)
			alter(t, m, api.VerbResume, "orders")
			awaitLagZero(t, m, src, "orders")
			awaitStatus(t, m, "orders", status.Active)
			c.lose(t, src)
			var got map[groupAt]api.GroupState
			eventually(t, "the source tells its groups again", func() error { // a new cluster needs a connection
				res, err := m.SyncGroups(t.Context(), "l")
				got = byGroup(res)
				return err
			})
			if s := got[groupAt{"app", "orders", 0}]; s.SourceOffset != 5 || s.DestOffset != 5 || !strings.Contains(s.Problem, c.told) {
				t.Errorf("%+v", s)
			}
			dst.expectCommit(t, "app", "orders", 0, 5)
			dst.expectCommit(t, "ahead", "orders", 0, 10)
			alter(t, m, api.VerbFailover, "orders")
			awaitStatus(t, m, "orders", status.Stopped)
			dst.expectCommit(t, "app", "orders", 0, 5)
			dst.expectCommit(t, "app", "orders", 1, 0)
			dst.expectCommit(t, "ahead", "orders", 0, 17) // the raw offset that was told last
		})
	}
}

// The same name is not the same topic: what its groups lack says nothing of the mirror's.
func TestASourceTopicStandsOnlyAsTheOneThatIsMirrored(t *testing.T) {
	rec := mirrorRecord{SourceTopic: "orders", SourceTopicID: idString([16]byte{1})}
	answer := func(cluster string, topics ...kmsg.MetadataResponseTopic) *kmsg.MetadataResponse {
		return &kmsg.MetadataResponse{ClusterID: &cluster, Topics: topics}
	}
	topic := func(name string, id byte, code int16) kmsg.MetadataResponseTopic {
		return kmsg.MetadataResponseTopic{Topic: &name, TopicID: [16]byte{id}, ErrorCode: code}
	}
	l := &Link{rec: linkRecord{SourceClusterID: "src"}}
	for want, answer := range map[string]*kmsg.MetadataResponse{
		"":                           answer("src", topic("other", 2, 0), topic("orders", 1, 0)),
		"lead to cluster other":      answer("other", topic("orders", 1, 0)),
		"lead to cluster , the link": {Topics: []kmsg.MetadataResponseTopic{topic("orders", 1, 0)}},
		"was deleted and made anew":  answer("src", topic("orders", 2, 0)),
		"UNKNOWN_TOPIC":              answer("src", topic("orders", 0, kerr.UnknownTopicOrPartition.Code)),
		"left it out of its answer":  answer("src", topic("other", 1, 0)),
	} {
		if err := l.sourceStands(rec, answer); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
