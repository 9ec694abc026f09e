//go:build real

package deploy

import (
	"testing"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

func TestAlertmanagerTakesItsConfiguration(t *testing.T) {
	t.Parallel()
	good(t, local.ToolAmtool, "check-config", file("alertmanager", "alertmanager.yml"))
}

func TestEveryAlertReachesWhomItShould(t *testing.T) {
	t.Parallel()
	config := "--config.file=" + file("alertmanager", "alertmanager.yml")
	to := map[string]string{"critical": "pager,channel", "warning": "channel"}
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		receivers, ok := to[r.Labels["severity"]]
		if !ok {
			t.Errorf("alert %s has the severity %q, which nobody has a route for", r.Alert, r.Labels["severity"])
			continue
		}
		good(t, local.ToolAmtool, "config", "routes", "test", config, "--verify.receivers="+receivers, "alertname="+r.Alert, "severity="+r.Labels["severity"])
	}
	for receivers, labels := range map[string][]string{
		"channel": {"alertname=DrawbridgeNew", "severity=odd"},   // not lost
		"nobody":  {"alertname=DiskFull", "severity=critical"},   // not ours
		"pager":   {"alertname=DrawbridgeSourceDown", "site=up"}, // must not hold: it shows that a wrong receiver is noticed
	} {
		out, err := tool(t, local.ToolAmtool, append([]string{"config", "routes", "test", config, "--verify.receivers=" + receivers}, labels...)...)
		if (err == nil) != (receivers != "pager") {
			t.Errorf("%v to %s: %v\n%s", labels, receivers, err, out)
		}
	}
}
