package wire

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
)

// peers makes this test binary the other side of the benchmark: a kfake that
// answers from one batch and keeps nothing, and a bare source and sink.
const peers = "WIRE_BENCH_PEERS"

func TestMain(m *testing.M) {
	if os.Getenv(peers) == "" {
		os.Exit(m.Run())
	}
	if err := servePeers(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const (
	benchPartitions = 16
	benchFetch      = 8 << 20
	benchFrame      = 1 << 20
)

func servePeers() error {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(benchPartitions, "in", "out"), kfake.BlackholeProduce(),
		kfake.SyntheticFetch(kfake.SyntheticBatch{Records: 960, RecordBytes: 1024, RandomFrac: 1}))
	if err != nil {
		return err
	}
	defer c.Close()
	source, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	sink, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	serve := func(l net.Listener, f func(net.Conn)) {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go f(nc)
		}
	}
	frame := make([]byte, benchFrame)
	go serve(source, func(nc net.Conn) {
		for {
			if _, err := nc.Write(frame); err != nil {
				return
			}
		}
	})
	go serve(sink, func(nc net.Conn) {
		b := make([]byte, benchFrame)
		for {
			if _, err := nc.Read(b); err != nil {
				return
			}
		}
	})
	fmt.Println(c.ListenAddrs()[0], source.Addr(), sink.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin) // until the benchmark ends
	return nil
}

// BenchmarkFetchProduce moves record batches of 1 MB from a broker to a broker
// in another process and says what that costs this one, in CPU seconds per GB on
// the wire: "wire" is this package, "client" the general client's raw requests,
// "relay" what only the sockets and one checksum cost. CPU alone means something
// here: the broker bounds the wall time. Medians over -count go to out/bench-wire.json.
func BenchmarkFetchProduce(b *testing.B) {
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), peers+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { in.Close(); _ = cmd.Wait() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	addrs := strings.Fields(line)
	runs := map[string][]float64{}
	run := func(name string, start func(b *testing.B) (step func() (int, error))) {
		b.Run(name, func(b *testing.B) {
			step := start(b)
			for range 4 { // connections, pools
				if _, err := step(); err != nil {
					b.Fatal(err)
				}
			}
			bytes, began, wall := 0, cpu(), time.Now()
			for b.Loop() {
				n, err := step()
				if err != nil {
					b.Fatal(err)
				}
				bytes += n
			}
			perGB := (cpu() - began).Seconds() / float64(bytes) * 1e9
			b.ReportMetric(perGB, "cpu-s/GB")
			b.ReportMetric(float64(bytes)/1e6/time.Since(wall).Seconds(), "MB/s")
			runs[name] = append(runs[name], perGB)
		})
	}
	run("relay", func(b *testing.B) func() (int, error) { return relay(b, addrs[1], addrs[2]) })
	run("wire", func(b *testing.B) func() (int, error) { return viaWire(b, addrs[0]) })
	run("client", func(b *testing.B) func() (int, error) { return viaClient(b, addrs[0]) })
	if len(runs) == 3 {
		results := map[string]float64{}
		for name, r := range runs {
			slices.Sort(r)
			results[name] = r[len(r)/2]
		}
		report(b, results)
	}
}

func report(b *testing.B, results map[string]float64) {
	text, err := json.MarshalIndent(map[string]any{
		"cpu_seconds_per_wire_gb": results,
		"ratios":                  map[string]float64{"client_over_wire": results["client"] / results["wire"], "wire_over_relay": results["wire"] / results["relay"]},
	}, "", "  ")
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%s", text)
	dir := filepath.Join("..", "..", "out")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bench-wire.json"), append(text, '\n'), 0o644); err != nil {
		b.Fatal(err)
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func relay(b *testing.B, source, sink string) func() (int, error) {
	from, err := net.Dial("tcp", source)
	if err != nil {
		b.Fatal(err)
	}
	to, err := net.Dial("tcp", sink)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { from.Close(); to.Close() })
	buf := make([]byte, benchFrame)
	table := crc32.MakeTable(crc32.Castagnoli)
	return func() (int, error) {
		for range 8 {
			if _, err := io.ReadFull(from, buf); err != nil {
				return 0, err
			}
			buf[0] = byte(crc32.Checksum(buf, table))
			if _, err := to.Write(buf); err != nil {
				return 0, err
			}
		}
		return 8 * len(buf), nil
	}
}

// rewrite makes of a fetched partition what is produced.
func rewrite(p *kmsg.FetchResponseTopicPartition) ([][]byte, int64, error) {
	batches, err := batch.Split(p.RecordBatches)
	if err != nil {
		return nil, 0, err
	}
	var out [][]byte
	next := int64(0)
	for _, c := range batches {
		if err := c.Check(); err != nil {
			return nil, 0, err
		}
		o, err := batch.Rewrite(c, batch.Stamp{ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}, 0)
		if err != nil {
			return nil, 0, err
		}
		out, next = append(out, o.Bytes), c.LastOffset()+1
	}
	return out, next, nil
}

