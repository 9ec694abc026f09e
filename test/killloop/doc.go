// Package killloop proves that the record path is exactly once on Apache Kafka:
// an engine is killed -9 again and again with records unmirrored and a produce
// unacknowledged, and in the end the mirror holds each committed record of the
// source once and in order. Deliberately wrong engines (build tag mutant) must
// fail the same check.
//
// It has tests only. Start at TestTheMirrorIsExactAfterTenKills.
package killloop
