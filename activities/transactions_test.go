package activities

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// openAt begins a transaction for each id on topic orders of a cluster that has one broker.
func openAt(t *testing.T, ids ...string) (*kfake.Cluster, workflows.EndTransactionsInput, map[string]*kgo.Client) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	producers := map[string]*kgo.Client{}
	for _, id := range ids {
		p, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.TransactionalID(id), kgo.DefaultProduceTopic("orders"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		if err := p.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := p.ProduceSync(t.Context(), &kgo.Record{Value: []byte(id)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		producers[id] = p
	}
	site := runbook.Site{Name: "east", Kafka: runbook.Kafka{Bootstrap: cluster.ListenAddrs(), Security: runbook.Security{Protocol: "PLAINTEXT"}}}
	return cluster, workflows.EndTransactionsInput{Call: call("end"), Site: site, Topics: []string{"orders"}}, producers
}

// attempt is one of EndTransactions, behind one that left details; last are its own.
func attempt(t *testing.T, a *Activities, in workflows.EndTransactionsInput, details any) (ended []string, last []runbook.OpenTransaction, err error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivity(a)
	if details != nil {
		env.SetHeartbeatDetails(details)
	}
	env.SetOnActivityHeartbeatListener(func(_ *activity.Info, v converter.EncodedValues) {
		var rows []runbook.OpenTransaction
		if err := v.Get(&rows); err != nil {
			t.Errorf("details of a heartbeat: %v", err)
		}
		last = rows
	})
	val, err := env.ExecuteActivity("EndTransactions", in)
	if err != nil {
		return nil, last, err
	}
	var got workflows.OpenTransactionsResult
	if err := val.Get(&got); err != nil || len(got.Open) > 0 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, o := range got.Ended {
		ended = append(ended, o.TransactionalID)
	}
	slices.Sort(ended)
	return ended, last, nil
}

// Transactions that were ended are evidence: an attempt that fails behind its first ones is tried again.
func TestWhatAnEarlierAttemptEndedIsToldByTheNext(t *testing.T) {
	cluster, in, _ := openAt(t, "billing", "checkout", "refunds")
	a := newActivities(t, Options{})
	asked := 0
	cluster.ControlKey(kmsg.InitProducerID.Int16(), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		req, ok := kreq.(*kmsg.InitProducerIDRequest)
		if asked++; !ok || asked != 3 {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		res.ErrorCode = kerr.TransactionalIDAuthorizationFailed.Code
		return res, nil, true
	})
	_, seen, err := attempt(t, a, in, nil)
	if len(seen) != 3 || err == nil {
		t.Fatalf("the next attempt is told of %+v; the first: %v", seen, err)
	}
	if text := err.Error(); !strings.Contains(text, "end transaction "+seen[2].TransactionalID) || !strings.Contains(text, "ended before that: "+seen[0].TransactionalID+", "+seen[1].TransactionalID) {
		t.Errorf("the first attempt: %s", text)
	}
	got, _, err := attempt(t, a, in, seen)
	if err != nil || !slices.Equal(got, []string{"billing", "checkout", "refunds"}) {
		t.Errorf("the second attempt ended %v, %v", got, err)
	}
}

// A worker that is killed behind the act says nothing of it; what the next one finds gone is told, but for what its producer
// has committed meanwhile.
func TestWhatAKilledWorkerEndedIsTold(t *testing.T) {
	cluster, in, producers := openAt(t, "billing", "checkout")
	a := newActivities(t, Options{})
	open, err := a.OpenTransactions(t.Context(), workflows.OpenTransactionsInput{Call: call("list"), Site: in.Site, Topics: in.Topics})
	if err != nil || len(open.Open) != 2 {
		t.Fatalf("%+v, %v", open, err)
	}
	if err := producers["checkout"].EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if _, err := a.EndTransactions(t.Context(), in); err != nil { // the killed one
		t.Fatal(err)
	}
	cluster.ControlKey(kmsg.DescribeTransactions.Int16(), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		req, ok := kreq.(*kmsg.DescribeTransactionsRequest)
		if !ok {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.DescribeTransactionsResponse) // as Kafka says it; kfake calls all that is over Empty
		for _, id := range req.TransactionalIDs {
			st := kmsg.NewDescribeTransactionsResponseTransactionState()
			st.TransactionalID, st.State = id, "Empty"
			if id == "checkout" {
				st.State = "CompleteCommit"
			}
			res.TransactionStates = append(res.TransactionStates, st)
		}
		return res, nil, true
	})
	got, _, err := attempt(t, a, in, open.Open)
	if err != nil || !slices.Equal(got, []string{"billing"}) {
		t.Errorf("ended %v, %v", got, err)
	}
}
