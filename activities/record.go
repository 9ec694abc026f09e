package activities

import (
	"context"
	"fmt"
	"slices"
	"sync"

	consul "github.com/hashicorp/consul/api"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// ReadRecord asks both Consuls and both engines at the same time.
func (a *Activities) ReadRecord(ctx context.Context, in workflows.ReadRecordInput) (workflows.ReadRecordResult, error) {
	defer a.beat(ctx)()
	out := workflows.ReadRecordResult{
		Copies:  make([]runbook.RecordCopy, len(in.Sites)),
		Engines: make([]runbook.EngineTruth, len(in.Sites)),
	}
	holds := make([][]runbook.HoldCopy, len(in.Sites))
	var wg sync.WaitGroup
	for i, s := range in.Sites {
		wg.Go(func() { holds[i] = a.holdsAt(ctx, in.Call.Pair, s) })
		wg.Go(func() { out.Copies[i] = a.recordAt(ctx, in.Call.Pair, s) })
		wg.Go(func() { out.Engines[i] = a.lockAt(ctx, in.Call.Pair, s) })
	}
	wg.Wait()
	out.Holds = slices.Concat(holds...)
	return out, ctx.Err()
}

func (a *Activities) recordAt(ctx context.Context, pair string, s runbook.Site) runbook.RecordCopy {
	out := runbook.RecordCopy{Site: s.Name}
	have, err := a.read(ctx, pair, s)
	if err != nil {
		out.Problem = err.Error()
		return out
	}
	out.Reachable = true
	if have.damage != nil {
		out.Damaged, out.Problem = true, have.damage.Error()
	}
	out.Record, out.Retention = have.record, have.retention
	return out
}

func (a *Activities) lockAt(ctx context.Context, pair string, s runbook.Site) runbook.EngineTruth {
	out := runbook.EngineTruth{Site: s.Name}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	e, err := a.engine(s)
	if err == nil {
		var lock api.Lock
		if lock, err = e.Lock(ctx, pair); err == nil {
			out.Reachable, out.HighestEpoch, out.Lock = true, lock.HighestEpoch, lockOf(lock)
			return out
		}
	}
	out.Problem = err.Error()
	return out
}

// lockOf is an engine's lock as the record has it, nil for none.
func lockOf(l api.Lock) *record.Lock {
	if l.OperationID == "" {
		return nil
	}
	return &record.Lock{OpID: l.OperationID, Operation: l.Operation, Since: l.Since}
}

// stand is what a site's Consul holds for a pair.
type stand struct {
	record *record.Record // nil: no key, or damaged
	damage error
	body   []byte // of the key, as it stands
	index  uint64 // ModifyIndex of the key, 0 without one
	plain  [2]string

	retention []runbook.HeldRetention
}

// read reads the three keys by one consistent list, so that they belong
// together.
func (a *Activities) read(ctx context.Context, pair string, s runbook.Site) (stand, error) {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	c, token, err := a.consul(s)
	if err != nil {
		return stand{}, err
	}
	keys := record.KeysOf(pair)
	opts := &consul.QueryOptions{RequireConsistent: true, Token: token}
	list, _, err := c.KV().List("drawbridge/"+pair+"/", opts.WithContext(ctx))
	if err != nil {
		return stand{}, fmt.Errorf("read the record of pair %s in the consul of %s: %w", pair, s.Name, err)
	}
	var out stand
	var notes []*heldPart
	for _, kv := range list {
		switch kv.Key {
		case keys.Active:
			out.index, out.body = kv.ModifyIndex, kv.Value
			r, err := record.Unmarshal(kv.Value)
			if err != nil {
				out.damage = fmt.Errorf("key %s in the consul of %s: %w", keys.Active, s.Name, err)
				continue
			}
			out.record = &r
		case keys.Bootstrap:
			out.plain[0] = string(kv.Value)
		case keys.Security:
			out.plain[1] = string(kv.Value)
		}
		if n, ok := notedIn(pair, kv); ok {
			notes = append(notes, n)
		}
	}
	out.retention = heldLines(notes)
	return out, nil
}

// has tells whether a record and its plain keys stand there already.
func (s stand) has(r record.Record) bool {
	return s.record != nil && s.record.SHA256 == r.SHA256 &&
		s.plain == [2]string{r.PlainBootstrap(), r.PlainSecurity()}
}

// may tells why a record must not be written over what stands there; "" if it
// may.
func (s stand) may(in workflows.WriteRecordInput) string {
	switch {
	case s.record != nil && s.record.SHA256 == in.Record.SHA256:
		return "" // only the plain keys are missing
	case in.Follow && s.record != nil:
		switch rel := record.Compare(*s.record, in.Record); rel {
		case record.Newer, record.SplitBrain:
			return fmt.Sprintf("what stands there is %s: %s", rel, describe(*s.record))
		case record.Same, record.Older, record.StaleCopy:
			return ""
		}
	case in.Follow:
		return "" // no key, or a damaged copy
	case s.damage != nil:
		return s.damage.Error()
	case s.record == nil && in.Base == "":
		return ""
	case s.record == nil:
		return "the key is gone"
	case s.record.SHA256 == in.Base:
		return ""
	}
	return "somebody changed it: " + describe(*s.record)
}

func describe(r record.Record) string {
	text := fmt.Sprintf("epoch %d made by %s, active %v, phase %s, changed by %s at %s", r.Epoch, r.OpID, r.Active, r.Phase, r.ChangedBy, r.ChangedAt.Format("2006-01-02 15:04:05Z"))
	if r.Lock != nil {
		text += fmt.Sprintf(", locked by %s %s", r.Lock.Operation, r.Lock.OpID)
	}
	return text
}

// WriteRecord looks, writes the three keys by one transaction that checks the
// ModifyIndex just read, and looks again where the answer was lost.
func (a *Activities) WriteRecord(ctx context.Context, in workflows.WriteRecordInput) (workflows.WriteRecordResult, error) {
	defer a.beat(ctx)()
	in.Record = in.Record.Normalised()
	body, err := record.Marshal(in.Record)
	if err != nil {
		return workflows.WriteRecordResult{}, refuse(workflows.ErrRefused, "the record of pair %s cannot be written: %v", in.Call.Pair, err)
	}
	if in.Record.Pair != in.Call.Pair {
		return workflows.WriteRecordResult{}, refuse(workflows.ErrRefused, "the record is of pair %s, the run of pair %s", in.Record.Pair, in.Call.Pair)
	}
	have, err := a.read(ctx, in.Call.Pair, in.Site)
	if err != nil {
		return workflows.WriteRecordResult{}, settle(err)
	}
	if have.has(in.Record) {
		return workflows.WriteRecordResult{ModifyIndex: have.index, SHA256: in.Record.SHA256}, nil
	}
	if why := have.may(in); why != "" {
		return workflows.WriteRecordResult{}, a.conflict(in, why)
	}
	werr := a.write(ctx, in, body, have.index)
	// The second look is the result, whatever the answer was: a lost answer does
	// not tell, and a refused index may be our own earlier write.
	now, err := a.read(ctx, in.Call.Pair, in.Site)
	switch {
	case err != nil && werr != nil:
		return workflows.WriteRecordResult{}, settle(fmt.Errorf("write the record of pair %s to the consul of %s: whether it stands there is not known: %w", in.Call.Pair, in.Site.Name, werr))
	case err != nil:
		return workflows.WriteRecordResult{}, settle(err)
	case now.has(in.Record):
		a.logger(in.Call).Info("record of truth written", "site", in.Site.Name, "kind", in.Kind, "epoch", in.Record.Epoch, "phase", in.Record.Phase)
		return workflows.WriteRecordResult{Changed: true, ModifyIndex: now.index, SHA256: in.Record.SHA256}, nil
	case werr != nil && now.index == have.index:
		return workflows.WriteRecordResult{}, settle(werr)
	}
	if why := now.may(in); why != "" {
		return workflows.WriteRecordResult{}, a.conflict(in, why)
	}
	return workflows.WriteRecordResult{}, notYet("the record of pair %s in the consul of %s changed while it was written; look again", in.Call.Pair, in.Site.Name)
}

func (a *Activities) conflict(in workflows.WriteRecordInput, why string) error {
	return refuse(workflows.ErrEpochConflict, "the record of pair %s in the consul of %s is not what this run believed, nothing was written: %s", in.Call.Pair, in.Site.Name, why)
}

func (a *Activities) write(ctx context.Context, in workflows.WriteRecordInput, body []byte, index uint64) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	c, token, err := a.consul(in.Site)
	if err != nil {
		return err
	}
	keys := record.KeysOf(in.Call.Pair)
	ops := consul.TxnOps{
		// Index 0 writes only where no key is.
		{KV: &consul.KVTxnOp{Verb: consul.KVCAS, Key: keys.Active, Value: body, Index: index}},
		{KV: &consul.KVTxnOp{Verb: consul.KVSet, Key: keys.Bootstrap, Value: []byte(in.Record.PlainBootstrap())}},
		{KV: &consul.KVTxnOp{Verb: consul.KVSet, Key: keys.Security, Value: []byte(in.Record.PlainSecurity())}},
	}
	ok, res, _, err := c.Txn().Txn(ops, (&consul.QueryOptions{Token: token}).WithContext(ctx))
	if err != nil {
		return fmt.Errorf("write the record to the consul of %s: %w", in.Site.Name, err)
	}
	if !ok {
		text := "refused"
		if len(res.Errors) > 0 {
			text = res.Errors[0].What
		}
		return fmt.Errorf("write the record to the consul of %s: %s", in.Site.Name, text)
	}
	return nil
}
