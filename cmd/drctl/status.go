package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/client"
	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// pairStatus is everything that drctl can find out about a pair.
type pairStatus struct {
	operator.Status
	// Namespace is the one that was asked.
	Namespace string `json:"temporal_namespace,omitempty"`
	// Temporal says why it was not asked successfully.
	Temporal string       `json:"temporal_error,omitempty"`
	Copies   []recordCopy `json:"record_copies,omitempty"`
	Fences   []siteFences `json:"fences,omitempty"`
	// Holds stop every operation on the pair that does not name the override.
	Holds []runbook.Held `json:"holds,omitempty"`
}

// siteFences is the fence register of one site's engine: entries that stand on the other site.
type siteFences struct {
	Engine string      `json:"engine_site"`
	Fences []fenceLine `json:"fences"`
	Error  string      `json:"error,omitempty"`
}

type fenceLine struct {
	api.Fence
	// Lost: no open operation made it and no mirror's guard took it over. It stops producers until it is lifted.
	Lost bool `json:"lost"`
	// Kept: as lost, but at a site that the record does not call active: it keeps clients from what a move has left.
	Kept bool `json:"kept"`
	// Unsure is why it cannot be told of a lost one whether it is kept.
	Unsure string `json:"unsure,omitempty"`
}

func (a *app) statusCommand() *cobra.Command {
	var planFile string
	var follow bool
	var tokens tokenFlags
	cmd := &cobra.Command{
		Use: "status PAIR", Short: "show a pair: the open or last run, what it waits for, the record's copies, fences", Args: exactly(1),
		Long: "status asks Temporal for the pair's open or last run. With --plan it also asks each site's Consul for its copy of the\n" +
			"record and each site's engine for fences, and names those whose run is lost. A fence at a site that is not active is none:\n" +
			"it stands until the pair is restored or goes home.",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := ownPlan(planFile, args[0])
			if err != nil {
				return err
			}
			return a.status(cmd.Context(), args[0], p, tokens, follow)
		},
	}
	cmd.Flags().StringVar(&planFile, "plan", "", "the pair's plan: says where its Consuls and engines are (default: DRCTL_PLAN)")
	cmd.Flags().BoolVar(&follow, "follow", false, "then follow the open run to its end")
	tokens.add(cmd)
	a.temporalFlags(cmd)
	return cmd
}

func (a *app) status(ctx context.Context, pair string, p *hashed, tokens tokenFlags, follow bool) error {
	var st pairStatus
	op, temporalErr := a.operator(ctx)
	if temporalErr == nil {
		defer op.Close()
		st.Status, temporalErr = op.Status(ctx, pair)
		st.Namespace = op.Namespace()
	}
	st.Pair = pair
	if temporalErr != nil {
		if p == nil {
			return temporalErr
		}
		st.Temporal = temporalErr.Error() // the rest is worth showing
	}
	if p != nil {
		st.ask(ctx, p, tokens, temporalErr == nil)
	}
	if err := a.print(st, func(w io.Writer) { statusTable(w, st) }); err != nil {
		return err
	}
	if temporalErr != nil {
		return temporalErr
	}
	if follow && st.Open() {
		return a.followToEnd(ctx, op, st.Run.Run, st.Detail)
	}
	return nil
}

// ask asks Consuls and engines, all at the same time: each that hangs, as those of a lost site do, costs its whole time-out.
func (st *pairStatus) ask(ctx context.Context, p *hashed, tokens tokenFlags, known bool) {
	var all sync.WaitGroup
	all.Go(func() { st.Copies = readCopies(ctx, p) })
	all.Go(func() { st.Holds = pairHolds(ctx, p) })
	all.Go(func() { st.Fences = readFences(ctx, p, tokens, st.Status, known) })
	all.Wait()
	keepFences(st.Fences, st.Copies)
}

// keepFences takes the fences of sites that were left from the lost ones, as far as a copy of the record tells which
// those are: after a failover the fence of the old primary stands for as long as nobody has restored the pair. Where a
// copy cannot be read from here the one that can may be the old primary's, which has not heard of the failover.
func keepFences(sites []siteFences, copies []recordCopy) {
	var rules *record.Record
	unsure := ""
	for _, c := range copies {
		switch {
		case c.Record == nil && !errors.Is(c.err, client.ErrNoRecord):
			unsure = "the Consul of " + c.Site + " does not answer"
		case c.Record != nil && (rules == nil || c.Record.Epoch > rules.Epoch):
			rules = c.Record
		}
	}
	if splitBrain(copies) != nil {
		rules, unsure = nil, "the copies of the record contradict each other"
	}
	for _, s := range sites {
		for i := range s.Fences {
			switch f := &s.Fences[i]; {
			case !f.Lost:
			case rules != nil && len(rules.Active) > 0 && !slices.Contains(rules.Active, f.Site):
				f.Lost, f.Kept = false, true
			default:
				f.Unsure = unsure
			}
		}
	}
}

