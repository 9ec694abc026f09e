package activities

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
)

// What a dead site costs a failover is pauses: a client that has seen its brokers goes round them, longer each time.
func TestADarkSiteIsFencedWithoutPauses(t *testing.T) {
	a, east, cluster, _ := oneCluster(t, local.KFake)
	k, err := a.kafka(east)
	if err != nil {
		t.Fatal(err)
	}
	var pauses atomic.Int32
	client, err := kgo.NewClient(append(cluster.Options(admin), kgo.RequestRetries(4), kgo.RetryBackoffFn(func(int) time.Duration {
		pauses.Add(1)
		return time.Millisecond
	}))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	t.Cleanup(k.client.Close)
	k.client, k.adm = client, kadm.NewClient(client) // in the place of the one that FenceSite would use
	if err := k.reach(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := k.knock(t.Context()); err != nil || pauses.Load() > 0 {
		t.Errorf("it lives: %v, %d pauses", err, pauses.Load())
	}
	if err := cluster.Kill(); err != nil {
		t.Fatal(err)
	}
	in := workflows.FenceSiteInput{Call: call("fence"), Site: east, RegisterAt: east, Topics: []string{"orders"}, Dark: true}
	if got, err := a.FenceSite(t.Context(), in); err != nil || got.Reachable || got.Problem == "" || pauses.Load() > 0 {
		t.Errorf("it is dead, as it was known to be: %+v, %v, %d pauses", got, err, pauses.Load())
	}
	in.Dark = false
	if got, err := a.FenceSite(t.Context(), in); err != nil || got.Reachable || pauses.Load() == 0 {
		t.Errorf("%+v, %v, no pauses: this test shows nothing", got, err)
	}
}

// A site may be back by the time it is to be fenced.
func TestADarkSiteThatIsBackIsHeard(t *testing.T) {
	a, east, k, _ := oneCluster(t, local.KFake)
	site, err := a.kafka(east)
	if err == nil {
		err = site.reach(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	in := workflows.FenceSiteInput{Call: call("fence"), Site: east, RegisterAt: east, Topics: []string{"orders"}, Dark: true}
	if err := k.Kill(); err != nil {
		t.Fatal(err)
	}
	if got, err := a.FenceSite(t.Context(), in); err != nil || got.Reachable || got.Problem == "" {
		t.Errorf("it is away: %+v, %v", got, err)
	}
	if err := k.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := site.knock(t.Context()); err != nil { // connections that it had are dead
		t.Errorf("it is back: %v", err)
	}
}
