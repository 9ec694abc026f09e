package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

// TestMain lets the test's own program be the sample clients too: drctl exec
// starts this executable with "client …", as it starts the demo.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "client" {
		os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func TestOptionsComeFromTheEnvironment(t *testing.T) {
	for _, tc := range []struct {
		env  map[string]string
		want Options
	}{
		{nil, Options{Kind: local.KFake, Seed: 1, Report: "out/demo.json", Replicas: 2}},
		{map[string]string{"KAFKA": "real", "DEMO_SEED": "7", "KEEP": "1", "STORY": "tutorial", "REPLICAS": "3"}, Options{Kind: local.Apache, Seed: 7, Keep: true, Report: "out/demo.json", Replicas: 3, Story: "tutorial"}},
		{map[string]string{"KEEP": "0", "DRAWBRIDGE_MUTANT": "drop-one-record"}, Options{Kind: local.KFake, Seed: 1, Mutant: "drop-one-record", Report: "out/demo.json", Replicas: 2}},
	} {
		got, err := options(nil, func(name string) string { return tc.env[name] })
		if err != nil {
			t.Errorf("%v: %v", tc.env, err)
		}
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%v (-want +got):\n%s", tc.env, d)
		}
	}
}

func TestWrongOptionsAreRefusedAllAtOnceWithWhatThereIs(t *testing.T) {
	env := map[string]string{"KAFKA": "rabbit", "DEMO_SEED": "many", "STORY": "active-active", "REPLICAS": "0"}
	var stdout, stderr strings.Builder
	if code := run([]string{"--now"}, func(name string) string { return env[name] }, &stdout, &stderr); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	for _, part := range []string{`"--now"`, "KAFKA=rabbit: use real", "DEMO_SEED=many: use a whole number", "STORY=active-active: there is no such story; there is: tutorial", "REPLICAS=0: use 1 to 4"} {
		if !strings.Contains(stderr.String(), part) {
			t.Errorf("nothing says %q: %s", part, stderr.String())
		}
	}
	if o, err := options(nil, func(name string) string { return map[string]string{"STORY": "switchover"}[name] }); err != nil || o.Story != switchoverStory {
		t.Errorf("STORY=switchover: %+v, %v", o, err)
	}
	if stdout.Len() > 0 {
		t.Errorf("something began: %s", stdout.String())
	}
}

func TestAClientOutsideOfDrctlExecSaysWhatItNeeds(t *testing.T) {
	var stderr strings.Builder
	if code := run([]string{"client", "produce"}, func(string) string { return "" }, &stderr, &stderr); code != exitFault {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(stderr.String(), "run this under drctl exec") {
		t.Errorf("it says %s", stderr.String())
	}
}

func TestTheSeedVariesTheClicksAndNothingElse(t *testing.T) {
	if once, again := newTraffic(1), newTraffic(1); once != again {
		t.Error("the same seed gives other clicks")
	}
	seen := map[traffic]bool{}
	for seed := range uint64(50) {
		c := newTraffic(seed)
		seen[c] = true
		if c.Total < 10_000 || c.Before < 1 || c.Behind < 1 || c.ReadOn < 1 || c.PerSecond < 1 {
			t.Errorf("seed %d: %+v", seed, c)
		}
	}
	if len(seen) < 45 {
		t.Errorf("50 seeds give only %d kinds of clicks", len(seen))
	}
	if !slices.Equal(numbers(6, 8), []string{"6", "7", "8"}) {
		t.Errorf("numbers 6 to 8 are %v", numbers(6, 8))
	}
}
