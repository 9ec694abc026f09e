// Package clients are the demo's sample applications: a producer that numbers
// every attempt, and a member of a consumer group. Each runs as a child of
// `drctl exec`, from which it has its servers (DRAWBRIDGE_BOOTSTRAP) and its
// login, and knows nothing of Drawbridge: what it is told to do, what was
// acknowledged and what it got stand in files, so that it can be killed at any
// time and go on.
//
// It judges nothing: package check does, from the same files. Start at Produce
// and Consume.
package clients
