package runbooks

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// picture is everything that an operation leaves behind, without names of runs,
// times and what the pair is called: two pairs that went through the same have
// equal pictures.
type picture struct {
	Outcome   string
	Error     string
	Epoch     int64
	Active    []string
	Steps     []string // name: state
	Overrides []string
	Approvals int
	Fences    []string
	Debts     []string
	Stops     []string // stop offsets of the report
	RPO       string
	Reports   []string // files
	Sites     map[string]standing
}

// standing is what stands at one site.
type standing struct {
	Record    string
	Lock      string
	Registers []string // fence registers of the engine
	Mirrors   []string // of links that end here
	Ledger    []string
	Deny      []string // DENY entries on what is the pair's
	Records   map[int32][]string
	Committed map[int32]int64
}

// picture looks at everything after an operation.
func (p *pair) picture(r workflows.Result) picture {
	p.Helper()
	out := picture{
		Outcome: r.Outcome, Error: r.Report.Error, Epoch: r.Epoch, Active: r.Active,
		Overrides: r.Report.Overrides, Approvals: len(r.Report.Approvals),
		Sites: map[string]standing{p.Home.Name: p.standing(p.Home), p.Standby.Name: p.standing(p.Standby)},
	}
	for _, s := range r.Report.Steps {
		out.Steps = append(out.Steps, s.Name+": "+s.State)
	}
	for _, f := range r.Report.Fences {
		out.Fences = append(out.Fences, fmt.Sprintf("%s %s, %d entries", f.Site, f.Level, f.Evidence.Entries))
	}
	for _, d := range r.Report.DebtsOpen {
		out.Debts = append(out.Debts, d.Kind+" "+d.Site)
	}
	for _, s := range r.Report.Stops {
		if s.Topic == p.topic && s.SourceStop != nil && s.DestStop != nil {
			out.Stops = append(out.Stops, fmt.Sprintf("%d: %d → %d", s.Partition, *s.SourceStop, *s.DestStop))
		}
	}
	if r.Report.RPOExact != nil {
		out.RPO = fmt.Sprintf("exact %d", *r.Report.RPOExact)
	}
	files, err := os.ReadDir(p.Reports)
	p.must(err)
	for _, f := range files {
		if f.IsDir() { // readiness, which comes when its schedule says so
			continue
		}
		verb, _, _ := strings.Cut(f.Name(), "-")
		out.Reports = append(out.Reports, verb+f.Name()[strings.LastIndex(f.Name(), "."):])
	}
	p.anonymous(out.Steps, out.Stops, out.Fences)
	return out
}

// anonymous takes the pair's name out.
func (p *pair) anonymous(lists ...[]string) {
	for _, l := range lists {
		for i := range l {
			l[i] = strings.ReplaceAll(l[i], "drawbridge-drill-"+p.Pair(), "drawbridge-drill-PAIR")
			l[i] = strings.ReplaceAll(l[i], p.Pair()+"-", "PAIR-")
			l[i] = strings.ReplaceAll(l[i], "."+p.Pair(), ".PAIR")
		}
	}
}

func (p *pair) standing(s *harness.Site) standing {
	p.Helper()
	ctx := p.within(2 * time.Minute)
	out := standing{Records: p.stand(s), Committed: p.committed(s), Deny: p.deny(s)}
	rec, err := p.Record(ctx, s)
	p.must(err)
	out.Record = fmt.Sprintf("epoch %d after %d, active %v, standby %v, phase %s, locked %t, %d debts", rec.Epoch, rec.PrevEpoch, rec.Active, rec.Standby, rec.Phase, rec.Lock != nil, len(rec.FenceDebt))
	engine := s.Engine.Client()
	lock, err := engine.Lock(ctx, p.Pair())
	p.must(err)
	out.Lock = fmt.Sprintf("held %t, highest epoch %d", lock.OperationID != "", lock.HighestEpoch)
	fences, err := engine.Fences(ctx, p.Pair())
	p.must(err)
	for _, f := range fences {
		var entries []string
		for _, e := range f.Entries {
			entries = append(entries, fmt.Sprintf("%s %s %s %s %s existed %t", e.Permission, e.Principal, e.Operation, e.ResourceType, e.ResourceName, e.ExistedBefore))
		}
		slices.Sort(entries)
		verb, _, _ := strings.Cut(f.OperationID, "-")
		out.Registers = append(out.Registers, fmt.Sprintf("%s at %s, handed over %t: %s", verb, f.Site, f.HandedOver, strings.Join(entries, "; ")))
	}
	slices.Sort(out.Registers)
	for _, link := range []string{p.link, p.back} {
		progress, err := engine.Progress(ctx, link)
		if err != nil {
			continue // a link that does not end here, or is not made yet
		}
		for _, m := range progress.Mirrors {
			line := fmt.Sprintf("%s by %s: %s", m.Topic, link, m.Status)
			for _, part := range m.Partitions {
				if m.Topic == p.topic && part.SourceStop != nil {
					line += fmt.Sprintf(", %d stopped %d → %d", part.Partition, *part.SourceStop, *part.DestStop)
				}
			}
			out.Mirrors = append(out.Mirrors, line)
		}
		token, err := engine.Operation(ctx, link)
		if err == nil && token.OperationID != "" {
			verb, _, _ := strings.Cut(token.OperationID, "-")
			out.Mirrors = append(out.Mirrors, fmt.Sprintf("%s: operation %s %s", link, verb, token.State))
		}
		ledger, err := engine.Ledger(ctx, link)
		if err != nil {
			continue
		}
		for _, e := range ledger.Entries {
			if e.Topic == p.topic {
				out.Ledger = append(out.Ledger, fmt.Sprintf("%d: %d of [%d,%d) %s, appended %d", e.Partition, e.Records, e.From, e.To, e.Decision, e.Appended))
			}
		}
	}
	slices.Sort(out.Mirrors)
	slices.Sort(out.Ledger)
	p.anonymous(out.Registers, out.Mirrors, out.Ledger)
	return out
}

// deny lists the DENY entries at a site on the pair's topics and groups.
func (p *pair) deny(s *harness.Site) []string {
	p.Helper()
	b := kadm.NewACLs().AnyResource().Operations().ResourcePatternType(kadm.ACLPatternAny).Deny().DenyHosts()
	got, err := p.admin(s).DescribeACLs(p.within(2*time.Minute), b)
	p.must(err)
	var out []string
	for _, r := range got {
		p.must(r.Err)
		for _, e := range r.Described {
			if strings.HasPrefix(e.Name, p.Pair()+"-") || e.Name == runbook.CanaryTopic(p.Pair()) {
				out = append(out, fmt.Sprintf("%s %s on %s %s from %s", e.Principal, e.Operation, kmsg.ACLResourceType(e.Type), e.Name, e.Host))
			}
		}
	}
	p.anonymous(out)
	slices.Sort(out)
	return out
}

// same insists that a site stands as it stood.
func (p *pair) same(before, now standing) {
	p.Helper()
	if d := cmp.Diff(before, now); d != "" {
		p.Errorf("pair %s: what stands there changed (-before +now)\n%s", p.Pair(), d)
	}
}
