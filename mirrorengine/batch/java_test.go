package batch

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// The files were made by Kafka's own classes; testdata/java/Make.java says how.
// They have what no Go client writes: xerial snappy, zstd of unknown size, v0 and
// v1 wrappers, and LZ4 with the header checksum of v0.
func TestBatchesOfKafkasOwnClassesAreReadAndRewritten(t *testing.T) {
	files, err := filepath.Glob("testdata/java/*.bin")
	if err != nil || len(files) != 13 {
		t.Fatalf("%d files, 13 expected (error %v)", len(files), err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			set, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			batches, err := Split(set)
			if err != nil {
				t.Fatal(err)
			}
			magic := batches[0].Magic()
			if want := fmt.Sprintf("v%d-%v.bin", magic, batches[0].Codec()); want != filepath.Base(name) {
				t.Fatalf("read as %s", want)
			}
			var want []Record
			for k := range int64(60) {
				if magic > 0 && k%10 == 3 {
					continue
				}
				r := Record{Offset: 5000 + k, Timestamp: 777 + k, Key: fmt.Appendf(nil, "k%d", k)}
				if k%4 != 0 {
					r.Value = fmt.Appendf(nil, "value %d", k)
				}
				if magic == 0 {
					r.Timestamp = -1
				}
				want = append(want, r)
			}
			var got, sent []Record
			for _, b := range batches {
				if err := b.Check(); err != nil {
					t.Fatal(err)
				}
				records, err := b.Records()
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, records...)
				out, err := Rewrite(b, stamp, 5017)
				if err != nil {
					t.Fatal(err)
				}
				if out.Records == 0 {
					continue
				}
				more, err := acceptable(t, out, stamp).Records()
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range more {
					r.Offset = int64(len(sent))
					sent = append(sent, r)
				}
			}
			sameRecords(t, "Records", want, got)
			wantSent, _ := mirrored(want, 5017)
			sameRecords(t, "Rewrite", wantSent, sent)
		})
	}
}
