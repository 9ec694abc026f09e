// Package docs holds the documents against the tree: links resolve, what is generated is up to date, runbook pages name the
// steps that the code has and no others, and the tutorial's commands are run. That drctl's command lines exist is tested where
// its commands are, in cmd/drctl.
package docs
