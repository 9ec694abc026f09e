package exact

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// entry is record n of a key, at an offset.
func entry(offset int64, n int, key string) Record {
	d := Digest(&kgo.Record{Key: []byte(key), Value: fmt.Appendf(nil, "%d", n), Timestamp: time.UnixMilli(int64(n))})
	d.Offset = offset
	return d
}

// log has entries of a key each, without holes from offset 0.
func log(numbers ...int) Log {
	l := Log{End: int64(len(numbers))}
	for i, n := range numbers {
		l.Records = append(l.Records, entry(int64(i), n, fmt.Sprint("k", n)))
	}
	return l
}

func TestCompareCountsEachKindOfFault(t *testing.T) {
	for name, c := range map[string]struct {
		mirror Log
		want   [4]int // lost, duplicated, reordered, strange
	}{
		"exact":             {log(1, 2, 3, 4, 5), [4]int{}},
		"lost at the end":   {log(1, 2, 3, 4), [4]int{1, 0, 0, 0}},
		"lost in between":   {log(1, 2, 5), [4]int{2, 0, 0, 0}},
		"all lost":          {log(), [4]int{5, 0, 0, 0}},
		"one twice":         {log(1, 2, 2, 3, 4, 5), [4]int{0, 1, 0, 0}},
		"a batch twice":     {log(1, 2, 3, 2, 3, 4, 5), [4]int{0, 2, 0, 0}},
		"swapped":           {log(1, 3, 2, 4, 5), [4]int{0, 0, 1, 0}},
		"what never was":    {log(1, 2, 9, 3, 4, 5), [4]int{0, 0, 0, 1}},
		"altered":           {log(1, 2, 9, 4, 5), [4]int{1, 0, 0, 1}},
		"twice and swapped": {log(2, 1, 1, 3, 4, 5), [4]int{0, 1, 1, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			v := Compare(log(1, 2, 3, 4, 5), c.mirror)
			if got := [4]int{v.Lost, v.Duplicated, v.Reordered, v.Strange}; got != c.want {
				t.Errorf("got %v, want %v: %s", got, c.want, v)
			}
		})
	}
}

func TestDigestTellsApartWhatDiffersAnywhere(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000)
	base := func() *kgo.Record {
		return &kgo.Record{Key: []byte("k"), Value: []byte("v"), Timestamp: at, Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}}}
	}
	seen := map[sum]string{}
	for name, change := range map[string]func(*kgo.Record){
		"nothing":       func(*kgo.Record) {},
		"key":           func(r *kgo.Record) { r.Key = []byte("l") },
		"null key":      func(r *kgo.Record) { r.Key = nil },
		"empty key":     func(r *kgo.Record) { r.Key = []byte{} },
		"null value":    func(r *kgo.Record) { r.Value = nil },
		"moved border":  func(r *kgo.Record) { r.Key, r.Value = []byte("kv"), []byte{} },
		"timestamp":     func(r *kgo.Record) { r.Timestamp = at.Add(time.Millisecond) },
		"header":        func(r *kgo.Record) { r.Headers[0].Value = []byte("2") },
		"no header":     func(r *kgo.Record) { r.Headers = nil },
		"header twice":  func(r *kgo.Record) { r.Headers = append(r.Headers, r.Headers[0]) },
		"header's name": func(r *kgo.Record) { r.Headers[0].Key = "b" },
	} {
		r := base()
		change(r)
		s := Digest(r).Sum
		if other, ok := seen[s]; ok {
			t.Errorf("%s and %s look the same", name, other)
		}
		seen[s] = name
	}
}

// The source wrote a1 b2 a3 c4 b5 at offsets 0 to 4; its cleaner left b2 a3 c4 b5.
func compacted() (source Log, written Written) {
	written = Written{Records: []Record{entry(0, 1, "a"), entry(1, 2, "b"), entry(2, 3, "a"), entry(3, 4, "c"), entry(4, 5, "b")}}
	return Log{Records: written.Records[1:], End: 5}, written
}

