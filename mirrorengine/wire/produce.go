package wire

import (
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Versions of Produce that are encoded here: v3 brought the record batches that
// we send, from v9 on lengths are varints and there are tags, from v13 on topics
// go by id (ProduceRequest.json).
const (
	produceLow      = 3
	produceFlexible = 9
	produceIDs      = 13
	produceHigh     = 13
)

// smallRecords is the size up to which a batch is copied into the request's own
// bytes: a piece of a vectored write costs more than that.
const smallRecords = 2 << 10

// Batch is one record batch to produce. Records must stay untouched until the
// request's answer is there.
type Batch struct {
	Topic     string
	ID        [16]byte // zero if not known
	Partition int32
	Records   []byte
}

// Produced is what the broker says of one batch.
type Produced struct {
	Topic     string
	Partition int32
	Base      int64 // offset of the first record
	Code      int16
	Message   string
}

// SendProduce sends batches, each of another partition, to be acknowledged by
// all in-sync replicas within timeout. done gets what the broker says of each,
// or an error that leaves all of them open. It is called as Conn.Send calls it.
func (c *Conn) SendProduce(batches []Batch, timeout time.Duration, done func([]Produced, error)) {
	high := int16(produceHigh)
	for _, b := range batches {
		if b.ID == [16]byte{} {
			high = produceIDs - 1
		}
	}
	version, err := c.Version(keyProduce, produceLow, high)
	if err != nil {
		done(nil, err)
		return
	}
	topics := gather(batches)
	c.Send(Request{
		Key: keyProduce, Version: version, Flexible: version >= produceFlexible, Parts: encodeProduce(version, timeout, topics),
	}, func(a Answer) {
		if a.Err != nil {
			done(nil, a.Err)
			return
		}
		defer a.Release()
		out, wait, err := readProduced(version, a.Body, topics)
		c.Excuse(wait)
		done(out, err)
	})
}

// topicBatches are the batches of one topic.
type topicBatches struct {
	topic   string
	id      [16]byte
	batches []Batch
}

func gather(batches []Batch) []topicBatches {
	var out []topicBatches
	at := map[string]int{}
	for _, b := range batches {
		i, ok := at[b.Topic]
		if !ok {
			i = len(out)
			at[b.Topic] = i
			out = append(out, topicBatches{topic: b.Topic, id: b.ID})
		}
		out[i].batches = append(out[i].batches, b)
	}
	return out
}

// encodeProduce is the request's body: the records stay where they are, and what
// is around them is one piece of memory cut in between.
func encodeProduce(version int16, timeout time.Duration, topics []topicBatches) net.Buffers {
	flexible := version >= produceFlexible
	type cut struct {
		at      int
		records []byte
	}
	size, pieces := 16, 0
	for _, t := range topics {
		size += 32 + len(t.topic)
		for _, b := range t.batches {
			size += 16
			if len(b.Records) <= smallRecords {
				size += len(b.Records)
			} else {
				pieces++
			}
		}
	}
	p := make([]byte, 0, size)
	cuts := make([]cut, 0, pieces)
	length := func(n int) {
		if flexible {
			p = kbin.AppendCompactArrayLen(p, n)
		} else {
			p = kbin.AppendArrayLen(p, n)
		}
	}
	tags := func() {
		if flexible {
			p = append(p, 0)
		}
	}
	if flexible {
		p = kbin.AppendCompactNullableString(p, nil) // transactional id
	} else {
		p = kbin.AppendNullableString(p, nil)
	}
	p = kbin.AppendInt16(p, -1) // acks: all in-sync replicas
	p = kbin.AppendInt32(p, int32(timeout.Milliseconds()))
	length(len(topics))
	for _, t := range topics {
		switch {
		case version >= produceIDs:
			p = kbin.AppendUuid(p, t.id)
		case flexible:
			p = kbin.AppendCompactString(p, t.topic)
		default:
			p = kbin.AppendString(p, t.topic)
		}
		length(len(t.batches))
		for _, b := range t.batches {
			p = kbin.AppendInt32(p, b.Partition)
			length(len(b.Records)) // bytes have the form of an array's length before them
			if len(b.Records) <= smallRecords {
				p = append(p, b.Records...)
			} else {
				cuts = append(cuts, cut{len(p), b.Records})
			}
			tags()
		}
		tags()
	}
	tags()
	parts := make(net.Buffers, 0, 2*len(cuts)+1)
	from := 0
	for _, c := range cuts {
		parts = append(parts, p[from:c.at], c.records)
		from = c.at
	}
	return append(parts, p[from:])
}

// readProduced reads an answer, which names topics by id from v13 on. wait is
// how long the broker will not look at the connection.
func readProduced(version int16, body []byte, topics []topicBatches) (out []Produced, wait time.Duration, err error) {
	res := kmsg.NewPtrProduceResponse()
	res.Version = version
	if err := res.ReadFrom(body); err != nil {
		return nil, 0, fmt.Errorf("answer to Produce: %w", err)
	}
	for _, t := range res.Topics {
		name := t.Topic
		for _, asked := range topics {
			if name == "" && asked.id == t.TopicID {
				name = asked.topic
			}
		}
		for _, p := range t.Partitions {
			o := Produced{Topic: name, Partition: p.Partition, Base: p.BaseOffset, Code: p.ErrorCode}
			if p.ErrorMessage != nil {
				o.Message = *p.ErrorMessage
			}
			out = append(out, o)
		}
	}
	return out, time.Duration(res.ThrottleMillis) * time.Millisecond, nil
}
