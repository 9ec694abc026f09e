// Package workflows tells the runbooks as durable stories: SetUp, Failover,
// Switchover, RecoverLaggedData, Failback, RestoreDR, Drill and Unfence, each a Temporal workflow
// whose verbs stand in runbook order.
//
// It judges nothing itself (package runbook does) and touches nothing (package
// activities does, through Steps). Everything here must be deterministic: no
// clock but workflow.Now, no map ranged, no goroutine but workflow.Go.
//
// Start at failover.go, then steps.go (the seam to the activities),
// messages.go (what people see and send), story.go (how a step is run) and
// undo.go.
package workflows
