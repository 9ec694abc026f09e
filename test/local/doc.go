// Package local starts the real parts that Drawbridge lives among (Kafka, Temporal, Consul) as child processes on
// loopback, with free ports, for tests and for `make demo`.
//
// Every child is started by [Start] and ends with the process that started it, however that one ends: explicitly by
// Stop, by Ctrl-C, by a panic or a kill -9 (see [Start] for how, and for what holds outside Linux). Nothing here takes a
// testing.TB: the demo uses the same code. Tests wrap what they start by [TB] helpers such as [KafkaForTest].
//
// It does not configure Drawbridge's own processes and knows nothing of links or runbooks: that is test/harness.
// Start with [StartKafka] for clusters, [Start] for anything else.
package local

import "context"

// TB is the part of testing.TB that the helpers for tests need; spelt out so that the demo, which uses this package too,
// does not link package testing.
type TB interface {
	Helper()
	Cleanup(func())
	Context() context.Context
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
	TempDir() string
	Failed() bool
}
