package exact

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

// Record is what the comparison needs of a record.
type Record struct {
	Offset int64
	Key    string
	// Sum is of key, value, headers and timestamp: two records with the same one
	// are the same.
	Sum [16]byte
	// Text is the beginning of the value, for people.
	Text string
}

// Log is a partition as one kind of reader sees it.
type Log struct {
	Records    []Record
	Start, End int64
	// Markers are the control records among the offsets.
	Markers int
}

// Holes counts the offsets that hold nothing: not a record that this reader may
// see, nor a marker. To a reader of uncommitted data they are what compaction
// took.
func (l Log) Holes() int64 { return l.End - l.Start - int64(len(l.Records)+l.Markers) }

// ReadTimeout bounds the reading of one partition.
const ReadTimeout = 2 * time.Minute

// Read reads a partition from its start to its end at the time of the call.
func Read(ctx context.Context, k *local.Kafka, user local.User, isolation kgo.IsolationLevel, topic string, partition int32) (Log, error) {
	records, log, err := Records(ctx, k, user, isolation, topic, partition)
	if err != nil {
		return Log{}, err
	}
	for _, r := range records {
		log.Records = append(log.Records, Digest(r))
	}
	return log, nil
}

// Records is Read for those who want the records themselves; Log is without
// them.
func Records(ctx context.Context, k *local.Kafka, user local.User, isolation kgo.IsolationLevel, topic string, partition int32) ([]*kgo.Record, Log, error) {
	fail := func(err error) ([]*kgo.Record, Log, error) {
		return nil, Log{}, fmt.Errorf("read %s %s partition %d: %w", k.Name(), topic, partition, err)
	}
	ctx, cancel := context.WithTimeout(ctx, ReadTimeout)
	defer cancel()
	cl, err := kgo.NewClient(append(k.DirectOptions(user), kgo.FetchIsolationLevel(isolation), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().AtStart()}}))...)
	if err != nil {
		return fail(err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err != nil {
		return fail(err)
	}
	ends, err := adm.ListEndOffsets(ctx, topic)
	if err != nil {
		return fail(err)
	}
	start, _ := starts.Lookup(topic, partition)
	end, ok := ends.Lookup(topic, partition)
	if err := errors.Join(start.Err, end.Err); err != nil {
		return fail(err)
	}
	if !ok {
		return fail(errors.New("there is no such partition"))
	}
	log := Log{Start: start.Offset, End: end.Offset}
	var out []*kgo.Record
	// The last batch of a log is always there: cleaners leave the active segment
	// alone, and an aborted one has its marker behind it.
	for at := log.Start; at < log.End; {
		f := cl.PollFetches(ctx)
		if err := f.Err(); err != nil {
			return fail(fmt.Errorf("at %d of %d: %w", at, log.End, err))
		}
		for _, r := range f.Records() {
			at = r.Offset + 1
			switch {
			case r.Offset >= log.End:
			case r.Attrs.IsControl():
				log.Markers++
			default:
				out = append(out, r)
			}
		}
	}
	return out, log, nil
}

// Digest is what the comparison keeps of a record. Null and empty differ.
func Digest(r *kgo.Record) Record {
	h := sha256.New()
	field := func(b []byte) {
		size := int64(len(b))
		if b == nil {
			size = -1
		}
		_ = binary.Write(h, binary.BigEndian, size) // a hash takes everything
		h.Write(b)
	}
	field(r.Key)
	field(r.Value)
	_ = binary.Write(h, binary.BigEndian, r.Timestamp.UnixMilli())
	for _, header := range r.Headers {
		field([]byte(header.Key))
		field(header.Value)
	}
	d := Record{Offset: r.Offset, Key: string(r.Key), Text: fmt.Sprintf("%.24q", r.Value)}
	copy(d.Sum[:], h.Sum(nil))
	return d
}
