package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/client"
	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// start is what the commands that start an operation have in common.
type start struct {
	*app
	planFile, keyFile, reason string
	unsigned, detach          bool
	yes                       sure
	epoch                     int64
	dryRun, breakGlass        bool
	overrides                 []string
}

func (a *app) startCommand(verb, short string, s *start, run func(*cobra.Command, string) error) *cobra.Command {
	s.app = a
	cmd := &cobra.Command{
		Use: verb + " PAIR", Short: short, Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error { return run(cmd, args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&s.planFile, "plan", "", "your copy of the pair's plan; its hash is sent and must be the worker's (default: DRCTL_PLAN)")
	f.StringVar(&s.keyFile, "key", "", keyUsage)
	f.BoolVar(&s.unsigned, "unsigned", false, "start without a signature: costs one approval more")
	f.StringVar(&s.reason, "reason", "", "why, for the report")
	f.StringSliceVar(&s.overrides, "override", nil, "an override that the start itself must name, such as break-lock; needs a signature and a --reason")
	f.BoolVar(&s.breakGlass, "break-glass", false, "go on with the approvals that the plan leaves for a broken glass (often none): needs a signature, --reason and each --override; everybody is paged")
	f.Int64Var(&s.epoch, "epoch", -1, "the record's epoch that you go by (default: read from the plan's Consuls)")
	f.BoolVar(&s.detach, "detach", false, "return when it has started; the default, --wait, follows it to its end")
	f.Bool("wait", true, "follow the run to its end (Ctrl-C stops following, not the run)")
	exclusive(cmd, "wait", "detach")
	a.temporalFlags(cmd)
	return cmd
}

func (a *app) setupCommand() *cobra.Command {
	var s start
	return a.startCommand("setup", "bring a pair to its steady state: links, mirrors, guards, record; run again after a plan change", &s,
		func(cmd *cobra.Command, pair string) error {
			return s.run(cmd.Context(), operator.Request{Operation: runbook.OpSetUp, Pair: pair}, "")
		})
}

func (a *app) failoverCommand() *cobra.Command {
	var s start
	cmd := a.startCommand("failover", "make the standby site active because the active one is lost; data that was not mirrored stays behind", &s,
		func(cmd *cobra.Command, pair string) error {
			return s.run(cmd.Context(), operator.Request{Operation: runbook.OpFailover, Pair: pair, DryRun: s.dryRun},
				"This starts the unplanned failover of pair "+pair+". Records that the standby has not got are left at the old site.")
		})
	s.confirmFlags(cmd)
	return cmd
}

func (a *app) switchoverCommand() *cobra.Command {
	var s start
	var target string
	cmd := a.startCommand("switchover", "move a healthy pair to its standby site, planned and without loss; clients stand still for a bounded time", &s,
		func(cmd *cobra.Command, pair string) error {
			return s.run(cmd.Context(), operator.Request{Operation: runbook.OpSwitchover, Pair: pair, DryRun: s.dryRun, Target: target},
				"This stops all clients of pair "+pair+" for as long as the plan's freeze_seconds at most and moves them to the standby site.")
		})
	cmd.Long = "switchover waits until the mirrors are at the tip, asks for approvals, tells clients to stop, fences the active site, ends open\n" +
		"transactions, drains, promotes, moves groups and clients to the standby site and mirrors back from there, so that the pair is protected\n" +
		"again. Whatever goes wrong before the first mirror is promoted, and a freeze that takes too long, is undone: no change.\n" +
		"If the active site dies meanwhile, drctl into-failover makes a failover of the run."
	cmd.Example = "  drctl switchover orders --dry-run             # how long clients would stop, what would be done\n" +
		"  drctl switchover orders --to west             # refused if west is active already\n" +
		"  drctl approve orders                          # somebody else\n" +
		"  drctl into-failover orders --reason \"east went dark\"   # only if the source dies under it"
	cmd.Flags().StringVar(&target, "to", "", "the site that shall be active; refused if it is already (default: the standby)")
	s.confirmFlags(cmd)
	return cmd
}

func (s *start) confirmFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.dryRun, "dry-run", false, "look at everything, change nothing, take no lock")
	s.yes.add(cmd, "pair")
}

func (a *app) recoverCommand() *cobra.Command {
	var s start
	var debtsOnly bool
	var choices choiceFlags
	cmd := a.startCommand("recover", "recover what was not mirrored when the pair failed over, and pay debts to the returned site", &s,
		func(cmd *cobra.Command, pair string) error {
			decisions, err := choices.decisions()
			if err != nil {
				return err
			}
			if debtsOnly && len(decisions) > 0 {
				return usagef("--debts-only decides about no data: leave out --append, --export and --discard")
			}
			return s.run(cmd.Context(), operator.Request{Operation: runbook.OpRecover, Pair: pair, DebtsOnly: debtsOnly, Decisions: decisions}, "")
		})
	cmd.Flags().BoolVar(&debtsOnly, "debts-only", false, "only pay what is owed: fence the returned site, write its Consul, put back retention that a lost recovery held")
	choices.addLagged(cmd)
	return cmd
}

// run asks for the operation and follows it.
func (s *start) run(ctx context.Context, r operator.Request, question string) error {
	return s.start(ctx, r, question, func(op *operator.Operator, r operator.Request) (operator.Run, error) { return op.Start(ctx, r) })
}

