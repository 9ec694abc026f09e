//go:build mutant

package state

import "os"

// mutant names the deliberate fault of a test build: takeover-unread owns a shard
// without having read what its former owner wrote.
var mutant = os.Getenv("DRAWBRIDGE_MUTANT")
