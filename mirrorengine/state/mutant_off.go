//go:build !mutant

package state

// mutant is empty in every real build; see package link.
const mutant = ""
