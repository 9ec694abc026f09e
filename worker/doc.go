// Package worker runs the runbooks: it connects to Temporal, registers the
// workflows with the activities behind them, and tells how it is.
//
// It holds no truth on its disk and listens only for /healthz, /readyz and
// /metrics; commands come by way of Temporal. Any number of workers may run on
// one task queue. Start at Config and New.
package worker
