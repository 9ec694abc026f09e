package batch

import (
	"fmt"
	"testing"
)

// BenchmarkRewrite compares passing a batch on (header patch and CRC) with
// re-encoding it, at 64 records of about 1 KiB. Bytes are unpacked record bytes.
func BenchmarkRewrite(b *testing.B) {
	for _, codec := range codecs {
		var records []Record
		size := 0
		for i := range int64(64) {
			v := fmt.Appendf(nil, `{"id":%d,"user":"u-%d","text":"`, i*7919, i*104729)
			for j := range 60 {
				v = fmt.Appendf(v, "%x ", (i*31+int64(j))*2654435761)
			}
			records = append(records, Record{Offset: 100 + i, Timestamp: 1000 + i, Key: fmt.Appendf(nil, "k%d", i), Value: v})
			size += len(v)
		}
		whole := build(b, spec{base: 100, last: 163, records: records, codec: codec, baseTimestamp: 1000, maxTimestamp: 1063})
		gaps := build(b, spec{base: 100, last: 164, records: records, codec: codec, baseTimestamp: 1000, maxTimestamp: 1063})
		for name, set := range map[string][]byte{"header": whole, "reencode": gaps} {
			b.Run(fmt.Sprintf("%s/%s", codec, name), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				bs, err := Split(set)
				if err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					if _, err := Rewrite(bs[0], stamp, 100); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
