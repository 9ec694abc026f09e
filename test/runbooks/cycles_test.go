package runbooks

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestTwoCyclesThereAndBackLoseAndRepeatNothing(t *testing.T) {
	for kafka, servers := range map[string]func(*testing.T) *harness.System{
		"kfake":  func(*testing.T) *harness.System { return shared },
		"apache": apache,
	} {
		t.Run(kafka, func(t *testing.T) {
			t.Parallel()
			there(newPair(t, servers(t), "cycles", nil))
		})
	}
}

// apache starts servers with Apache Kafka, one broker a side.
func apache(t *testing.T) *harness.System {
	t.Helper()
	return ownServers(t, local.Apache)
}

// ownServers are servers of one test, which may kill them.
func ownServers(t *testing.T, kind local.KafkaKind) *harness.System {
	t.Helper()
	p := &pair{T: t}
	sys, err := harness.Start(p.within(3*time.Minute), harness.Config{
		Dir: filepath.Join(t.TempDir(), "system"), Kind: kind, Pair: "servers",
		Topics: []harness.Topic{{Name: "servers", Partitions: 1}}, Principals: []harness.Principal{{Name: app}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sys.Stop(); err != nil {
			t.Error(err)
		}
	})
	return sys
}

// there and back twice: the primary dies with records that nobody else has, and
// comes back.
func there(p *pair) {
	p.outcome(runbook.Done, "setup")
	t := &traveller{pair: p}
	t.write(p.Home, "1", "2", "3")
	t.reads(p.Home, 2)
	for n := range int64(2) {
		name := func(s string) string { return fmt.Sprintf("%s of cycle %d", s, n+1) }
		p.mirrored(p.Home, p.Standby)
		p.lag(name("lag 1"), name("lag 2"))
		p.must(p.Home.Kafka.Kill())
		got := p.outcome(runbook.Partly, "failover")
		p.epoch(got.Epoch, 2+2*n, got.Active, p.Standby)

		t.reads(p.Standby, 1)
		t.write(p.Standby, name("app 1"), name("app 2"))
		t.reads(p.Standby, 1)

		p.ReleasePair()
		p.must(p.Home.Kafka.Restart(p.within(2 * time.Minute)))
		recovered := p.outcome(runbook.Done, "recover", "--append", "*")
		if rpo := recovered.Report.RPOExact; rpo == nil || *rpo != 2*partitions {
			p.Errorf("cycle %d: exact RPO %v, want %d", n+1, rpo, 2*partitions)
		}
		// Whoever asks for the failover's report gets the count, not the estimate alone.
		p.must(local.WaitFor(p.within(time.Minute), "the amended report", func(ctx context.Context) error {
			text, err := p.Drctl.Run(ctx, "reports", p.Pair(), got.OpID)
			if want := fmt.Sprintf("RPO exact: %d records (found out by %s)", 2*partitions, recovered.OpID); err == nil && (!strings.Contains(text, want) || !strings.Contains(text, "RPO in time: ")) {
				err = fmt.Errorf("no %q in %s", want, text)
			}
			return err
		}))
		t.all = append(t.all, name("lag 1"), name("lag 2"))
		p.stands(p.Standby, t.all...)
		t.reads(p.Standby, 1)

		got = p.outcome(runbook.Done, "failback")
		p.epoch(got.Epoch, 3+2*n, got.Active, p.Home)
		t.reads(p.Home, 1)
		t.write(p.Home, name("home"))
		p.mirrored(p.Home, p.Standby)
		p.stands(p.Home, t.all...)
		p.stands(p.Standby, t.all...)
		// At home again nothing lags: what the standby holds it mirrored.
		if again := p.outcome(runbook.Done, "recover", "--append", "*"); again.Report.RPOExact != nil && *again.Report.RPOExact != 0 {
			p.Errorf("cycle %d: recover at home finds %d lagged records", n+1, *again.Report.RPOExact)
		}
		p.stands(p.Home, t.all...)
		p.left()
	}
	t.reads(p.Home, len(t.all)-t.at)
}

// traveller is the pair's application: what it wrote in order, and how far its
// group has read.
type traveller struct {
	*pair
	all []string
	at  int
}

func (t *traveller) write(s *harness.Site, values ...string) {
	t.Helper()
	t.produce(s, values...)
	t.all = append(t.all, values...)
}

// reads insists that the group goes on exactly where it was, wherever that was.
func (t *traveller) reads(s *harness.Site, n int) {
	t.Helper()
	want := t.all[t.at : t.at+n]
	for part, got := range t.read(s, n) {
		if !slices.Equal(got, want) {
			t.Errorf("the group reads %q of partition %d at %s, want %q", got, part, s.Name, want)
		}
	}
	t.at += n
}

func (p *pair) epoch(got, want int64, active []string, s *harness.Site) {
	p.Helper()
	if got != want || !slices.Equal(active, []string{s.Name}) {
		p.Errorf("epoch %d, active %v; want %d, %s", got, active, want, s.Name)
	}
}

// left insists that at home nothing of ours is left but the standby's guards.
func (p *pair) left() {
	p.Helper()
	if deny := p.deny(p.Home); len(deny) > 0 {
		p.Errorf("DENY entries at home: %q", deny)
	}
	guards := []string{"User:* WRITE on TOPIC PAIR-orders from *", "User:* WRITE on TOPIC drawbridge.canary.PAIR from *"}
	deny := p.deny(p.Standby)
	if slices.Sort(guards); !slices.Equal(deny, guards) {
		p.Errorf("DENY entries at the standby: %q, want the guards only: %q", deny, guards)
	}
	for _, s := range []*harness.Site{p.Home, p.Standby} {
		at := p.standing(s)
		for _, r := range at.Registers {
			if !strings.Contains(r, "handed over true") {
				p.Errorf("a fence is left in the register of %s: %s", s.Name, r)
			}
		}
		if !strings.Contains(at.Record, "phase open") || !strings.Contains(at.Record, "locked false, 0 debts") || !strings.Contains(at.Lock, "held false") {
			p.Errorf("at %s: record %s; lock %s", s.Name, at.Record, at.Lock)
		}
	}
}
