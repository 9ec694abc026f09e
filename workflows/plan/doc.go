// Package plan reads plans/<pair>.yaml: strictly (unknown keys are faults), all
// faults at once with key, value and cure, normalised, with the SHA-256 of its
// canonical JSON. It also makes and checks the Ed25519 signatures of people
// over their commands.
//
// It resolves no secret (a plan holds references only) and reaches nothing on
// the network. Workflow code never imports it: the plan arrives there as
// runbook.Plan, whose JSON is the one of Plan. Start at Load and Plan.Validate;
// Example is a plan to copy from.
package plan
