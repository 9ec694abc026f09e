package link

import (
	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/offsetmap"
)

// A chunk of more than mergeAbove batches that are smaller than mergeBelow bytes
// on average is merged: the partition lags, or its producers send records one
// by one faster than the destination answers. Below that batches pass as they
// are: at the head of the log a Fetch brings a batch or two, which must not wait
// for others. A batch of mergeBelow bytes is worth a request of its own; merging
// larger ones would cost more processor time, for a codec above all, than it
// saves.
const (
	mergeAbove = 4
	mergeBelow = 16 << 10
)

// mergeUpTo: large enough that the broker's answer is no longer what a batch
// waits for, and within the max.message.bytes that a topic has by default (1 MiB).
// A mirror with a lower one refuses, and is then given its batches as they are.
var mergeUpTo = batch.Limits{Packed: 512 << 10, Plain: 1 << 20}

// prepare makes of a chunk the batches to produce, and the segments that they
// need. It is pure: the same chunk, position and limits give the same bytes. The
// segments are the same whatever the limits are. With no limits nothing is merged.
func prepare(c chunk, pos position, merge batch.Limits) ([]batch.Out, []offsetmap.Segment, error) {
	data, err := committed(c, pos.source)
	if err != nil {
		return nil, nil, err
	}
	if !small(data) || mutant == "drop-one-record" {
		merge = batch.Limits{}
	}
	var outs []batch.Out
	var segs []offsetmap.Segment
	for len(data) > 0 {
		epoch := epochOf(data[0], pos.epoch)
		o, n, err := next(sameEpoch(data), pos, merge)
		if err != nil {
			return nil, nil, err
		}
		data = data[n:]
		if o.Records == 0 {
			continue
		}
		at := pos
		for _, run := range o.Runs {
			if run.SourceStart != at.continues || epoch != at.epoch {
				at.epoch = epoch
				segs = append(segs, offsetmap.Segment{
					SourceStart: run.SourceStart, DestStart: at.dest, Skip: at.markers,
					ProducerID: at.stamp.ProducerID, ProducerEpoch: at.stamp.ProducerEpoch,
					FirstSequence: at.stamp.BaseSequence, SourceLeaderEpoch: epoch,
				})
			}
			at.markers = 0
			at.continues = run.SourceStart + int64(run.Count)
			at.dest += int64(run.Count)
			at.stamp.BaseSequence = batch.NextSequence(at.stamp.BaseSequence, run.Count)
		}
		outs = append(outs, o)
		pos = pos.behind(o)
		pos.epoch = at.epoch
	}
	return outs, segs, nil
}

// sameEpoch are the leading batches of one leader epoch: where another begins a
// segment does.
func sameEpoch(data []batch.Batch) []batch.Batch {
	n := 1
	for n < len(data) && data[n].LeaderEpoch() == data[0].LeaderEpoch() {
		n++
	}
	return data[:n]
}

// next makes the next batch of data and says how many it took.
func next(data []batch.Batch, pos position, merge batch.Limits) (batch.Out, int, error) {
	from := pos.source
	if b := data[0]; mutant == "drop-one-record" && b.BaseOffset() <= mutantOffset && mutantOffset <= b.LastOffset() {
		from = max(from, b.BaseOffset()+1)
	}
	if merge.Packed > 0 {
		return batch.Merge(data, pos.stamp, from, merge)
	}
	o, err := batch.Rewrite(data[0], pos.stamp, from)
	return o, 1, err
}

// mutantOffset is the source offset whose batch the mutant drop-one-record robs
// of its first record.
const mutantOffset = 200

// committed are the chunk's batches that a reader of committed data sees records
// of, from a source offset on.
func committed(c chunk, from int64) ([]batch.Batch, error) {
	var data []batch.Batch
	open := abortedIn(c.aborted)
	for _, b := range c.batches {
		if b.LastOffset() < from {
			continue // a Fetch answers with whole batches, from before its offset
		}
		if err := b.Check(); err != nil {
			return nil, err
		}
		if b.IsControl() {
			if err := open.marker(b); err != nil {
				return nil, err
			}
			continue
		}
		if open.drops(b) || b.NumRecords() == 0 {
			continue
		}
		data = append(data, b)
	}
	return data, nil
}

// small tells whether batches are so many and so small that they are merged.
func small(data []batch.Batch) bool {
	size := 0
	for _, b := range data {
		size += b.Len()
	}
	return len(data) > mergeAbove && size < len(data)*mergeBelow
}

// behind is the position after a batch was acknowledged.
func (pos position) behind(o batch.Out) position {
	last := o.Runs[len(o.Runs)-1]
	pos.source = last.SourceStart + int64(last.Count)
	pos.continues, pos.markers = pos.source, 0
	pos.dest += int64(o.Records)
	pos.stamp.BaseSequence = batch.NextSequence(pos.stamp.BaseSequence, o.Records)
	return pos
}
