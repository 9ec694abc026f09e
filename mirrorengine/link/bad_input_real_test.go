//go:build real

package link

import (
	"testing"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// The broker itself refuses a record without a key where the mirror is compacted
// and its source is not.
func TestANullKeyIntoACompactedMirrorOnApacheKafka(t *testing.T) {
	src := newSite(t, "src")
	for _, topic := range []string{"orders", "others"} {
		src.topic(t, topic, 1, nil)
		src.produce(t, topic, 0, 0, 5) // without keys
	}
	_, dst := apacheSite(t, "compacting")
	m := apacheEngine(t, dst)
	newTestLink(t, m, src, nil)
	newTestMirror(t, m, "others")
	compact := "compact"
	err := m.CreateMirror(t.Context(), "l", api.CreateMirror{
		SourceTopicName: "orders", ReplicationFactor: 1, Configs: []api.NameValue{{Name: "cleanup.policy", Value: &compact}},
	})
	if err != nil {
		t.Fatal(err)
	}
	failedFor(t, m, "a compacted mirror takes no null keys", "source offset 0")
	othersGoOn(t, m, src)
}
