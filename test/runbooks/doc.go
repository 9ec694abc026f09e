// Package runbooks has the fault tests of the whole system: real Temporal, two
// Consuls, two Kafka clusters, two engines, a worker and drctl, each a process
// that is killed, paused or lied to while a runbook is under way.
//
// It does not test what a part does alone; that is beside the part. Clusters,
// Consuls, Temporal and engines are shared by the tests, each test has pairs of
// its own. Tests that end a shared server are not parallel: go runs those that
// are after them. Start at pair_test.go.
package runbooks
