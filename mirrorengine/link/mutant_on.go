//go:build mutant

package link

import "os"

// mutant names the deliberate fault of a test build: resume-at-high-watermark,
// sequence-from-zero or drop-one-record.
var mutant = os.Getenv("DRAWBRIDGE_MUTANT")
