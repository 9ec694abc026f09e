package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// digest tells two sequences of records apart: it depends on their order and on each record's time, key and value. The
// digest of two sequences one behind the other follows from theirs, so that a pool's batches are hashed only once.
type digest struct {
	count int64
	sum   uint64
	power uint64 // digestBase to the power of count; 0 of an empty one
}

const digestBase = 0x9E3779B97F4A7C15

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// add puts a record behind the sequence; its time is in Unix milliseconds.
func (d *digest) add(millis int64, key, value []byte) {
	var head [12]byte
	binary.BigEndian.PutUint64(head[:], uint64(millis))    //nolint:gosec // only its bits matter
	binary.BigEndian.PutUint32(head[8:], uint32(len(key))) //nolint:gosec // as above
	a := crc32.Update(crc32.Update(0, castagnoli, head[:]), castagnoli, key)
	b := crc32.Update(a, castagnoli, value)
	d.join(digest{count: 1, sum: uint64(a)<<32 | uint64(b), power: digestBase})
}

// join puts another sequence behind this one.
func (d *digest) join(next digest) {
	if next.count == 0 {
		return
	}
	if d.count == 0 {
		*d = next
		return
	}
	d.sum = d.sum*next.power + next.sum
	d.power *= next.power
	d.count += next.count
}

func (d digest) String() string { return fmt.Sprintf("%d records, digest %016x", d.count, d.sum) }
