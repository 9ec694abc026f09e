package harness

import (
	"context"
	"testing"
	"time"
	"os"
	"fmt"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
)

func TestScratch(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cfg, _ := Config{Dir: t.TempDir(), Kind: local.KafkaKind(os.Getenv("KIND")), UI: true, Topics: []Topic{{"dr-topic", 1}, {"clicks", 6}}, Groups: []plan.Group{{Name: "g", Move: "watch"}},
		Principals: []Principal{{Name: "p", Write: []string{"dr-topic"}}}, Progress: func(f string, a ...any) { fmt.Printf("%s "+f+"\n", append([]any{time.Now().Format("05.000")}, a...)...) }}.withDefaults()
	s := &System{cfg: cfg, people: map[string]string{}, logins: map[string]local.User{}, Reports: cfg.Dir + "/reports"}
	defer s.Stop()
	s.makeLogins()
	s.binaries = map[string]string{}
	for _, c := range []string{"mirrorengine", "drctl"} {
		b, err := Build(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		s.binaries[c] = b
	}
	for i, f := range []func(context.Context) error{s.startServers, s.createTopics, s.startEngines, s.writePlan} {
		cfg.Progress("step %d", i)
		if err := f(ctx); err != nil {
			t.Fatal(i, err)
		}
	}
	raw, _ := os.ReadFile(s.PlanFile)
	fmt.Println(string(raw))
	dir := t.TempDir()
	configs, err := SourceConfigs(s.Home.Kafka, s.super, dir)
	if err != nil {
		t.Fatal(err)
	}
	cl := s.Standby.Engine.Client()
	fmt.Println(cl.CreateLink(ctx, "east-to-west", api.CreateLink{SourceClusterID: s.Home.Kafka.ClusterID(), Configs: configs}, false, true))
	for _, x := range []string{"dr-topic", "clicks"} {
		fmt.Println(cl.CreateMirror(ctx, "east-to-west", api.CreateMirror{SourceTopicName: x}))
	}
	fmt.Println(s.Mirrored(ctx, s.Home, s.Standby, "dr-topic", "clicks"), s.LagZero(ctx, s.Home, s.Standby, "dr-topic"))
	e, err := cl.Engine(ctx)
	fmt.Printf("%+v %v\n", e, err)
	fmt.Println(s.Home.Kafka.Proxies().Connections(LinkClients))
}
