// Makes the .bin files beside it with Kafka's own classes (kafka-clients 4.3.0):
//   java -cp 'libs/*' Make.java
// 60 records from offset 5000 on; from format v1 on every tenth is left out (a hole).
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;

public class Make {
    public static void main(String[] args) throws Exception {
        for (byte magic = 0; magic <= 2; magic++) {
            for (String codec : new String[] {"none", "gzip", "snappy", "lz4", "zstd"}) {
                if (magic < 2 && codec.equals("zstd")) continue;
                MemoryRecordsBuilder b = MemoryRecords.builder(ByteBuffer.allocate(1 << 20), magic,
                        Compression.of(codec).build(), TimestampType.CREATE_TIME, 5000L);
                for (int k = 0; k < 60; k++) {
                    if (magic > 0 && k % 10 == 3) continue;
                    b.appendWithOffset(5000L + k, 777L + k, ("k" + k).getBytes(), k % 4 == 0 ? null : ("value " + k).getBytes());
                }
                ByteBuffer o = b.build().buffer();
                byte[] p = new byte[o.remaining()];
                o.get(p);
                Files.write(Path.of("v" + magic + "-" + codec + ".bin"), p);
            }
        }
    }
}
