// Package sightless is the workflows' world while the active site is lost and nobody acts: what commands and the bot are tried on
// with a real Temporal and the real workflows, without Kafka, engines and Consul.
package sightless

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Steps see a lost east and change nothing: enough for the real Failover to reach its approval, and to end denied. Every other
// step fails, so no test passes by a step that nobody meant to run.
type Steps struct {
	workflows.Steps
	plan plan.Plan
	Hash string // of the plan; a field, since whoever registers the steps takes each exported method for one
}

// New are the steps of a worker that goes by p.
func New(p plan.Plan) (*Steps, error) {
	hash, err := p.Hash()
	return &Steps{plan: p, Hash: hash}, err
}

// Record is what west's Consul has.
func Record() record.Record {
	return record.Record{
		Pair: "orders", Mode: record.ActivePassive, Phase: record.Open, Epoch: 3, PrevEpoch: 2, Active: []string{"east"}, Standby: []string{"west"},
		Bootstrap: map[string][]string{"east": {"e1:1"}, "west": {"w1:2"}}, OpID: "op-east", ChangedAt: time.Unix(1700000000, 0), ChangedBy: "test",
	}.Normalised()
}

// Topic is the one that lags, by three records.
const Topic = "dr-topic"

// LoadPlan gives the plan to whoever has the same, or names none.
func (s *Steps) LoadPlan(_ context.Context, in workflows.LoadPlanInput) (out workflows.LoadPlanResult, err error) {
	if in.PlanHash != "" && in.PlanHash != s.Hash {
		return out, temporal.NewNonRetryableApplicationError(fmt.Sprintf("the plan's hash is %s here, %s was sent", s.Hash, in.PlanHash), workflows.ErrPlanDiffers, nil)
	}
	raw, err := json.Marshal(s.plan)
	if err != nil {
		return out, err
	}
	out.Hash = s.Hash
	return out, json.Unmarshal(raw, &out.Plan)
}

// VerifySignature is the real one.
func (s *Steps) VerifySignature(_ context.Context, in workflows.VerifySignatureInput) (out workflows.VerifySignatureResult, _ error) {
	who, err := plan.Verify(s.plan.People, s.plan.Bot, plan.Approval(in.Command))
	if err != nil {
		return workflows.VerifySignatureResult{Problem: err.Error()}, nil
	}
	return workflows.VerifySignatureResult{Valid: true, By: who.Name, Roles: who.Roles}, nil
}

// ReadRecord finds east silent, and Record at west.
func (s *Steps) ReadRecord(context.Context, workflows.ReadRecordInput) (workflows.ReadRecordResult, error) {
	r := Record()
	return workflows.ReadRecordResult{
		Copies:  []runbook.RecordCopy{{Site: "east", Problem: "no answer"}, {Site: "west", Reachable: true, Record: &r}},
		Engines: []runbook.EngineTruth{{Site: "east", Problem: "no answer"}, {Site: "west", Reachable: true, HighestEpoch: 3}},
	}, nil
}

// AttestOutage: neither the worker nor the engine at west reaches east.
func (s *Steps) AttestOutage(context.Context, workflows.AttestOutageInput) (workflows.AttestOutageResult, error) {
	return workflows.AttestOutageResult{Vantages: []runbook.Vantage{{From: "worker", Known: true}, {From: "engine west", Known: true}}}, nil
}

// MeasureRisk: Topic lags.
func (s *Steps) MeasureRisk(context.Context, workflows.MeasureRiskInput) (workflows.MeasureRiskResult, error) {
	return workflows.MeasureRiskResult{Risk: runbook.Risk{
		Link: "east-to-west", Now: time.Now(), LastContact: time.Now(),
		Partitions: []runbook.PartitionRisk{{Topic: Topic, Status: "ACTIVE", LagRecords: 3, SourceSeen: true, SourcePosition: 10}},
	}}, nil
}

// PastRuns: there were none.
func (s *Steps) PastRuns(context.Context, workflows.PastRunsInput) (workflows.PastRunsResult, error) {
	return workflows.PastRunsResult{}, nil
}

// InspectPipeline finds none.
func (s *Steps) InspectPipeline(context.Context, workflows.InspectPipelineInput) (workflows.InspectPipelineResult, error) {
	return workflows.InspectPipelineResult{}, nil
}

// SaveReport keeps nothing, and names a file all the same.
func (s *Steps) SaveReport(context.Context, workflows.SaveReportInput) (workflows.SaveReportResult, error) {
	return workflows.SaveReportResult{Markdown: "reports/report.md"}, nil
}
