package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/drawbridge-dr/drawbridge/test/demo/check"
	"github.com/drawbridge-dr/drawbridge/test/demo/clients"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// app is the sample application of one topic: a producer and a consumer group,
// each a process under drctl exec.
type app struct {
	sys   *harness.System
	topic string
	group string
	keys  int
	dir   string // input, journals, limits, state of drctl exec

	procs []*local.Process
	sent  *clients.Tail[check.Attempt]
	got   *clients.Tail[check.Read]
}

func newApp(sys *harness.System, topic, group string, keys int) (*app, error) {
	a := &app{sys: sys, topic: topic, group: group, keys: keys, dir: filepath.Join(sys.Dir(), "clients", topic)}
	a.sent, a.got = clients.NewTail[check.Attempt](a.journal("producer")), clients.NewTail[check.Read](a.journal("consumer"))
	return a, os.MkdirAll(a.dir, 0o755)
}

func (a *app) file(name string) string { return filepath.Join(a.dir, name) }

// start runs both clients as their owners would: `drctl exec … -- application`.
func (a *app) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, c := range []struct {
		name, group, principal string
		command                []string
	}{
		{"producer", a.topic + "-producer", producerOf(a.topic), []string{"produce", "-input", a.file("input"), "-keys", fmt.Sprint(a.keys)}},
		{"consumer", a.group, consumerOf(a.topic), []string{"consume", "-group", a.group, "-limits", a.file("limits.json")}},
	} {
		args := []string{
			"exec", "--pair", a.sys.Pair(), "--group", c.group, "--instance", a.topic + "-" + c.name,
			"--state-dir", a.file(c.name + "-state"), "--kill-timeout", "50s", "--restart", "--verbose",
		}
		for _, site := range []*harness.Site{a.sys.Home, a.sys.Standby} {
			args = append(args, "--site-consul", site.Name+"="+site.Consul.Address(), "--credentials", site.Name+"="+a.sys.Credentials(site, c.principal))
		}
		args = append(args, "--", self, "client", c.command[0], "-topic", a.topic, "-journal", a.journal(c.name))
		if err := os.MkdirAll(a.file(c.name+"-state"), 0o755); err != nil {
			return err
		}
		proc, err := local.Start(local.Spec{
			Name: a.topic + " " + c.name, Path: a.sys.Drctl.Binary(), Args: append(args, c.command[1:]...), LogFile: a.file(c.name + ".log"),
		})
		if err != nil {
			return err
		}
		a.procs = append(a.procs, proc)
	}
	return nil
}

func producerOf(topic string) string { return topic + "-producer" }
func consumerOf(topic string) string { return topic + "-consumer" }

func (a *app) journal(client string) string { return a.file(client + ".jsonl") }

// stop ends both, the producer first.
func (a *app) stop() error {
	var errs []error
	for _, p := range a.procs {
		errs = append(errs, p.Stop(2*time.Minute))
	}
	a.procs = nil
	return errors.Join(errs...)
}

// alive is an error if a client has ended: drctl exec should have kept it.
func (a *app) alive() error {
	for _, p := range a.procs {
		if !p.Running() {
			return fmt.Errorf("%s has ended: %w\n%s", p.Spec().Name, errors.Join(p.Err(), errors.New("nobody asked it to")), p.Log(10))
		}
	}
	return nil
}

