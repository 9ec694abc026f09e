// Package engine holds the fault tests of the engine process: it is stopped,
// killed and cut off in the middle of its work, and what stands in the mirror
// afterwards is compared with the source, record by record.
//
// It has tests only. Where the broker's own rules matter (the fence on our
// writer, lost acknowledgements) they run on Apache Kafka, else on kfake. That
// kills in the middle of mirroring lose nothing is test/exactlyonce's. Start at
// late_test.go.
package engine