// tokenFlags are the engines' tokens on this machine, by site.
type tokenFlags struct{ files map[string]string }

func (t *tokenFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringToStringVar(&t.files, "engine-token", nil, "site=FILE with the token of the site's engine (default: the plan's token_file, if it is here)")
}

// engineOf is a client for one site's engine.
func (t tokenFlags) engineOf(site string, e plan.Engine) (*api.Client, error) {
	hc, err := api.TLSFiles{CAFile: here(e.CAFile), CertFile: here(e.CertFile), KeyFile: here(e.KeyFile)}.HTTPClient()
	c := &api.Client{BaseURL: e.URL, HTTP: hc}
	file := t.files[site]
	if file == "" {
		file = here(e.TokenFile)
	}
	if err != nil || file == "" {
		return c, err // an engine on loopback needs no token; others say so
	}
	c.Token, err = readToken(file)
	return c, err
}

// here is a file of the plan, if this machine has it: the plan's paths are the worker's.
func here(file string) string {
	if _, err := os.Stat(file); err != nil {
		return ""
	}
	return file
}

func readToken(file string) (string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	if token := strings.TrimSpace(string(raw)); token != "" {
		return token, nil
	}
	return "", fmt.Errorf("token file %s is empty", file)
}

// readFences asks each engine for the fences in its register. known: st tells whether an operation is open.
func readFences(ctx context.Context, p *hashed, tokens tokenFlags, st operator.Status, known bool) []siteFences {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out := make([]siteFences, len(p.Sites))
	var all sync.WaitGroup
	for i, site := range p.Sites {
		all.Go(func() {
			sf := siteFences{Engine: site.Name, Fences: []fenceLine{}}
			engine, err := tokens.engineOf(site.Name, site.Engine)
			if err == nil {
				var fences []api.Fence
				fences, err = engine.Fences(ctx, p.Pair)
				for _, f := range fences {
					sf.Fences = append(sf.Fences, fenceLine{Fence: f, Lost: known && !f.HandedOver && !belongsToOpen(st, f.OperationID)})
				}
			}
			if err != nil {
				sf.Error = err.Error()
			}
			out[i] = sf
		})
	}
	all.Wait()
	return out
}

// belongsToOpen: the open run made this fence, or might have (no worker says which operation it is).
func belongsToOpen(st operator.Status, opID string) bool {
	return st.Open() && (st.Detail == nil || st.Detail.OpID == opID)
}

func statusTable(w io.Writer, st pairStatus) {
	switch {
	case st.Temporal != "":
		fmt.Fprintln(w, "Temporal:", st.Temporal)
	case st.Run == nil:
		fmt.Fprintf(w, "pair %s: no operation is known in the Temporal namespace %s (--namespace and TEMPORAL_NAMESPACE name another)\n", st.Pair, st.Namespace)
	default:
		runTable(w, st.Status)
	}
	if len(st.Copies) > 0 {
		lines := [][]string{{"CONSUL", "EPOCH", "PHASE", "ACTIVE", "MADE BY", "LOCK", "DEBTS"}}
		for _, c := range st.Copies {
			if c.Record == nil {
				lines = append(lines, []string{c.Site, "", c.Error})
				continue
			}
			r := c.Record
			lock := ""
			if r.Lock != nil {
				lock = r.Lock.Operation + " " + r.Lock.OpID
			}
			lines = append(lines, []string{c.Site, strconv.FormatInt(r.Epoch, 10), string(r.Phase), joined(r.Active), r.OpID, lock, strconv.Itoa(len(r.FenceDebt))})
		}
		fmt.Fprintln(w)
		rows(w, lines)
		for _, c := range st.Copies {
			if c.Record != nil && len(c.Record.Waits) > 0 {
				fmt.Fprintf(w, "WAITING for their wave, by the record at %s: %s stand still until the run, or the next one on the pair, lets them start\n", c.Site, joined(c.Record.Waits))
			}
		}
		if split := splitBrain(st.Copies); split != nil {
			fmt.Fprintln(w, "ATTENTION:", split)
		}
	}
	for _, h := range st.Holds {
		fmt.Fprintln(w, "\nHELD:", h.Text(st.Pair))
	}
	for _, site := range st.Fences {
		if site.Error != "" {
			fmt.Fprintf(w, "\nfences: engine of %s: %s\n", site.Engine, site.Error)
		}
		for _, f := range site.Fences {
			fmt.Fprintf(w, "\nfence of site %s by operation %s: %d entries%s\n", f.Site, f.OperationID, len(f.Entries), fenceState(f, st.Pair))
		}
	}
}

