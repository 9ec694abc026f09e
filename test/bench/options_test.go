package main

import (
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/test/bench/measure"
)

// TestMain lets the test's own program be the processes that bench starts of itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{"plain", "relay-source", "relay", "relay-sink"}, os.Args[1]) {
		os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func TestOptionsComeFromTheEnvironment(t *testing.T) {
	get := func(env map[string]string) (Options, error) {
		return options(func(name string) string { return env[name] })
	}
	o, err := get(map[string]string{"QUICK": "1", "CASES": "tiny,none_1k,latency"})
	if err != nil {
		t.Fatal(err)
	}
	if !o.Quick || o.sizes.repeats != quickSizes.repeats || !o.wants(measure.Tiny) || !o.wants(partLatency) || o.wants(measure.Zstd) || o.wants(partRelay) {
		t.Errorf("%+v", o)
	}
	if got, want := command(o), "make bench QUICK=1 CASES=tiny,none_1k,latency"; got != want {
		t.Errorf("it says it was started by %q, want %q", got, want)
	}
	if o, err := get(nil); err != nil || o.Quick || !o.wants(measure.Zstd) || !o.wants(partRelay) {
		t.Errorf("%+v %v", o, err)
	}
	for cases, want := range map[string]string{"none_2k": `no case "none_2k"; there are: latency, relay, none_1k`, "latency": "latency needs none_1k"} {
		if _, err := get(map[string]string{"CASES": cases}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("CASES=%s: %v, want %q", cases, err, want)
		}
	}
}

func TestEverySizeIsGivenForEveryCase(t *testing.T) {
	for _, w := range workloads {
		if quickSizes.bytes[w.name] == 0 || fullSizes.bytes[w.name] < quickSizes.bytes[w.name] {
			t.Errorf("case %s: %d bytes in the quick race, %d in the full one", w.name, quickSizes.bytes[w.name], fullSizes.bytes[w.name])
		}
	}
}

func TestADigestTellsOrderTimeKeyAndValueApart(t *testing.T) {
	type record struct {
		millis     int64
		key, value string
	}
	of := func(records ...record) (d digest) {
		for _, r := range records {
			d.add(r.millis, []byte(r.key), []byte(r.value))
		}
		return d
	}
	a, b := record{1, "k", "v"}, record{2, "kk", "w"}
	all := []digest{
		of(), of(a), of(b), of(a, b), of(b, a), of(a, b, b), of(a, a, b),
		of(a, record{2, "k", "kw"}), of(a, record{3, "kk", "w"}), of(a, record{2, "kk", "x"}),
	}
	for i := range all {
		for j := range i {
			if all[i] == all[j] {
				t.Errorf("%d and %d have the same digest", i, j)
			}
		}
	}
}

func TestDigestsJoinAsRecordsDo(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		var whole, joined, part digest
		for range rng.IntN(50) {
			key, value := document(rng, 40), document(rng, 60)
			whole.add(5, key, value)
			part.add(5, key, value)
			if rng.IntN(4) == 0 {
				joined.join(part)
				part = digest{}
			}
		}
		joined.join(part)
		if d := cmp.Diff(whole, joined, cmp.AllowUnexported(digest{})); d != "" {
			t.Fatal(d)
		}
	}
}

func TestPayloadIsCompressibleAndNotConstant(t *testing.T) {
	for _, w := range workloads {
		pool, err := newPool(w, 1, mib)
		if err != nil {
			t.Fatal(err)
		}
		var wire int
		seen := map[string]bool{}
		for _, b := range pool.batches {
			wire += len(b.wire)
			seen[string(b.wire)] = true
			if int(b.digest.count) != pool.records {
				t.Fatalf("%s: a batch of %d records, want %d", w.name, b.digest.count, pool.records)
			}
		}
		if len(seen) != len(pool.batches) || len(seen) < 2*partitions {
			t.Errorf("%s: %d different batches of %d", w.name, len(seen), len(pool.batches))
		}
		ratio := float64(pool.bytes*len(pool.batches)) / float64(wire)
		t.Logf("%s: %d records per batch, %d bytes, ratio %.2f", w.name, pool.records, pool.bytes, ratio)
		switch {
		case codecName(w.codec) == "none" && (ratio > 1 || ratio < 0.8):
			t.Errorf("%s: ratio %.2f without compression", w.name, ratio)
		case codecName(w.codec) != "none" && (ratio < 1.5 || ratio > 5):
			t.Errorf("%s: it compresses %.2f times; real records do 1.5 to 5 times", w.name, ratio)
		}
	}
}