func ids(b *testing.B, addr string) (in, out [16]byte, client *kgo.Client) {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.Close)
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range []string{"in", "out"} {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	res, err := req.RequestWith(b.Context(), client)
	if err != nil {
		b.Fatal(err)
	}
	for _, t := range res.Topics {
		if *t.Topic == "in" {
			in = t.TopicID
		} else {
			out = t.TopicID
		}
	}
	return in, out, client
}

func fetchRequest() *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel = -1, 500, 1, benchFetch, 1
	return req
}

func viaWire(b *testing.B, addr string) func() (int, error) {
	in, out, _ := ids(b, addr)
	opts := Options{ClientID: "bench", Dial: (&net.Dialer{}).DialContext, Timeout: 10 * time.Second, DialTimeout: 10 * time.Second, MaxFrame: 100 << 20, Pool: &Pool{}}
	fetch, err := Dial(b.Context(), addr, opts)
	if err != nil {
		b.Fatal(err)
	}
	produce, err := Dial(b.Context(), addr, opts)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { fetch.Close(); produce.Close() })
	s := NewSession()
	for p := range int32(benchPartitions) {
		s.Want(Partition{"in", p}, in, 0, 1<<20, "bench")
	}
	return func() (int, error) {
		req := fetchRequest()
		if req.Version, err = s.Version(fetch); err != nil {
			return 0, err
		}
		s.Fill(req)
		a, err := fetch.Ask(b.Context(), req)
		if err != nil {
			return 0, err
		}
		defer a.Release()
		res := kmsg.NewPtrFetchResponse()
		res.Version = req.Version
		if err := res.ReadFrom(a.Body); err != nil {
			return 0, err
		}
		if err := s.Took(res); err != nil {
			return 0, err
		}
		var batches []Batch
		bytes := 0
		for i := range res.Topics {
			for j := range res.Topics[i].Partitions {
				p := &res.Topics[i].Partitions[j]
				outs, next, err := rewrite(p)
				if err != nil {
					return 0, err
				}
				if len(outs) > 0 {
					batches = append(batches, Batch{Topic: "out", ID: out, Partition: p.Partition, Records: outs[0]})
					bytes += len(outs[0])
					s.Want(Partition{"in", p.Partition}, in, next, 1<<20, "bench")
				}
			}
		}
		done := make(chan error, 1)
		produce.SendProduce(batches, 9*time.Second, func(answers []Produced, err error) {
			for _, a := range answers {
				if a.Code != 0 {
					err = fmt.Errorf("%+v", a)
				}
			}
			if err == nil && len(answers) != len(batches) {
				err = errors.New("an answer is missing")
			}
			done <- err
		})
		return bytes, <-done
	}
}

func viaClient(b *testing.B, addr string) func() (int, error) {
	in, out, client := ids(b, addr)
	at := make([]int64, benchPartitions)
	first := 0
	return func() (int, error) {
		req := fetchRequest()
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = "in", in
		for i := range benchPartitions {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition = int32((first + i) % benchPartitions)
			p.CurrentLeaderEpoch, p.FetchOffset, p.PartitionMaxBytes = -1, at[p.Partition], 1<<20
			t.Partitions = append(t.Partitions, p)
		}
		first += benchFetch >> 20
		req.Topics = append(req.Topics, t)
		r, err := client.Broker(0).Request(b.Context(), req)
		if err != nil {
			return 0, err
		}
		res := r.(*kmsg.FetchResponse)
		send := kmsg.NewPtrProduceRequest()
		send.Acks, send.TimeoutMillis = -1, 9000
		rt := kmsg.NewProduceRequestTopic()
		rt.Topic, rt.TopicID = "out", out
		bytes := 0
		for i := range res.Topics {
			for j := range res.Topics[i].Partitions {
				p := &res.Topics[i].Partitions[j]
				outs, next, err := rewrite(p)
				if err != nil {
					return 0, err
				}
				if len(outs) > 0 {
					rp := kmsg.NewProduceRequestTopicPartition()
					rp.Partition, rp.Records = p.Partition, outs[0]
					rt.Partitions = append(rt.Partitions, rp)
					bytes += len(outs[0])
					at[p.Partition] = next
				}
			}
		}
		send.Topics = append(send.Topics, rt)
		r, err = client.Broker(0).Request(b.Context(), send)
		if err != nil {
			return 0, err
		}
		for _, p := range r.(*kmsg.ProduceResponse).Topics[0].Partitions {
			if p.ErrorCode != 0 {
				return 0, fmt.Errorf("partition %d: error %d", p.Partition, p.ErrorCode)
			}
		}
		return bytes, nil
	}
}