func (s *start) start(ctx context.Context, r operator.Request, question string, begin func(*operator.Operator, operator.Request) (operator.Run, error)) error {
	r.Reason, r.Overrides, r.BreakGlass = s.reason, s.overrides, s.breakGlass
	if s.breakGlass && (s.unsigned || s.reason == "") {
		return usagef("--break-glass needs a signature and a --reason: everybody is paged with it, and it is kept in the report")
	}
	if len(s.overrides) > 0 && s.reason == "" && !s.unsigned {
		return usagef("--override needs a --reason: it is kept in the report")
	}
	if s.unsigned && len(s.overrides) > 0 {
		return usagef("--override counts only in a signed request: leave out --unsigned")
	}
	p, err := s.ownPlan(r.Pair)
	if err != nil {
		return err
	}
	if p != nil {
		r.PlanHash = p.hash
	}
	if err := s.sign(ctx, &r, p); err != nil {
		return err
	}
	if question != "" && !r.DryRun {
		if err := s.confirmed(ctx, s.yes, question, r.Pair); err != nil {
			return err
		}
	}
	op, err := s.operator(ctx)
	if err != nil {
		return err
	}
	defer op.Close()
	run, err := begin(op, r)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.stderr, "drctl: started %s of pair %s: workflow %s, run %s\n", describe(run), run.Pair, run.ID, run.RunID)
	if s.detach {
		return s.printRun(run)
	}
	return s.followToEnd(ctx, op, run, nil)
}

func describe(run operator.Run) string {
	if run.DryRun {
		return "dry run of " + run.Operation
	}
	return run.Operation
}

// ownPlan reads the plan that --plan or DRCTL_PLAN names; nil if neither does.
func (s *start) ownPlan(pair string) (*hashed, error) { return ownPlan(s.planFile, pair) }

func ownPlan(file, pair string) (*hashed, error) {
	p, err := anyPlan(file)
	if err == nil && p != nil && p.Pair != pair {
		return nil, usagef("plan %s is of pair %q, not %q", p.file, p.Pair, pair)
	}
	return p, err
}

// anyPlan reads the plan of whatever pair it is.
func anyPlan(file string) (*hashed, error) {
	if file == "" {
		file = os.Getenv("DRCTL_PLAN")
	}
	if file == "" {
		return nil, nil
	}
	p, err := readPlan(file)
	if err != nil {
		return nil, err
	}
	p.file = file
	return &p, nil
}

// sign gives r a signer and the epoch that goes into what is signed.
func (s *start) sign(ctx context.Context, r *operator.Request, p *hashed) error {
	if s.unsigned {
		return nil
	}
	path, err := keyPath(s.keyFile)
	if err != nil {
		return err
	}
	by, err := operator.LoadSigner(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return usagef("%w; make one with `drctl key new`, name yours with --key, or start with --unsigned", err)
	case err != nil:
		return err
	case p == nil:
		return usagef("a signed request binds the plan's hash and the record's epoch: give your copy with --plan, or start with --unsigned")
	}
	r.By, r.Epoch = &by, s.epoch
	if s.epoch >= 0 {
		return nil
	}
	copies := readCopies(ctx, p)
	if r.Epoch, err = highestEpoch(copies); err != nil {
		return fmt.Errorf("%w; or name the epoch that you know with --epoch", err)
	}
	return nil
}

// recordCopy is what one site's Consul holds.
type recordCopy struct {
	Site   string         `json:"site"`
	Record *record.Record `json:"record,omitempty"`
	Error  string         `json:"error,omitempty"`
	err    error
}

// readCopies reads every site's copy of the record, in the plan's order.
func readCopies(ctx context.Context, p *hashed) []recordCopy {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out := make([]recordCopy, len(p.Sites))
	done := make(chan struct{})
	for i, site := range p.Sites {
		go func() {
			out[i].Site = site.Name
			r, err := client.Read(ctx, consulOf(site.Name, site.Consul.Address, site.Consul.TokenFile), p.Pair)
			if err != nil {
				out[i].err, out[i].Error = err, err.Error()
			} else {
				out[i].Record = &r
			}
			done <- struct{}{}
		}()
	}
	for range p.Sites {
		<-done
	}
	return out
}

// consulOf: a token file of the plan is one of the worker's machine; where it is not here, Consul's environment counts.
func consulOf(site, address, tokenFile string) client.Consul {
	if _, err := os.Stat(tokenFile); err != nil {
		tokenFile = ""
	}
	return client.Consul{Site: site, Address: address, TokenFile: tokenFile}
}

// highestEpoch of the copies; 0 where no site has a record yet. One copy is enough: in a disaster there is no other.
func highestEpoch(copies []recordCopy) (int64, error) {
	var epoch int64
	var faults []error
	answered := false
	for _, c := range copies {
		switch {
		case c.Record != nil:
			epoch, answered = max(epoch, c.Record.Epoch), true
		case errors.Is(c.err, client.ErrNoRecord):
			answered = true
		default:
			faults = append(faults, c.err)
		}
	}
	if !answered {
		return 0, fmt.Errorf("no site's Consul told the record's epoch: %w", errors.Join(faults...))
	}
	return epoch, nil
}

// joined shows a list of names.
func joined(names []string) string { return strings.Join(names, ", ") }
