//go:build unix

package supervise

import (
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

// What drctl itself logs in with is not the application's: an application prints its environment, and a core has it.
func TestTheChildGetsNoneOfDrctlsOwnCredentialsUnlessAskedFor(t *testing.T) {
	for _, name := range []string{"CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE", "CONSUL_HTTP_AUTH", "CONSUL_CLIENT_KEY", "DRCTL_KEY", "DRCTL_ENGINE_TOKEN_FILE", "TEMPORAL_API_KEY", "TEMPORAL_TLS_CLIENT_KEY_DATA", "TEMPORAL_GRPC_META_AUTHORIZATION"} {
		t.Setenv(name, "hunter2-"+name)
	}
	t.Setenv("CONSUL_HTTP_ADDR", "there:8500")
	t.Setenv("VAULT_TOKEN", "the-application's")
	const script = `env | grep -c hunter2 >>$LOG; echo "$CONSUL_HTTP_ADDR" "$VAULT_TOKEN" >>$LOG; env | grep hunter2 | sort >>$LOG; trap 'exit 0' TERM; while :; do sleep 0.02; done`
	for name, tc := range map[string]struct {
		pass []string
		want []string
	}{
		"none":      {nil, []string{"0", "there:8500", "the-application's"}},
		"asked for": {[]string{"CONSUL_HTTP_TOKEN", "TEMPORAL_API_KEY"}, []string{"2", "there:8500", "the-application's", "CONSUL_HTTP_TOKEN=hunter2-CONSUL_HTTP_TOKEN", "TEMPORAL_API_KEY=hunter2-TEMPORAL_API_KEY"}},
	} {
		t.Run(name, func(t *testing.T) {
			tr := try(t, script, func(c *Config) { c.Pass = tc.pass })
			tr.show(rec(1, "east", record.Open))
			tr.untilLog(tc.want...)
		})
	}
}

func TestAVariableThatIsPassedOnAnywayIsNotAskedFor(t *testing.T) {
	err := Config{Pair: "orders", Group: "g", Instance: "i", Command: []string{"app"}, KillTimeout: 1, Pass: []string{"DRCTL_KEY", "CONSUL_TOKEN"}}.Validate()
	if err == nil || !strings.Contains(err.Error(), `"CONSUL_TOKEN" is not withheld`) || strings.Contains(err.Error(), `"DRCTL_KEY"`) {
		t.Errorf("%v", err)
	}
}
