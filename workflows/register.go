package workflows

import "go.temporal.io/sdk/workflow"

// Registry is the part of a worker (or test environment) that takes workflows.
type Registry interface {
	RegisterWorkflowWithOptions(w any, options workflow.RegisterOptions)
}

// Register registers every workflow under its released name.
func Register(r Registry) {
	r.RegisterWorkflowWithOptions(SetUp, workflow.RegisterOptions{Name: NameSetUp})
	r.RegisterWorkflowWithOptions(Failover, workflow.RegisterOptions{Name: NameFailover})
	r.RegisterWorkflowWithOptions(Switchover, workflow.RegisterOptions{Name: NameSwitchover})
	r.RegisterWorkflowWithOptions(RecoverLaggedData, workflow.RegisterOptions{Name: NameRecoverLaggedData})
	r.RegisterWorkflowWithOptions(Failback, workflow.RegisterOptions{Name: NameFailback})
	r.RegisterWorkflowWithOptions(RestoreDR, workflow.RegisterOptions{Name: NameRestoreDR})
	r.RegisterWorkflowWithOptions(Readiness, workflow.RegisterOptions{Name: NameReadiness})
	r.RegisterWorkflowWithOptions(Debt, workflow.RegisterOptions{Name: NameDebt})
	r.RegisterWorkflowWithOptions(Drill, workflow.RegisterOptions{Name: NameDrill})
	r.RegisterWorkflowWithOptions(CanaryDrill, workflow.RegisterOptions{Name: NameCanaryDrill})
	r.RegisterWorkflowWithOptions(Unfence, workflow.RegisterOptions{Name: NameUnfence})
}
