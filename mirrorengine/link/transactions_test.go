package link

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// begin writes records, each a batch, in a transaction that stays open until end.
func begin(t *testing.T, cl *kgo.Client, topic string, p int32, values ...string) {
	t.Helper()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: p, Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func end(t *testing.T, cl *kgo.Client, commit bool) {
	t.Helper()
	if err := cl.EndTransaction(t.Context(), kgo.TransactionEndTry(commit)); err != nil {
		t.Fatal(err)
	}
}

// transaction writes records in one that ends at once.
func (s *site) transaction(t *testing.T, topic string, commit bool, values ...string) {
	t.Helper()
	cl := newClient(t, s.ListenAddrs(), kgo.TransactionalID("tx-"+values[0]))
	defer cl.Close()
	begin(t, cl, topic, 0, values...)
	end(t, cl, commit)
}

func TestATransactionThatStaysOpenIsNamed(t *testing.T) {
	t.Parallel()
	src, _, m, _ := orders{records: 5}.mirror(t)
	cl := newClient(t, src.ListenAddrs(), kgo.TransactionalID("pay-1"))
	begin(t, cl, "orders", 0, "held")
	src.produce(t, "orders", 0, 5, 3)
	l := linkOf(t, m)
	seen, now := openTransactions{}, time.Now()
	eventually(t, "the transaction is seen", func() error {
		if faults := l.lookAtTransactions(t.Context(), seen, now); len(faults) > 0 {
			t.Fatalf("too soon: %+v", faults)
		}
		if len(seen) != 1 {
			return fmt.Errorf("%+v", seen)
		}
		return nil
	})
	faults := l.lookAtTransactions(t.Context(), seen, now.Add(3*time.Minute))
	text := fmt.Sprint(faults)
	for _, want := range []string{"orders partition 0 is held back at offset 5 for 3m0s", "transactional id pay-1 (Ongoing)", "forceTerminateTransaction --transactionalId pay-1"} {
		if len(faults) != 1 || !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
	if got := gauge(t, m, "drawbridge_open_transaction_seconds"); got != 180 {
		t.Errorf("open for %v s, want 180", got)
	}
	end(t, cl, true)
	awaitLagZero(t, m, src, "orders")
	if faults := l.lookAtTransactions(t.Context(), seen, now.Add(4*time.Minute)); len(faults) > 0 || len(seen) > 0 {
		t.Errorf("%+v %+v", faults, seen)
	}
	if got := gauge(t, m, "drawbridge_open_transaction_seconds"); got != -1 {
		t.Errorf("the series is left at %v", got)
	}
}

func TestATransactionThatNoCoordinatorKnowsComesWithItsEnd(t *testing.T) {
	d := kadm.DescribedProducer{Topic: "orders", Partition: 2, ProducerID: 7}
	listed := kadm.ListedTransactions{
		"other": {TxnID: "other", ProducerID: 8, State: "Ongoing"},
		"done":  {TxnID: "done", ProducerID: 7, State: "CompleteAbort"},
	}
	if got := transactionOf(listed, nil, d, 40); !strings.Contains(got, "known to no coordinator") || !strings.Contains(got, "abort --topic orders --partition 2 --start-offset 40") {
		t.Error(got)
	}
	if got := transactionOf(nil, errors.New("not allowed"), d, 40); !strings.Contains(got, "did not tell its transaction (not allowed)") {
		t.Error(got)
	}
}
