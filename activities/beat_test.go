package activities

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Some steps that are short as a rule are started as undo or as a best effort too, and
// those must heartbeat: at a server that hangs they would else be tried again beside
// themselves, and the reason told would be a heartbeat that did not come.
func TestShortStepsHeartbeatToo(t *testing.T) {
	nobody := nobodyThere(t)
	site := runbook.Site{Name: "east", Engine: runbook.Engine{URL: "http://" + nobody}, Consul: runbook.Consul{Address: nobody}}
	site.Kafka.Bootstrap = []string{nobody}
	link := runbook.Link{Name: "there", Source: "west", Destination: "east"}
	in := map[string]any{
		"EngineUnlock": workflows.EngineLockInput{Call: call("unlock"), Site: site},
		"ReadRecord":   workflows.ReadRecordInput{Call: call("read"), Sites: []runbook.Site{site}},
		"WriteRecord":  workflows.WriteRecordInput{Call: call("write"), Kind: workflows.WriteLock, Site: site, Record: aRecord(2, "x", "east")},
		"MeasureRisk":  workflows.MeasureRiskInput{Call: call("risk"), Site: site, Link: link},
		// Its first look, at ten thousand groups or a slow cluster, takes longer than a heartbeat may stay away.
		"AwaitClientsMoved": workflows.AwaitClientsMovedInput{Call: call("clients"), Old: site, New: site, Groups: []string{"g"}, Topics: []string{"orders"}},
	}
	for name, in := range in {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var suite testsuite.WorkflowTestSuite
			env := suite.NewTestActivityEnvironment()
			env.SetTestTimeout(20 * time.Second)
			var beats atomic.Int32
			env.SetOnActivityHeartbeatListener(func(*activity.Info, converter.EncodedValues) { beats.Add(1) })
			env.RegisterActivity(newActivities(t, Options{}))
			_, err := env.ExecuteActivity(name, in)
			var app *temporal.ApplicationError
			if errors.As(err, &app) && app.NonRetryable() {
				t.Fatalf("it did not get as far as the server: %v", err)
			}
			if beats.Load() == 0 {
				t.Errorf("no heartbeat: %v", err)
			}
		})
	}
}
