package activities

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// The rights that the check asks for are those that a canary drill's own steps need at a site: each that is missing is named,
// and with all of them the steps do their work and nothing is named.
func TestTheRightsThatADrillLacksAreNamed(t *testing.T) {
	k := local.KafkaForTest(t, local.KafkaConfig{Kind: local.KFake, Name: "east", SuperUser: admin, Users: []local.User{app, canary}})
	client, err := kgo.NewClient(k.Options(admin)...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	allow := func(b *kadm.ACLBuilder) {
		t.Helper()
		got, err := adm.CreateACLs(t.Context(), b.AllowHosts("*").ResourcePatternType(kadm.ACLPatternLiteral))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range got {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
	topic, group := runbook.DrillTopic("orders"), runbook.DrillGroup("orders")
	a := newActivities(t, Options{})
	c := login(t, canary)
	east := runbook.Site{Name: "east", Kafka: runbook.Kafka{Bootstrap: k.Bootstrap(), Security: login(t, app)}, Canary: &c}
	west := runbook.Site{Name: "west", Engine: runbook.Engine{LinkSecurity: login(t, canary)}} // one principal in two parts
	find := func(kinds ...string) []string {
		t.Helper()
		in := workflows.CheckPrivilegesInput{Call: call("check"), Sites: []runbook.Site{east, west}}
		for _, kind := range kinds {
			in.Drills = append(in.Drills, runbook.DrillPlan{Kind: kind})
		}
		got, err := a.CheckPrivileges(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, f := range got.Findings {
			if f.Site == "east" && strings.Contains(f.What, "drill") {
				out = append(out, f.What)
				if f.Cure == "" || f.Blocker {
					t.Errorf("%+v", f)
				}
			}
		}
		slices.Sort(out)
		return out
	}
	// What the pair itself needs of the worker and the link, and no more.
	allow(kadm.NewACLs().Allow("User:app").Clusters().Operations(kadm.OpDescribe))
	allow(kadm.NewACLs().Allow("User:app", "User:canary").Topics("sales").Operations(kadm.OpRead, kadm.OpDescribe, kadm.OpWrite))
	if got := find(); len(got) > 0 {
		t.Errorf("without drills: %q", got)
	}
	if got := find(runbook.DrillTabletop, runbook.DrillFull); len(got) != 1 || !strings.Contains(got[0], "a full drill, as any move") {
		t.Errorf("a full drill: %q", got)
	}
	all := []string{
		"a canary drill will fail: the canary's principal lacks WRITE on topic " + topic,
		"a canary drill will fail: the link's principal (engine.link_security of west) lacks DESCRIBE on group " + group,
		"a canary drill will fail: the link's principal (engine.link_security of west) lacks READ, DESCRIBE_CONFIGS on topic " + topic,
		"a canary drill will fail: the worker's principal lacks CREATE, READ, WRITE, DELETE on topic " + topic,
		"a canary drill will fail: the worker's principal lacks READ, DELETE on group " + group,
	}
	if got := find(runbook.DrillCanary); !slices.Equal(got, all) {
		t.Errorf("a canary drill: %q", got)
	}
	fill := workflows.WriteDrillInput{Call: call("write"), Site: east, Partitions: 1, Records: 4}
	if _, err := a.WriteDrill(t.Context(), fill); err == nil {
		t.Error("the drill's topic was made without the rights that are missing")
	}
	allow(kadm.NewACLs().Allow("User:app").Topics(topic).Operations(kadm.OpCreate, kadm.OpRead, kadm.OpWrite, kadm.OpDelete))
	allow(kadm.NewACLs().Allow("User:app").Groups(group).Operations(kadm.OpRead, kadm.OpDelete))
	allow(kadm.NewACLs().Allow("User:canary").Topics(topic).Operations(kadm.OpAll))
	allow(kadm.NewACLs().Allow("User:canary").Groups(group).Operations(kadm.OpDescribe))
	allow(kadm.NewACLs().Allow("User:app").Clusters().Operations(kadm.OpAlter))
	if got := find(runbook.DrillCanary, runbook.DrillFull); len(got) > 0 {
		t.Errorf("with all rights: %q", got)
	}
	if got, err := a.WriteDrill(t.Context(), fill); err != nil || got.Copy.Records() != 4 {
		t.Fatalf("write: %+v, %v", got, err)
	}
	if got, err := a.ReadDrill(t.Context(), workflows.ReadDrillInput{Call: call("read"), Site: east}); err != nil || got.Copy.Records() != 4 {
		t.Errorf("read: %+v, %v", got, err)
	}
	if removed, err := a.dropDrill(t.Context(), east, "orders"); err != nil || len(removed) != 2 {
		t.Errorf("removed %q, %v", removed, err)
	}

	// A super user is named by no entry, and lacks nothing.
	east.Kafka.Security = login(t, admin)
	if got := find(runbook.DrillCanary, runbook.DrillFull); len(got) > 0 {
		t.Errorf("a super user: %q", got)
	}
}

func TestEntriesAreReadAsAnAuthorizerReadsThem(t *testing.T) {
	e := func(permission, who, resource, name, pattern, op string) api.ACLEntry {
		return api.ACLEntry{Principal: who, Host: "*", ResourceType: resource, ResourceName: name, PatternType: pattern, Operation: op, Permission: permission}
	}
	for name, c := range map[string]struct {
		entries []api.ACLEntry
		op      string
		lacks   bool
	}{
		"none":                        {nil, opRead, true},
		"by name":                     {[]api.ACLEntry{e(allow, "User:w", onTopic, "t.x", literal, opRead)}, opRead, false},
		"by prefix":                   {[]api.ACLEntry{e(allow, "User:w", onTopic, "t.", prefixed, opAll)}, opDelete, false},
		"another prefix":              {[]api.ACLEntry{e(allow, "User:w", onTopic, "u.", prefixed, opAll)}, opDelete, true},
		"for everybody":               {[]api.ACLEntry{e(allow, everybody, onTopic, "*", literal, opWrite)}, opWrite, false},
		"somebody else's":             {[]api.ACLEntry{e(allow, "User:x", onTopic, "t.x", literal, opWrite)}, opWrite, true},
		"denied":                      {[]api.ACLEntry{e(allow, "User:w", onTopic, "t.x", literal, opAll), e(deny, everybody, onTopic, "t.x", literal, opWrite)}, opWrite, true},
		"another operation is denied": {[]api.ACLEntry{e(allow, "User:w", onTopic, "t.x", literal, opAll), e(deny, everybody, onTopic, "t.x", literal, opWrite)}, opRead, false},
		"describe by delete":          {[]api.ACLEntry{e(allow, "User:w", onTopic, "t.x", literal, opDelete)}, opDescribe, false},
		"create on the cluster":       {[]api.ACLEntry{e(allow, "User:w", onCluster, theCluster, literal, opCreate)}, opCreate, false},
		"write on the cluster":        {[]api.ACLEntry{e(allow, "User:w", onCluster, theCluster, literal, opAll)}, opWrite, true},
		"a group of the name":         {[]api.ACLEntry{e(allow, "User:w", onGroup, "t.x", literal, opAll)}, opRead, true},
	} {
		if got := lacks(c.entries, "User:w", onTopic, "t.x", c.op); (len(got) == 1) != c.lacks {
			t.Errorf("%s: lacks %q", name, got)
		}
	}
}
