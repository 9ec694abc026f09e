//go:build mutant

package link

import "os"

// mutant names the deliberate fault of a test build: resume-at-high-watermark,
// sequence-from-zero, drop-one-record or no-writer-fence.
var mutant = os.Getenv("DRAWBRIDGE_MUTANT")
