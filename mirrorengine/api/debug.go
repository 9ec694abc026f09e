package api

import "time"

// PartitionDebug is one row of GET /debug/mirrors, which is a table for people:
// its form may change with any release.
type PartitionDebug struct {
	PartitionProgress
	Link   string
	Topic  string
	Status string
	Shard  int32 // of the state topic
	// Located: the destination's tail was read, so that the position and the stamp
	// are true.
	Located bool
	// ProducerID, ProducerEpoch and NextSequence stamp the next batch.
	ProducerID    int64
	ProducerEpoch int16
	NextSequence  int32
	Segments      int // pieces of the offset map
	// BytesUnderWay are sent to the destination and not acknowledged.
	BytesUnderWay int64
	// Moved is when the position last changed; zero: not since the engine started.
	Moved time.Time
}
