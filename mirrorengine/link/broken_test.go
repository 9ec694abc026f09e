package link

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

func TestALinkWhoseSecretIsGoneStillFailsOverAndComesBackByItself(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ClusterID("src"), kfake.EnableSASL(), kfake.Superuser("PLAIN", "engine", "s3cret"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cl := newClient(t, c.ListenAddrs(), kgo.SASL(plain.Auth{User: "engine", Pass: "s3cret"}.AsMechanism()))
	src, dst := &site{c, cl, kadm.NewClient(cl)}, newSite(t, "dst")
	src.topic(t, "orders", 1, nil)
	src.topic(t, "other", 1, nil)
	var gone atomic.Bool
	opts := Options{Resolve: func(v string) (string, error) {
		switch {
		case v != "${env:SOURCE}":
			return v, nil
		case gone.Load():
			return "", errors.New("environment variable SOURCE is not set")
		}
		return "s3cret", nil
	}}
	configs := map[string]string{
		"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN",
		"sasl.jaas.config": `org.apache.kafka.common.security.plain.PlainLoginModule required username="engine" password="${env:SOURCE}";`,
	}
	m, stop := newEngineWith(t, dst, opts)
	newTestLink(t, m, src, configs)
	newTestMirror(t, m, "orders")
	newTestMirror(t, m, "other")
	awaitLagZero(t, m, src, "orders")
	stop()

	gone.Store(true)
	src.produce(t, "other", 0, 0, 3)
	m, _ = newEngineWith(t, dst, opts)
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)

	gone.Store(false)
	awaitLagZero(t, m, src, "other")
	if got := values(dst.read(t, "other", 0, 0, 3)); got != "v0 v1 v2" {
		t.Errorf("got %s", got)
	}
}
