package activities

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func placesAPipeline(t *testing.T, kind local.KafkaKind) {
	a, site, k, adm := oneCluster(t, kind)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := adm.CreateTopics(ctx, 2, 1, nil, "in", "out"); err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(append(k.Options(admin), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	at := func(topic string, partition int32, second int) {
		t.Helper()
		r := &kgo.Record{Topic: topic, Partition: partition, Value: []byte("x"), Timestamp: began.Add(time.Duration(second) * time.Second)}
		if err := client.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for s := range 100 {
		at("in", 0, s)
	}
	at("in", 1, 3)
	at("out", 0, 70) // what came of later inputs was not mirrored; partition 1 of both is nearly empty
	var commits kadm.Offsets
	commits.Add(kadm.Offset{Topic: "in", Partition: 0, At: 90, LeaderEpoch: -1})
	if err := adm.CommitAllOffsets(ctx, "etl", commits); err != nil {
		t.Fatal(err)
	}
	p := runbook.Pipeline{Group: "etl", Inputs: []string{"in", "gone"}, Outputs: []string{"out"}, MarginSeconds: 20}
	in := workflows.InspectPipelineInput{Call: call("outputs"), Site: site, Pipeline: p}
	ends := must[workflows.InspectPipelineResult](t)(a.InspectPipeline(ctx, in))
	since, _ := runbook.PipelineTime(p, ends.Outputs)
	if len(ends.Outputs) != 2 || !ends.Outputs[1].Empty || !since.Equal(began.Add(50*time.Second)) {
		t.Fatalf("outputs %+v, since %v", ends.Outputs, since)
	}
	in.Since = since
	inputs := must[workflows.InspectPipelineResult](t)(a.InspectPipeline(ctx, in))
	places := runbook.Place("etl", inputs.Inputs)
	if len(inputs.Missing) != 1 || len(places) != 2 || places[0].At != 50 || places[0].Repeats != 40 || places[1].Skipped == "" {
		t.Fatalf("inputs %+v, places %+v", inputs, places)
	}
	put := workflows.PlaceGroupInput{Call: call("place"), Site: site, Group: "etl", Places: places}
	for i, want := range []int{1, 0} { // again: nothing is left to write
		got := must[workflows.PlaceGroupResult](t)(a.PlaceGroup(ctx, put))
		if got.Written != want || got.Standing != 1 {
			t.Errorf("time %d: %+v", i, got)
		}
	}
	stands := must[kadm.OffsetResponses](t)(adm.FetchOffsets(ctx, "etl"))
	if o, _ := stands.Lookup("in", 0); o.At != 50 {
		t.Errorf("the group stands at %d", o.At)
	}
	if o, ok := stands.Lookup("in", 1); ok && o.At >= 0 {
		t.Errorf("a skipped partition got offset %d", o.At)
	}
	places[0].At = 60 // later than it stands: left
	if got := must[workflows.PlaceGroupResult](t)(a.PlaceGroup(ctx, put)); got.Written != 0 {
		t.Errorf("a group was moved forwards: %+v", got)
	}
	leave := consume(t, k, "etl")
	defer leave()
	err = local.WaitFor(ctx, "the consumer to join", func(ctx context.Context) error {
		got, err := a.AwaitGroupsEmpty(ctx, workflows.AwaitGroupsEmptyInput{Call: call("empty"), Site: site, Groups: []string{"etl"}})
		if err == nil && got.Empty {
			err = errors.New("still empty")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	places[0].At = 10
	_, err = a.PlaceGroup(ctx, put)
	typed(t, err, workflows.ErrPrecondition, false)
}

func TestAPipelinesGroupIsPlacedAndReadBack(t *testing.T) { placesAPipeline(t, local.KFake) }

func TestAPipelinesGroupIsPlacedOnApacheKafka(t *testing.T) {
	placesAPipeline(t, local.Apache)
}
