// Package runbook is the judgement of the runbooks: facts in, verdicts with
// reasons out. Outage gate, forecast, approvals, fence level, flip rule, debts,
// ledger, the dry run's step list and the report.
//
// It is pure: no clock, no client, no Temporal, no plan file; standard library
// and client/record only. Workflow code calls it, so that every function must
// give the same answer for the same input. Start at topology.go (what the
// facts are about) and gate.go.
package runbook
