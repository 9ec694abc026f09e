package exact

import (
	"fmt"
	"strings"
)

// Verdict is how a mirror differs from its source, in records. All zero: exact.
type Verdict struct {
	// Lost: readers of the source see them, readers of the mirror do not.
	Lost int `json:"lost"`
	// Duplicated: copies beyond the first in the mirror.
	Duplicated int `json:"duplicated"`
	// Reordered: they stand behind a record that comes after them at the source.
	Reordered int `json:"reordered"`
	// Strange: in the mirror without ever having been committed at the source:
	// aborted, invented or altered.
	Strange int `json:"strange"`
	// Examples say which, the first few of each kind.
	Examples []string `json:"examples,omitempty"`
}

// Exact reports whether nothing differs.
func (v Verdict) Exact() bool { return v.Lost+v.Duplicated+v.Reordered+v.Strange == 0 }

// Add puts another partition's verdict to this one.
func (v *Verdict) Add(where string, o Verdict) {
	v.Lost += o.Lost
	v.Duplicated += o.Duplicated
	v.Reordered += o.Reordered
	v.Strange += o.Strange
	for _, e := range o.Examples {
		v.example("%s: %s", where, e)
	}
}

func (v Verdict) String() string {
	return fmt.Sprintf("%d lost, %d duplicated, %d reordered, %d that never were; %s",
		v.Lost, v.Duplicated, v.Reordered, v.Strange, strings.Join(v.Examples, "; "))
}

// examples bounds what is told of one verdict.
const examples = 12

func (v *Verdict) example(format string, args ...any) {
	if len(v.Examples) < examples {
		v.Examples = append(v.Examples, fmt.Sprintf(format, args...))
	}
}

type sum = [16]byte

// Compare judges the mirror of a topic that is not compacted: it must hold what
// readers of committed data see at the source, each once, in the same order.
// Records of a source are all different; that is its writers' affair.
func Compare(source, mirror Log) Verdict {
	var v Verdict
	at := make(map[sum]int, len(source.Records))
	for i, r := range source.Records {
		at[r.Sum] = i
	}
	seen := v.walk(mirror, func(r Record) (int64, bool) {
		i, ok := at[r.Sum]
		return int64(i), ok
	})
	for _, r := range source.Records {
		if _, ok := seen[r.Sum]; !ok {
			v.Lost++
			v.example("lost: %s, source offset %d", r.Text, r.Offset)
		}
	}
	return v
}

// walk goes through a mirror and counts what is there twice, behind its place,
// or strange; place is a record's place at the source. It returns where the first
// copy of each record stands.
func (v *Verdict) walk(mirror Log, place func(Record) (int64, bool)) map[sum]int64 {
	seen := make(map[sum]int64, len(mirror.Records))
	latest := int64(-1)
	for _, r := range mirror.Records {
		first, twice := seen[r.Sum]
		p, known := place(r)
		switch {
		case !known:
			v.Strange++
			v.example("was never committed at the source: %s, mirror offset %d", r.Text, r.Offset)
			continue
		case twice:
			v.Duplicated++
			v.example("duplicated: %s, mirror offsets %d and %d", r.Text, first, r.Offset)
			continue
		case p < latest:
			v.Reordered++
			v.example("reordered: %s, mirror offset %d", r.Text, r.Offset)
		}
		seen[r.Sum] = r.Offset
		latest = max(latest, p)
	}
	return seen
}

// Written is what a compacted topic's writers know of a partition: compaction
// takes that from both logs.
type Written struct {
	// Records in the order of their offsets at the source.
	Records []Record
	// Unknown are those among them whose transaction ended in an error.
	Unknown map[int64]bool
}

// CompareCompacted judges the mirror of a compacted topic. Either cleaner may
// have taken what has a later record of the same key, at its own time. So it is
// demanded that
//   - every record of the mirror was committed at the source, and is there once,
//     in the order of the source's offsets;
//   - the last record that was written of each key is there, a tombstone too
//     (delete.retention.ms is far longer than a test), and is the mirror's last of
//     that key;
//   - a record that the source still holds is there, unless the mirror holds a
//     later one of its key and its own cleaner has been at work: a log without
//     holes has not been cleaned, and must have everything.
func CompareCompacted(source, mirror Log, written Written) Verdict {
	var v Verdict
	at := make(map[sum]int64, len(written.Records))
	last := map[string]Record{}
	for _, r := range written.Records {
		at[r.Sum] = r.Offset
		if !written.Unknown[r.Offset] {
			last[r.Key] = r
		}
	}
	for _, r := range source.Records {
		if written.Unknown[r.Offset] && r.Offset > last[r.Key].Offset {
			last[r.Key] = r // it was committed after all
		}
	}
	seen := v.walk(mirror, func(r Record) (int64, bool) {
		offset, ok := at[r.Sum]
		return offset, ok
	})
	newest := map[string]int64{} // source offset of the mirror's last record of a key
	for _, r := range mirror.Records {
		if offset, ok := at[r.Sum]; ok {
			newest[r.Key] = offset
		}
	}
	lost := map[sum]bool{}
	miss := func(r Record, why string) {
		if lost[r.Sum] {
			return
		}
		lost[r.Sum] = true
		v.Lost++
		v.example("lost: %s of key %s, source offset %d, %s", r.Text, r.Key, r.Offset, why)
	}
	for key, r := range last {
		if _, ok := seen[r.Sum]; !ok {
			miss(r, "the key's last record")
			continue
		}
		if newest[key] < r.Offset {
			v.Reordered++
			v.example("reordered: key %s ends with source offset %d, should with %d", key, newest[key], r.Offset)
		}
	}
	cleaned := mirror.Holes() > 0
	for _, r := range source.Records {
		if _, ok := seen[r.Sum]; ok {
			continue
		}
		if later, ok := newest[r.Key]; !cleaned || !ok || later <= r.Offset {
			miss(r, "which the source still holds")
		}
	}
	return v
}

// CompareGroup judges a committed offset: from the destination's one a reader
// must get exactly the records that it would get from the source's. placed are
// the source offsets of records, by what they are. It answers with what is
// wrong, empty if nothing is.
func CompareGroup(sourceOffset, destOffset int64, mirror Log, placed map[[16]byte]int64) string {
	for _, r := range mirror.Records {
		p, ok := placed[r.Sum]
		switch {
		case !ok: // strange: the verdict on the records says so
		case p < sourceOffset && r.Offset >= destOffset:
			return fmt.Sprintf("source %d, destination %d: would read %s (source offset %d) again at %d", sourceOffset, destOffset, r.Text, p, r.Offset)
		case p >= sourceOffset && r.Offset < destOffset:
			return fmt.Sprintf("source %d, destination %d: would skip %s (source offset %d) at %d", sourceOffset, destOffset, r.Text, p, r.Offset)
		}
	}
	return ""
}

// Places are the source offsets of records, for CompareGroup.
func Places(records []Record) map[[16]byte]int64 {
	out := make(map[sum]int64, len(records))
	for _, r := range records {
		out[r.Sum] = r.Offset
	}
	return out
}
