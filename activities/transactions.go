package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.temporal.io/sdk/activity"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// OpenTransactions lists what holds last stable offsets back.
func (a *Activities) OpenTransactions(ctx context.Context, in workflows.OpenTransactionsInput) (workflows.OpenTransactionsResult, error) {
	k, err := a.kafka(in.Site)
	if err != nil {
		return workflows.OpenTransactionsResult{}, settle(err)
	}
	open, err := k.transactions(ctx, in.Topics)
	return workflows.OpenTransactionsResult{Open: views(open)}, settle(err)
}

// openTxn is a transaction open on a partition, with what ending it takes.
type openTxn struct {
	runbook.OpenTransaction
	coordinatorEpoch int32
	timeoutMillis    int32 // of its producer; 0 if no coordinator knows it
}

func views(in []openTxn) []runbook.OpenTransaction {
	var out []runbook.OpenTransaction
	for _, t := range in {
		out = append(out, t.OpenTransaction)
	}
	return out
}

// transactions asks the leaders for producers with a transaction, and the
// coordinators whose those are.
func (k *kafka) transactions(ctx context.Context, topics []string) ([]openTxn, error) {
	parts, err := k.topics(ctx, topics...)
	if err != nil {
		return nil, err
	}
	set := kadm.TopicsSet{}
	for t, ps := range parts {
		for p := range ps {
			set.Add(t, p)
		}
	}
	if len(set) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	got, err := k.adm.DescribeProducers(ctx, set)
	if err != nil {
		return nil, fmt.Errorf("producers of site %s: %w", k.site, err)
	}
	var out []openTxn
	var ids []int64
	for _, p := range got.SortedPartitions() {
		if p.Err != nil {
			return nil, fmt.Errorf("producers of %s partition %d at site %s: %w", p.Topic, p.Partition, k.site, p.Err)
		}
		for _, d := range p.ActiveProducers.Sorted() {
			if d.CurrentTxnStartOffset < 0 {
				continue
			}
			out = append(out, openTxn{
				OpenTransaction: runbook.OpenTransaction{
					Topic: p.Topic, Partition: p.Partition, ProducerID: d.ProducerID, ProducerEpoch: d.ProducerEpoch, StartOffset: d.CurrentTxnStartOffset,
				},
				coordinatorEpoch: d.CoordinatorEpoch,
			})
			if !slices.Contains(ids, d.ProducerID) {
				ids = append(ids, d.ProducerID)
			}
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, k.name(ctx, out, ids)
}

// name adds what the coordinators know.
func (k *kafka) name(ctx context.Context, open []openTxn, ids []int64) error {
	listed, err := k.adm.ListTransactions(ctx, ids, nil)
	if err != nil {
		return fmt.Errorf("transactions of site %s: %w", k.site, err)
	}
	if len(listed) == 0 {
		return nil
	}
	var names []string
	for id := range listed {
		names = append(names, id)
	}
	described, err := k.adm.DescribeTransactions(ctx, names...)
	if err != nil {
		return fmt.Errorf("transactions of site %s: %w", k.site, err)
	}
	for i := range open {
		for _, d := range described {
			// A coordinator that shows the producer but no transaction has ended it;
			// what is left on the partition hangs.
			if d.Err != nil || d.ProducerID != open[i].ProducerID || !d.Topics.Lookup(open[i].Topic, open[i].Partition) {
				continue
			}
			open[i].TransactionalID, open[i].timeoutMillis = d.TxnID, d.TimeoutMillis
			if d.StartTimestamp > 0 {
				open[i].Since = time.UnixMilli(d.StartTimestamp).UTC()
			}
		}
	}
	return nil
}

// endWithin bounds the wait for markers after transactions were ended.
const endWithin = 15 * time.Second

// EndTransactions waits Grace, then ends what is open: by its coordinator, as a
// new producer of the same transactional id would (which also shuts the old one
// out); by a marker only where no coordinator knows it, since a coordinator that
// does writes one of its own later, behind the fence. What was ended is evidence:
// what an attempt saw open goes with its heartbeats, so that a later one tells it too.
func (a *Activities) EndTransactions(ctx context.Context, in workflows.EndTransactionsInput) (workflows.OpenTransactionsResult, error) {
	var seen seenOpen
	var earlier []runbook.OpenTransaction
	if activity.IsActivity(ctx) && activity.HasHeartbeatDetails(ctx) && activity.GetHeartbeatDetails(ctx, &earlier) != nil {
		earlier = nil
	}
	known := earlier
	seen.keep(known)
	defer a.beat(ctx, &seen)()
	var out workflows.OpenTransactionsResult
	k, err := a.kafka(in.Site)
	if err != nil {
		return out, settle(err)
	}
	var open []openTxn
	none := func(ctx context.Context) (bool, error) {
		var err error
		if open, err = k.transactions(ctx, in.Topics); err == nil {
			seen.keep(merged(known, views(open)))
		}
		return len(open) == 0, err
	}
	done, err := poll(ctx, in.Grace, none)
	if err != nil || done && len(earlier) == 0 {
		return out, settle(err)
	}
	mine := views(open)
	if !done {
		known = merged(earlier, mine)
		if activity.IsActivity(ctx) { // not at the next beat: this attempt may have failed by then. Of one that is killed the SDK may have kept it back for some 8 s
			activity.RecordHeartbeat(ctx, &seen)
		}
		if err := k.end(ctx, open); err != nil {
			return out, settle(err)
		}
		if _, err = poll(ctx, endWithin, none); err != nil {
			return out, settle(err)
		}
	}
	out.Open = views(open)
	committed, err := k.committed(ctx, earlier)
	if err != nil {
		return out, settle(err)
	}
	for _, t := range known {
		if slices.ContainsFunc(out.Open, sameTxn(t)) || committed[t.TransactionalID] && !slices.ContainsFunc(mine, sameTxn(t)) {
			continue
		}
		out.Ended = append(out.Ended, t)
	}
	a.logger(in.Call).Warn("transactions ended", "site", in.Site.Name, "ended", len(out.Ended), "still_open", len(out.Open))
	return out, nil
}

// seenOpen is what a later attempt has to know of, as of the last look.
type seenOpen struct {
	rows atomic.Pointer[[]runbook.OpenTransaction]
}

func (s *seenOpen) keep(rows []runbook.OpenTransaction) { s.rows.Store(&rows) }

// MarshalJSON writes the rows alone: each heartbeat has those of its time.
func (s *seenOpen) MarshalJSON() ([]byte, error) { return json.Marshal(s.rows.Load()) }

// sameTxn finds a transaction again, of which nobody knows the name once its coordinator has ended it.
func sameTxn(t runbook.OpenTransaction) func(runbook.OpenTransaction) bool {
	return func(o runbook.OpenTransaction) bool {
		return o.Topic == t.Topic && o.Partition == t.Partition && o.ProducerID == t.ProducerID && o.StartOffset == t.StartOffset
	}
}

// merged adds what was not seen before.
func merged(before, now []runbook.OpenTransaction) []runbook.OpenTransaction {
	out := slices.Clone(before)
	for _, t := range now {
		if !slices.ContainsFunc(out, sameTxn(t)) {
			out = append(out, t)
		}
	}
	return out
}

// committed are the transactional ids whose last transaction was committed: nobody but its producer has ended it.
func (k *kafka) committed(ctx context.Context, gone []runbook.OpenTransaction) (map[string]bool, error) {
	var ids []string
	for _, t := range gone {
		if t.TransactionalID != "" && !slices.Contains(ids, t.TransactionalID) {
			ids = append(ids, t.TransactionalID)
		}
	}
	out := map[string]bool{}
	if len(ids) == 0 {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	described, err := k.adm.DescribeTransactions(ctx, ids...)
	if err != nil {
		return nil, fmt.Errorf("transactions of site %s: %w", k.site, err)
	}
	for _, d := range described {
		out[d.TxnID] = d.Err == nil && (d.State == "PrepareCommit" || d.State == "CompleteCommit")
	}
	return out, nil
}

func (k *kafka) end(ctx context.Context, open []openTxn) error {
	var done []string
	before := func() string {
		if len(done) == 0 {
			return ""
		}
		return " (ended before that: " + strings.Join(done, ", ") + ")"
	}
	for _, t := range open {
		if t.TransactionalID == "" {
			if err := k.mark(ctx, t); err != nil {
				return fmt.Errorf("%w%s", err, before())
			}
			continue
		}
		if slices.Contains(done, t.TransactionalID) {
			continue
		}
		if err := k.supersede(ctx, t); err != nil {
			return fmt.Errorf("end transaction %s at site %s (the worker needs WRITE on TRANSACTIONAL_ID): %w%s", t.TransactionalID, k.site, err, before())
		}
		done = append(done, t.TransactionalID)
	}
	return nil
}

// supersede is InitProducerId in the name of the transaction's producer.
func (k *kafka) supersede(ctx context.Context, t openTxn) error {
	_, err := poll(ctx, endWithin, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID = kmsg.StringPtr(t.TransactionalID)
		req.TransactionTimeoutMillis = max(t.timeoutMillis, 1)
		res, err := req.RequestWith(ctx, k.client)
		if err == nil {
			err = kerr.ErrorForCode(res.ErrorCode)
		}
		return err == nil, err
	})
	return err
}

// mark writes an abort marker for a transaction that hangs without coordinator.
func (k *kafka) mark(ctx context.Context, t openTxn) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	set := kadm.TopicsSet{}
	set.Add(t.Topic, t.Partition)
	got, err := k.adm.WriteTxnMarkers(ctx, kadm.TxnMarkers{
		ProducerID: t.ProducerID, ProducerEpoch: t.ProducerEpoch, CoordinatorEpoch: max(t.coordinatorEpoch, 0), Topics: set,
	})
	var errs []error
	got.EachPartition(func(p kadm.TxnMarkersPartitionResponse) { errs = append(errs, p.Err) })
	if err = errors.Join(append(errs, err)...); err != nil {
		return fmt.Errorf("end the hanging transaction of producer %d on %s partition %d at site %s: %w", t.ProducerID, t.Topic, t.Partition, k.site, err)
	}
	return nil
}