func fenceState(f fenceLine, pair string) string {
	switch {
	case f.Lost && f.Unsure != "":
		return "; its run is lost, and whether it keeps clients out of a site that a move has left cannot be told from here: " + f.Unsure + "; do not lift it before that is known"
	case f.Lost:
		return "; its run is lost: `drctl unfence " + pair + "` lifts it"
	case f.Kept:
		return "; " + f.Site + " is not active: it keeps clients out until the pair is restored or goes home; do not lift it"
	case f.HandedOver:
		return "; handed over to the mirrors' guards"
	default:
		return ""
	}
}

// splitBrain reports two copies of one epoch that do not belong together.
func splitBrain(copies []recordCopy) error {
	for i, a := range copies {
		for _, b := range copies[i+1:] {
			if a.Record != nil && b.Record != nil && record.Compare(*a.Record, *b.Record) == record.SplitBrain {
				return errors.New("split brain: " + a.Site + " and " + b.Site + " hold different records of epoch " + strconv.FormatInt(a.Record.Epoch, 10) +
					"; write nothing until a person has decided")
			}
		}
	}
	return nil
}

func runTable(w io.Writer, st operator.Status) {
	run := st.Run
	closed := ""
	if run.Closed != nil {
		closed = stamp(*run.Closed)
	}
	outcome := run.Outcome
	if st.Open() {
		outcome = "" // it has none yet
	}
	why, undone := "", ""
	if st.Detail != nil {
		outcome, why, undone = outcomeText(outcome, st.Detail.Error), st.Detail.Error, st.Detail.Undone
	}
	about := []string{
		"pair", st.Pair, "operation", describe(run.Run), "state", run.State, "phase", run.Phase, "outcome", outcome, "error", why, "undone", undone,
		"requester", run.Requester, "started", stamp(run.Started), "ended", closed, "run", run.RunID, "plan", run.PlanHash, "problem", st.Problem,
	}
	d := st.Detail
	if d == nil {
		pairs(w, about...)
		return
	}
	pairs(w, append(about, "op id", d.OpID, "epoch", strconv.FormatInt(d.Epoch, 10))...)
	lines := [][]string{{"STEP", "STATE", "TOOK", "DETAIL"}}
	for _, s := range d.Steps {
		lines = append(lines, []string{s.Name, s.State, millis(s.Millis), s.Detail})
	}
	fmt.Fprintln(w)
	rows(w, lines)
	if d.ETA != nil && st.Open() {
		fmt.Fprintln(w, "\ntime:", d.ETA.Text())
	}
	if d.Waiting != nil && st.Open() {
		fmt.Fprintln(w, "\nwaiting for", waitingLine(*d.Waiting))
	}
	for _, g := range d.BreakGlass {
		fmt.Fprintf(w, "BREAK-GLASS by %s at %s%s; overrides: %s\n", g.By, stamp(g.At), because(g.Reason), joined(g.Overrides))
	}
	for _, e := range d.Escalations {
		fmt.Fprintln(w, e.Text())
	}
	if p := d.Paused; p != nil && p.Since.IsZero() {
		fmt.Fprintf(w, "\npause asked for by %s at %s: it holds the run before its next step%s\n", p.By, stamp(p.Asked), because(p.Reason))
	}
	for _, s := range d.Approvals {
		fmt.Fprintf(w, "%s by %s at %s%s\n", s.Decided(), s.By, stamp(s.At), because(s.Reason))
	}
	if len(d.Teams) > 0 {
		fmt.Fprintln(w)
		rows(w, teamLines(d.Teams))
	}
	moveLines(w, d.Move, d.Turned)
	if d.Forecast != nil {
		fmt.Fprintln(w)
		forecastTable(w, *d.Forecast, st.Open() || run.DryRun)
	}
	for _, f := range d.Fences {
		fmt.Fprintf(w, "fence of %s: %s%s\n", f.Site, f.Level, because(f.Reason))
	}
	if len(d.Ledger) > 0 {
		fmt.Fprintln(w)
		ledgerTable(w, d.Ledger)
	}
	for _, f := range d.Findings {
		fmt.Fprintln(w, "finding:", f)
	}
	for _, debt := range d.Debts {
		fmt.Fprintf(w, "debt open: %s at %s: %s\n", debt.Kind, debt.Site, debt.Reason)
	}
}

func teamLines(teams []runbook.TeamLine) [][]string {
	lines := [][]string{{"TEAM", "GROUPS", "TOLD", "ACKNOWLEDGED", "MOVED"}}
	for _, t := range teams {
		lines = append(lines, t.Row())
	}
	return lines
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}
