// Package load fills topics as all kinds of producers do: idempotent ones in
// every codec, and transactional ones that abort a third of what they begin, at
// the same time and in the same partitions. It remembers what was committed, and
// at which offset. What becomes of it in a mirror is package exact's affair.
//
// Start at New.
package load
