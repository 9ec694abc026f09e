// Package harness runs Drawbridge's own commands as processes on loopback, on
// the clusters and servers of test/local: engines here, the whole system in
// system.go. Tests and `make demo` share it.
//
// It starts and stops; it judges nothing. Start at StartEngine.
package harness
