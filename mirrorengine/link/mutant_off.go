//go:build !mutant

package link

// mutant is empty in every real build. Tests build the engine with the tag
// "mutant" to show that they catch a record path that is wrong on purpose.
const mutant = ""
