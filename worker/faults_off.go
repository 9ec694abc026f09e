//go:build !faults

package worker

import "go.temporal.io/sdk/interceptor"

// faults are none in every real build. Tests build the worker with the tag
// "faults" to end it in the middle of a step.
func faults() []interceptor.WorkerInterceptor { return nil }
