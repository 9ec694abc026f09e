package batch

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafkaLZ4 spoils the frame's header checksum the way clients of format v0 did.
func kafkaLZ4(set []byte, at int) { set[at+6] ^= 0x5a }

func TestLegacySetsBecomeV2BatchesWithTheSameRecords(t *testing.T) {
	r := seeded(t)
	for i := range 200 {
		magic := int8(r.IntN(2))
		codec := codecs[r.IntN(4)] // zstd came with v2
		base := r.Int64N(1 << 35)
		records := randomRecords(r, 30, base, r.IntN(2) == 0, false)
		appendTime := int64(0)
		if magic == 1 && r.IntN(3) == 0 {
			appendTime = 1_800_000_000_000
		}
		for j := range records {
			records[j].Headers = nil
			if magic == 0 {
				records[j].Timestamp = -1
			}
		}
		set := legacySet(t, magic, records, codec, appendTime)
		for j := range records {
			if appendTime > 0 {
				records[j].Timestamp = appendTime
			}
		}
		seen := kgoRecords(t, set)
		if magic == 0 {
			for j := range seen {
				seen[j].Timestamp = -1 // the format has none; franz-go's zero time is another word for it
			}
		}
		// franz-go gives the inner times of a wrapper stamped by the broker; Kafka's
		// consumer gives the wrapper's (LegacyRecord.timestamp), and so do we.
		if appendTime == 0 || codec == None {
			sameRecords(t, "franz-go reads the legacy set", records, seen)
		}
		batches, err := Split(set)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{true: len(records), false: 1}[codec == None]; len(batches) != want {
			t.Fatalf("%d batches, want %d", len(batches), want)
		}
		from := base
		if r.IntN(3) == 0 {
			from += r.Int64N(records[len(records)-1].Offset - base + 2)
		}
		var all, sent []Record
		var runs []Run
		seq := stamp
		for _, b := range batches {
			if err := b.Check(); err != nil {
				t.Fatal(err)
			}
			if b.ProducerID() != -1 || b.LastSequence() != -1 || b.LeaderEpoch() != -1 || b.IsControl() || b.IsTransactional() {
				t.Fatalf("a legacy message has no producer: %+v", b.h)
			}
			got, err := b.Records()
			if err != nil {
				t.Fatal(err)
			}
			if b.BaseOffset() != got[0].Offset || b.LastOffset() != got[len(got)-1].Offset || int(b.NumRecords()) != len(got) {
				t.Fatalf("offsets %d to %d with %d records, records %d to %d", b.BaseOffset(), b.LastOffset(), b.NumRecords(), got[0].Offset, got[len(got)-1].Offset)
			}
			all = append(all, got...)
			out, err := Rewrite(b, seq, from)
			if err != nil {
				t.Fatalf("set %d: %v", i, err)
			}
			if out.Records == 0 {
				continue
			}
			if out.Reencoded&ReasonLegacy == 0 {
				t.Fatalf("reason %v", out.Reencoded)
			}
			if c := acceptable(t, out, seq).Codec(); c != codec {
				t.Fatalf("codec %v became %v", codec, c)
			}
			for _, rec := range kgoRecords(t, out.Bytes) {
				rec.Offset += int64(len(sent) - int(rec.Offset)) // position in the mirror
				sent = append(sent, rec)
			}
			for _, run := range out.Runs {
				if n := len(runs); n > 0 && runs[n-1].SourceStart+int64(runs[n-1].Count) == run.SourceStart {
					runs[n-1].Count += run.Count
				} else {
					runs = append(runs, run)
				}
			}
			seq.BaseSequence = NextSequence(seq.BaseSequence, out.Records)
		}
		sameRecords(t, "Records", records, all)
		want, wantRuns := mirrored(records, from)
		sameRecords(t, "the mirror", want, sent)
		if diff := cmp.Diff(wantRuns, runs); diff != "" {
			t.Fatalf("set %d: runs (-want +got):\n%s", i, diff)
		}
	}
}

func TestLZ4OfOldClientsIsReadDespiteItsHeaderChecksum(t *testing.T) {
	records := []Record{{Offset: 3, Timestamp: -1, Value: []byte("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")}, {Offset: 4, Timestamp: -1, Value: []byte("b")}}
	for magic := range int8(2) {
		set := legacySet(t, magic, records, LZ4, 0)
		payload := prefixSize + legacyOverheadV0
		if magic == 1 {
			payload = prefixSize + legacyOverheadV1
		}
		kafkaLZ4(set, payload)
		bs, err := Split(set)
		if err != nil {
			t.Fatal(err)
		}
		got, err := bs[0].Records()
		if magic == 1 {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("format v1 has no such excuse, yet: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		sameRecords(t, "v0 with a broken LZ4 header", records, got)
	}
}

func TestNestedOrMixedLegacySetsAreRefused(t *testing.T) {
	records := []Record{{Offset: 3, Timestamp: 1, Value: []byte("a")}, {Offset: 4, Timestamp: 1, Value: []byte("b")}}
	for name, inside := range map[string][]byte{
		"compressed twice": legacySet(t, 1, records, Gzip, 0),
		"another format":   legacySet(t, 0, records, None, 0),
		"v2 inside v1":     build(t, spec{base: 3, last: 4, records: records}),
		"cut off":          legacySet(t, 1, records, None, 0)[:50],
		"empty":            nil,
	} {
		set := wrapV1(t, 4, inside)
		bs, err := Split(set)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Rewrite(bs[0], stamp, 0); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: Rewrite gives %v", name, err)
		}
		if bs[0].BaseOffset() != bs[0].LastOffset() || bs[0].NumRecords() != 1 {
			t.Errorf("%s: unreadable, yet offsets %d to %d", name, bs[0].BaseOffset(), bs[0].LastOffset())
		}
	}
}

// wrapV1 puts anything into a gzip message of format v1.
func wrapV1(t *testing.T, offset int64, inside []byte) []byte {
	m := kmsg.MessageV1{Offset: offset, Magic: 1, Attributes: 1, Value: pack(t, inside, Gzip)}
	p := m.AppendTo(nil)
	binary.BigEndian.PutUint32(p[posLength:], uint32(len(p)-prefixSize))
	binary.BigEndian.PutUint32(p[legacyPosCRC:], crc32.ChecksumIEEE(p[posMagic:]))
	return p
}
