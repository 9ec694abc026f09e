package activities

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// A drill's steps against real engines: known records are written once however often
// that is tried, they are at the other site as they were, and all is gone at the end,
// though the run before died with its token open.
func TestADrillsRecordsGoThereAndEverythingIsClearedAgain(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	link := runbook.DrillLink("orders", p.east2w)
	topics, groups := []string{runbook.DrillTopic("orders")}, []string{runbook.DrillGroup("orders")}
	clearing := workflows.ClearDrillInput{Call: call("clear"), Active: p.east, Standby: p.west, Link: link}
	if got, err := p.ClearDrill(ctx, clearing); err != nil || len(got.Removed) > 0 {
		t.Fatalf("nothing was there: %v, %v", got, err)
	}
	before := p.standing(t)
	for round := range 2 { // the first is left as it stands
		call := func(step string) workflows.Call {
			c := call(step)
			c.OperationID += string(rune('a' + round))
			return c
		}
		if round == 1 {
			got, err := p.ClearDrill(ctx, clearing)
			if err != nil || len(got.Removed) != 5 {
				t.Fatalf("removed %q, %v", got.Removed, err)
			}
		}
		var wrote workflows.DrillCopyResult
		for range 2 {
			var err error
			wrote, err = p.WriteDrill(ctx, workflows.WriteDrillInput{Call: call("write"), Site: p.east, Partitions: 3, Records: 100})
			if err != nil || wrote.Copy.Records() != 100 || wrote.Copy.Partitions[0].Records != 34 || wrote.Copy.Partitions[0].Committed != 17 {
				t.Fatalf("%+v, %v", wrote, err)
			}
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		_, err := p.EnsureLink(ctx, workflows.EnsureLinkInput{Call: call("link"), Link: link, Source: p.east, Destination: p.west, Groups: groups})
		must(err)
		_, err = p.BeginOperation(ctx, workflows.OperationTokenInput{Call: call("begin"), Site: p.west, Link: link})
		must(err)
		mirror := workflows.EnsureMirrorsInput{Call: call("mirror"), Link: link, Source: p.east, Destination: p.west, Topics: topics}
		await := workflows.AwaitMirrorsInput{Call: call("await"), Site: p.west, Link: link, Topics: topics, Within: time.Minute}
		_, err = p.EnsureMirrors(ctx, mirror)
		must(err)
		tip, err := p.AwaitMirrors(ctx, await)
		if must(err); !tip.CaughtUp {
			t.Fatalf("%+v", tip)
		}
		synced, err := p.SyncGroups(ctx, workflows.LinkGroupsInput{Call: call("sync"), Site: p.west, Link: link, Groups: groups})
		if must(err); !synced.Exact || len(synced.Groups) != 3 {
			t.Fatalf("%+v", synced)
		}
		if round == 0 {
			continue
		}
		in := workflows.MirrorsInput{Call: call("fail over"), Site: p.west, Link: link, Topics: topics}
		_, err = p.FailoverMirrors(ctx, in)
		must(err)
		ended, err := p.AwaitStopped(ctx, workflows.AwaitStoppedInput{Call: call("stopped"), Site: p.west, Link: link, Topics: topics, Within: time.Minute})
		if must(err); !ended.Topics[0].OK {
			t.Fatalf("%+v", ended)
		}
		open, err := p.ProveWritable(ctx, workflows.ProveWritableInput{Call: call("prove"), Site: p.west, Topics: topics, Within: time.Minute})
		if must(err); !open.Writable {
			t.Fatalf("%+v", open)
		}
		there, err := p.ReadDrill(ctx, workflows.ReadDrillInput{Call: call("read"), Site: p.west})
		must(err)
		if v := runbook.SameCopy(wrote.Copy, there.Copy, true); !v.OK {
			t.Fatal(v.Text())
		}
		_, err = p.ProduceConsumeCanary(ctx, workflows.ProduceConsumeCanaryInput{Call: call("own record"), Site: p.west, Topic: topics[0]})
		must(err)
		there, err = p.ReadDrill(ctx, workflows.ReadDrillInput{Call: call("read"), Site: p.west})
		must(err)
		if v := runbook.SameCopy(wrote.Copy, there.Copy, true); v.OK {
			t.Error("a record more was not noticed")
		}
		_, err = p.DeleteTopics(ctx, workflows.DeleteTopicsInput{Call: call("delete"), Site: p.west, Other: p.east, Link: link, Topics: topics})
		must(err)
		_, err = p.EnsureMirrors(ctx, mirror)
		must(err)
		if tip, err = p.AwaitMirrors(ctx, await); err != nil || !tip.CaughtUp {
			t.Fatalf("%+v, %v", tip, err)
		}
		there, err = p.ReadDrill(ctx, workflows.ReadDrillInput{Call: call("read"), Site: p.west})
		must(err)
		if v := runbook.SameCopy(wrote.Copy, there.Copy, false); !v.OK {
			t.Error(v.Text())
		}
	}
	for range 2 {
		if _, err := p.ClearDrill(ctx, clearing); err != nil {
			t.Fatal(err)
		}
	}
	if after := p.standing(t); !slices.Equal(before, after) {
		t.Errorf("before %q\nafter %q", before, after)
	}
	// Nothing but the drill's own is ever deleted or written.
	clearing.Link = p.east2w
	_, err := p.ClearDrill(ctx, clearing)
	typed(t, err, workflows.ErrRefused, false)
	_, err = p.ProduceConsumeCanary(ctx, workflows.ProduceConsumeCanaryInput{Call: call("theirs"), Site: p.west, Topic: "orders"})
	typed(t, err, workflows.ErrRefused, false)
}

// standing is what there is at both sites: links, topics, groups, DENY entries.
func (p *pair) standing(t *testing.T) (out []string) {
	t.Helper()
	for _, s := range []runbook.Site{p.east, p.west} {
		e, err := p.engine(s)
		if err != nil {
			t.Fatal(err)
		}
		links, err := e.Links(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range links {
			out = append(out, s.Name+" link "+l.LinkName)
		}
		p.admin(t, s.Name, func(ctx context.Context, adm *kadm.Client) error {
			names, err := adm.ListTopics(ctx)
			if err != nil {
				return err
			}
			for _, n := range names.Names() {
				out = append(out, s.Name+" topic "+n)
			}
			list, err := adm.ListGroups(ctx)
			if err != nil {
				return err
			}
			for _, g := range list.Groups() {
				out = append(out, s.Name+" group "+g)
			}
			acls, err := adm.DescribeACLs(ctx, kadm.NewACLs().Deny().DenyHosts().AnyResource().Operations().ResourcePatternType(kadm.ACLPatternAny))
			if err != nil {
				return err
			}
			for _, r := range acls {
				for _, d := range r.Described {
					out = append(out, s.Name+" deny "+d.Principal+" "+d.Name)
				}
			}
			return nil
		})
	}
	slices.Sort(out)
	return out
}
