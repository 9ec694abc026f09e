package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Run is one failover by the runbook. Times are from the moment in which the approval was sent.
type Run struct {
	Size       string `json:"size"`
	Repeat     int    `json:"repeat"`
	Topics     int    `json:"topics"`
	Partitions int    `json:"partitions"` // of all topics
	Outcome    string `json:"outcome"`
	// ApprovalMillis is how long the run took from its start until it asked, that is to find out that the site is lost and what
	// that costs. No part of the others.
	ApprovalMillis float64 `json:"until_asked_ms"`
	// WritableMillis until an application outside could write to the samples.
	WritableMillis float64 `json:"writable_ms"`
	// ClientMillis until the pair's client, which follows the record, had written and read at the standby.
	ClientMillis float64 `json:"client_moved_ms"`
	// ProvenMillis until the run had proof in Kafka that the clients moved.
	ProvenMillis float64 `json:"proven_moved_ms"`
	// EndMillis until the run ended, report kept, locks given back.
	EndMillis float64 `json:"end_ms"`

	Overhead
	Waves    int               `json:"waves"`
	Steps    []Step            `json:"steps"` // behind the approval
	Segments []runbook.Segment `json:"rto_segments"`
}

// Step is a row of the report behind the approval.
type Step struct {
	Name   string `json:"name"`
	Millis int64  `json:"ms"`
}

// runbook fails the stage over by the runbook.
func (s *stage) runbook(ctx context.Context) (Run, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	out := Run{Size: s.size.Name, Topics: s.size.Topics, Partitions: s.size.Topics * s.size.Partitions}
	c, err := s.Temporal.Dial(ctx)
	if err != nil {
		return out, err
	}
	defer c.Close()
	app, err := s.follow(ctx)
	if err != nil {
		return out, err
	}
	defer app.close()

	began := time.Now()
	var started struct {
		RunID string `json:"run_id"`
	}
	if err := s.Drctl.JSON(ctx, &started, "failover", s.Pair(), "--detach", "--yes="+s.Pair()); err != nil {
		return out, err
	}
	asked, err := s.asked(ctx, c, started.RunID)
	if err != nil {
		return out, err
	}
	out.ApprovalMillis = millis(time.Since(began))

	var writable time.Time
	probe := make(chan error, 1)
	go func() { probe <- s.writable(ctx, &writable) }()
	approved := time.Now()
	if err := s.approve(ctx, c, asked); err != nil {
		cancel()
		return out, errors.Join(err, <-probe)
	}
	var res workflows.Result
	if err := s.ended(ctx, c, started.RunID, &res); err != nil {
		cancel()
		return out, errors.Join(err, <-probe)
	}
	out.EndMillis = millis(time.Since(approved))
	if err := errors.Join(<-probe, s.right(ctx, res)); err != nil {
		return out, err
	}
	out.WritableMillis = millis(writable.Sub(approved))
	moved, err := app.moved(ctx)
	if err != nil {
		return out, err
	}
	out.ClientMillis = millis(moved.Sub(approved))
	out.Outcome, out.Segments = res.Outcome, res.Report.RTO
	for _, l := range res.Report.Steps[len(asked.Steps):] {
		out.Steps = append(out.Steps, Step{l.Name, l.Millis})
		if strings.HasPrefix(l.Name, wave) {
			out.Waves++
		}
		if l.Name == "move clients" {
			out.ProvenMillis = millis(l.Ended.Sub(approved))
		}
	}
	out.Overhead, err = overhead(ctx, c, started.RunID, s.Pair(), approved, len(out.Steps))
	return out, err
}

// wave begins the names of the steps of which there are more when there are more topics.
const wave = "fail over wave "

// asked waits until the run asks for an approval.
func (s *stage) asked(ctx context.Context, c client.Client, run string) (st workflows.Status, err error) {
	err = local.WaitFor(ctx, "the run to ask for an approval", func(ctx context.Context) error {
		v, err := c.QueryWorkflow(ctx, workflows.ID(s.Pair()), run, workflows.QueryStatus)
		if err != nil {
			return err
		}
		st = workflows.Status{}
		if err := v.Get(&st); err != nil {
			return err
		}
		if st.Waiting == nil || st.Waiting.For != workflows.WaitApproval {
			return fmt.Errorf("phase %s", st.Phase)
		}
		return nil
	})
	return st, err
}

// ended waits for the run's end. A run that asks a person again cannot be measured: people are not.
func (s *stage) ended(ctx context.Context, c client.Client, run string, res *workflows.Result) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		tick := time.NewTicker(5 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			var st workflows.Status
			if v, err := c.QueryWorkflow(ctx, workflows.ID(s.Pair()), run, workflows.QueryStatus); err == nil && v.Get(&st) == nil && st.Waiting != nil {
				cancel(fmt.Errorf("the run waits for %s: %s", st.Waiting.For, st.Waiting.Text))
			}
		}
	}()
	if err := c.GetWorkflow(ctx, workflows.ID(s.Pair()), run).Get(ctx, res); err != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	return nil
}

// approve does what drctl approve does, without starting a process.
func (s *stage) approve(ctx context.Context, c client.Client, st workflows.Status) error {
	raw, err := os.ReadFile(s.Key(harness.Approver))
	if err != nil {
		return err
	}
	var file struct {
		PrivateKey string `json:"private_key"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return err
	}
	var key ed25519.PrivateKey
	if key, err = plan.ParsePrivate(file.PrivateKey); err != nil {
		return err
	}
	signed, err := plan.Sign(key, plan.Approval(runbook.Command{
		OpID: st.OpID, Pair: st.Pair, Operation: st.Operation, Epoch: st.Epoch, PlanHash: st.PlanHash, Decision: runbook.Approve,
		By: harness.Approver, Reason: "measured", Question: st.Waiting.Question, Overrides: st.Waiting.Overrides, Expires: time.Now().Add(10 * time.Minute),
	}))
	if err != nil {
		return err
	}
	h, err := c.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: workflows.ID(s.Pair()), UpdateName: workflows.UpdateApprove, Args: []any{runbook.Command(signed)},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err != nil {
		return fmt.Errorf("approve: %w", err)
	}
	var ack workflows.Ack
	return h.Get(ctx, &ack)
}

// right insists that the failover did all of it: a fast one that left something is no measurement.
func (s *stage) right(ctx context.Context, res workflows.Result) error {
	r := res.Report
	if len(res.Active) != 1 || res.Active[0] != s.Standby.Name || res.Epoch != 2 {
		return fmt.Errorf("the failover ended as %q with %v active at epoch %d: %s", res.Outcome, res.Active, res.Epoch, r.Error)
	}
	for _, l := range r.Steps {
		if l.State != runbook.StateDone {
			return fmt.Errorf("step %q of the failover is %s: %s", l.Name, l.State, l.Detail)
		}
	}
	for _, g := range r.Clients {
		if !g.Moved {
			return fmt.Errorf("group %s is not proven to have moved: %+v", g.Group, g)
		}
	}
	n, err := s.stopped(ctx)
	if err != nil {
		return err
	}
	if n != len(s.topics) {
		return fmt.Errorf("%d of %d mirrors are STOPPED", n, len(s.topics))
	}
	return s.allWritable(ctx)
}
