// Package operator is what a person can do with a runbook, in one meaning for the command line and the chat bot: start an
// operation on a pair, answer what a run asks (approve, deny, retry, skip, abort, decide), see and follow it, and get its
// result.
//
// It signs what people say, with their own keys, and turns Temporal's errors into ones that say what to do. It judges
// nothing: whether a run may start or an answer counts is decided in the run. It prints nothing and asks nothing.
//
// Start with [Dial] and [Operator.Start]; the errors in errors.go are what callers make exit codes or messages of.
package operator