func pick(records []Record, end int64, which ...int) Log {
	l := Log{End: end}
	for i, n := range which {
		r := records[n-1]
		r.Offset = int64(i)
		l.Records = append(l.Records, r)
	}
	return l
}

func TestCompareCompactedExcusesOnlyWhatACleanerMayTake(t *testing.T) {
	source, written := compacted()
	for name, c := range map[string]struct {
		which []int
		holes int64
		want  [4]int
	}{
		"what the source holds":                         {[]int{2, 3, 4, 5}, 0, [4]int{}},
		"more, from before it was cleaned":              {[]int{1, 2, 3, 4, 5}, 0, [4]int{}},
		"cleaned further":                               {[]int{3, 4, 5}, 1, [4]int{}},
		"less, though nothing cleaned it":               {[]int{3, 4, 5}, 0, [4]int{1, 0, 0, 0}},
		"a key's last is missing":                       {[]int{2, 3, 5}, 2, [4]int{1, 0, 0, 0}},
		"a key's last of two is missing":                {[]int{2, 3, 4}, 2, [4]int{1, 0, 0, 0}},
		"one twice":                                     {[]int{2, 3, 3, 4, 5}, 1, [4]int{0, 1, 0, 0}},
		"order of two keys":                             {[]int{3, 2, 4, 5}, 0, [4]int{0, 0, 1, 0}},
		"a key ends with the older of two":              {[]int{3, 4, 5, 2}, 0, [4]int{0, 0, 2, 0}},
		"a record that the cleaner took is not strange": {[]int{1, 3, 4, 5}, 1, [4]int{}},
	} {
		t.Run(name, func(t *testing.T) {
			mirror := pick(written.Records, int64(len(c.which))+c.holes, c.which...)
			v := CompareCompacted(source, mirror, written)
			if got := [4]int{v.Lost, v.Duplicated, v.Reordered, v.Strange}; got != c.want {
				t.Errorf("got %v, want %v: %s", got, c.want, v)
			}
		})
	}
	strange := pick(written.Records, 5, 2, 3, 4, 5)
	strange.Records = append(strange.Records, entry(4, 6, "d"))
	if v := CompareCompacted(source, strange, written); v.Strange != 1 {
		t.Errorf("an aborted record: %s", v)
	}
}

func TestCompareCompactedTakesTheSourcesWordForAnUnknownOutcome(t *testing.T) {
	_, written := compacted()
	written.Unknown = map[int64]bool{4: true}
	without, with := pick(written.Records, 5, 1, 2, 3, 4), Log{Records: written.Records, End: 5}
	if v := CompareCompacted(without, without, written); !v.Exact() {
		t.Errorf("aborted on both sides: %s", v)
	}
	if v := CompareCompacted(with, without, written); v.Lost != 1 {
		t.Errorf("committed at the source, not in the mirror: %s", v)
	}
}

func TestCompareGroupWantsTheVeryNextRecord(t *testing.T) {
	source := log(1, 2, 3, 4, 5)
	// In the source two markers stand behind 2, in the mirror one behind 3.
	for i := range source.Records[2:] {
		source.Records[2+i].Offset += 2
	}
	mirror := log(1, 2, 3, 4, 5)
	for i := range mirror.Records[3:] {
		mirror.Records[3+i].Offset++
	}
	places := Places(source.Records)
	for _, c := range []struct {
		source int64
		right  []int64
	}{{0, []int64{0}}, {1, []int64{1}}, {2, []int64{2}}, {3, []int64{2}}, {4, []int64{2}}, {5, []int64{3, 4}}, {6, []int64{5}}, {7, []int64{6, 7}}} {
		for dest := range int64(8) {
			wrong := CompareGroup(c.source, dest, mirror, places)
			if (wrong == "") != slices.Contains(c.right, dest) {
				t.Errorf("source %d, destination %d: %q", c.source, dest, wrong)
			}
		}
	}
}