// produce gives the producer more to send.
func (a *app) produce(names ...string) error {
	f, err := os.OpenFile(a.file("input"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	var text []byte
	for _, n := range names {
		text = fmt.Appendln(text, n)
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// limit says how many records the group may read at a site in all; -1 lifts all
// limits. The file is replaced whole, since the consumer may be reading it.
func (a *app) limit(site string, n int) error {
	limits := map[string]int{}
	if n >= 0 {
		limits[site] = n
	}
	raw, err := json.Marshal(limits)
	if err != nil {
		return err
	}
	return renameio.WriteFile(a.file("limits.json"), raw, 0o644)
}

// acked counts acknowledged attempts, at one site if it is named.
func (a *app) acked(site string) (int, error) {
	lines, err := a.sent.Lines()
	n := 0
	for _, l := range lines {
		if l.Outcome == check.Acked && (site == "" || l.Site == site) {
			n++
		}
	}
	return n, err
}

// awaitAcked waits until each of these records was acknowledged, wherever.
func (a *app) awaitAcked(ctx context.Context, names ...string) error {
	return local.WaitFor(ctx, fmt.Sprintf("%s: %v acknowledged", a.topic, names), func(context.Context) error {
		if err := a.alive(); err != nil {
			return err
		}
		lines, err := a.sent.Lines()
		if err != nil {
			return err
		}
		open := map[check.Name]bool{}
		for _, n := range names {
			open[check.Name(n)] = true
		}
		why := ""
		for _, l := range lines {
			if l.Outcome == check.Acked {
				delete(open, l.Record)
			} else if l.Error != "" {
				why = ": " + l.Error
			}
		}
		if len(open) > 0 {
			return fmt.Errorf("%d are not%s", len(open), why)
		}
		return nil
	})
}

// awaitAckedCount waits for n acknowledgements at a site.
func (a *app) awaitAckedCount(ctx context.Context, site string, n int) error {
	return local.WaitFor(ctx, fmt.Sprintf("%s: %d records acknowledged at %s", a.topic, n, site), func(context.Context) error {
		got, err := a.acked(site)
		if err == nil && got < n {
			err = errors.Join(fmt.Errorf("%d so far", got), a.alive())
		}
		return err
	})
}

// reads counts what the group read at a site.
func (a *app) reads(site string) (int, error) {
	lines, err := a.got.Lines()
	n := 0
	for _, l := range lines {
		if l.Site == site {
			n++
		}
	}
	return n, err
}

// awaitReadCount waits until the group has got n records at a site.
func (a *app) awaitReadCount(ctx context.Context, site string, n int) error {
	return local.WaitFor(ctx, fmt.Sprintf("group %s to read %d records at %s", a.group, n, site), func(context.Context) error {
		got, err := a.reads(site)
		if err == nil && got < n {
			err = errors.Join(fmt.Errorf("%d so far", got), a.alive())
		}
		return err
	})
}

// awaitRead waits until the group has got each of these records at a site.
func (a *app) awaitRead(ctx context.Context, site string, names ...string) error {
	return local.WaitFor(ctx, fmt.Sprintf("group %s to read %v at %s", a.group, names, site), func(context.Context) error {
		lines, err := a.got.Lines()
		if err != nil {
			return err
		}
		open := map[check.Name]bool{}
		for _, n := range names {
			open[check.Name(n)] = true
		}
		for _, l := range lines {
			if l.Site == site {
				delete(open, l.Record)
			}
		}
		if len(open) > 0 {
			return errors.Join(fmt.Errorf("%d are not read yet", len(open)), a.alive())
		}
		return nil
	})
}

// awaitSettled waits until what the group read at a site is committed there, to
// the record.
func (a *app) awaitSettled(ctx context.Context, site *harness.Site) error {
	admin, err := site.Admin()
	if err != nil {
		return err
	}
	defer admin.Close()
	return local.WaitFor(ctx, fmt.Sprintf("group %s to commit at %s what it read", a.group, site.Name), func(ctx context.Context) error {
		lines, err := a.got.Lines()
		if err != nil {
			return err
		}
		read := map[int32]int64{}
		for _, l := range lines {
			if l.Site == site.Name {
				read[l.Partition] = max(read[l.Partition], l.Offset+1)
			}
		}
		return committed(ctx, admin, a.group, a.topic, read)
	})
}

func committed(ctx context.Context, admin *kadm.Client, group, topic string, want map[int32]int64) error {
	offsets, err := admin.FetchOffsets(ctx, group)
	if err != nil {
		return err
	}
	for p, n := range want {
		if o, ok := offsets.Lookup(topic, p); !ok || o.At != n {
			return fmt.Errorf("%s/%d: committed %d, read up to %d", topic, p, o.At, n)
		}
	}
	return nil
}

// awaitReadAll waits until the group got everything that was acknowledged.
func (a *app) awaitReadAll(ctx context.Context) error {
	return local.WaitFor(ctx, fmt.Sprintf("group %s to read all that was acknowledged in %s", a.group, a.topic), func(context.Context) error {
		sent, err := a.sent.Lines()
		if err != nil {
			return err
		}
		got, err := a.got.Lines()
		if err != nil {
			return err
		}
		open := map[string]bool{}
		for _, l := range sent {
			if l.Outcome == check.Acked {
				open[fmt.Sprint(l.Record, "#", l.Attempt)] = true
			}
		}
		for _, l := range got {
			delete(open, fmt.Sprint(l.Record, "#", l.Attempt))
		}
		if len(open) > 0 {
			return errors.Join(fmt.Errorf("%d are not read yet", len(open)), a.alive())
		}
		return nil
	})
}
