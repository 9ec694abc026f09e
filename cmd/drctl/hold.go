package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/client"
	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// holding is one call of hold or release.
type holding struct {
	*app
	planFile, keyFile, reason string
	all                       bool
}

func (a *app) holdCommand() *cobra.Command {
	return a.holdingCommand(true, "hold {PAIR | --all} --reason TEXT", "the kill switch: no operation starts, and none passes its point of no return, until it is released",
		"hold writes to the Consul of each site of the plan, beside the record of truth, and needs neither Temporal nor a worker.\n"+
			"Every operation looks at its start and right before its point of no return; what is past that goes on. Whoever it stops\n"+
			"reads who, when and why; a request that names the override hold, approved by that name, goes on all the same.\n"+
			"--all holds every pair whose plan names one of these Consuls. You must be one of the plan's people.")
}

func (a *app) releaseCommand() *cobra.Command {
	return a.holdingCommand(false, "release {PAIR | --all} --reason TEXT", "lift a hold",
		"release lifts the hold on a pair, or with --all the one on all pairs; each stands alone. Anybody of the plan's people may\n"+
			"lift what another put. A Consul that does not answer keeps its old copy: it is outruled by one that has taken the release,\n"+
			"but where it is the only one that answers it still holds. Repeat the release when it is back.")
}

func (a *app) holdingCommand(hold bool, use, short, long string) *cobra.Command {
	h := holding{app: a}
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case h.all == (len(args) == 1):
				return usagef("name one pair, or --all")
			case h.reason == "":
				return usagef("--reason is missing: whoever is stopped, or surprised, reads it")
			}
			return h.run(cmd.Context(), strings.Join(args, ""), hold)
		},
	}
	f := cmd.Flags()
	f.StringVar(&h.planFile, "plan", "", "the pair's plan: says where its Consuls are and who its people are (default: DRCTL_PLAN)")
	f.StringVar(&h.keyFile, "key", "", keyUsage)
	f.StringVar(&h.reason, "reason", "", "why")
	f.BoolVar(&h.all, "all", false, "all pairs of these Consuls, not one")
	return cmd
}

func (h *holding) run(ctx context.Context, pair string, hold bool) error {
	p, err := h.plan(pair)
	if err != nil {
		return err
	}
	by, err := h.entitled(p)
	if err != nil {
		return err
	}
	scope := runbook.HoldPair
	if h.all {
		scope, pair = runbook.HoldAll, ""
	}
	copies, kept := readHolds(ctx, p, scope)
	held, _ := runbook.ReadHold(copies)
	if !hold && len(held) == 0 && !slices.ContainsFunc(copies, func(c runbook.HoldCopy) bool { return !c.Reachable || c.Hold != nil && c.Hold.Held }) {
		return refusedf("nothing holds %s: there is nothing to release", heldName(pair))
	}
	next, err := by.SignHold(runbook.HoldKey(pair), runbook.NextHold(copies, scope, hold, by.Name, h.reason, time.Now()))
	if err != nil {
		return err
	}
	outcomes := h.write(ctx, p, kept, runbook.HoldKey(pair), next)
	if err := h.print(outcomes, func(w io.Writer) { h.table(w, outcomes, pair, next, held) }); err != nil {
		return err
	}
	var faults []error
	for _, o := range outcomes {
		if o.Error != "" {
			faults = append(faults, o.err)
		}
	}
	if len(faults) == len(outcomes) {
		return fmt.Errorf("no Consul took it, nothing is %s: %w", map[bool]string{true: "held", false: "released"}[hold], errors.Join(faults...))
	}
	return nil
}

func heldName(pair string) string {
	if pair == "" {
		return "all pairs"
	}
	return "pair " + pair
}

func (h *holding) plan(pair string) (*hashed, error) {
	if h.all {
		file := h.planFile
		p, err := anyPlan(file)
		if err == nil && p == nil {
			err = usagef("name a plan with --plan or DRCTL_PLAN: it says which Consuls hold all pairs")
		}
		return p, err
	}
	p, err := ownPlan(h.planFile, pair)
	if err == nil && p == nil {
		err = usagef("name the pair's plan with --plan or DRCTL_PLAN: it says where its Consuls are")
	}
	return p, err
}

// entitled is whoever has the key, if the plan lists them with it. Consul's own ACLs decide who may
// write there; the signature keeps the name in the hold an honest one.
func (h *holding) entitled(p *hashed) (operator.Signer, error) {
	path, err := keyPath(h.keyFile)
	if err != nil {
		return operator.Signer{}, err
	}
	by, err := operator.LoadSigner(path)
	if err != nil {
		return by, usagef("%w; a hold names who put it: make a key with `drctl key new`, or name yours with --key", err)
	}
	for _, who := range p.People {
		if who.Name == by.Name && who.PublicKey == by.Public() {
			return by, nil
		}
	}
	return by, refusedf("the plan of pair %s does not list %s with this key: one of its people must do it", p.Pair, by.Name)
}

// kept is a key as one Consul has it, for the compare-and-set.
type kept struct {
	kv    *api.KV
	index uint64
	err   error
}

// holdWritten is what became of a hold at one site.
type holdWritten struct {
	Site  string       `json:"site"`
	Hold  runbook.Hold `json:"hold"`
	Error string       `json:"error,omitempty"`
	err   error
}

// holdWait bounds what one reading or writing of holds may take. A test has more time.
var holdWait = 5 * time.Second

// readHolds reads one scope's key from every Consul of the plan, at the same time.
func readHolds(ctx context.Context, p *hashed, scope string) ([]runbook.HoldCopy, []kept) {
	ctx, cancel := context.WithTimeout(ctx, holdWait)
	defer cancel()
	key := runbook.HoldKey("")
	if scope == runbook.HoldPair {
		key = runbook.HoldKey(p.Pair)
	}
	copies, keys := make([]runbook.HoldCopy, len(p.Sites)), make([]kept, len(p.Sites))
	var wg sync.WaitGroup
	for i, s := range p.Sites {
		wg.Go(func() {
			c, k := &copies[i], &keys[i]
			c.Site, c.Scope = s.Name, scope
			k.kv, k.err = consulKV(consulOf(s.Name, s.Consul.Address, s.Consul.TokenFile))
			if k.err != nil {
				c.Problem = k.err.Error()
				return
			}
			found, _, err := k.kv.Get(key, (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
			if err != nil {
				k.err = &client.ConsulError{Source: s.Name, Err: err}
				c.Problem = k.err.Error()
				return
			}
			c.Reachable = true
			if found == nil {
				return
			}
			k.index = found.ModifyIndex
			var hold runbook.Hold
			if err := json.Unmarshal(found.Value, &hold); err != nil {
				c.Problem = fmt.Sprintf("key %s: %v", key, err)
				return
			}
			c.Hold = &hold
			if err := operator.VerifyHold(p.People, key, hold); err != nil {
				c.Unproven = err.Error()
			}
		})
	}
	wg.Wait()
	return copies, keys
}

func consulKV(c client.Consul) (*api.KV, error) {
	conf := api.DefaultConfig()
	conf.Address = c.Address
	if c.TokenFile != "" {
		conf.TokenFile = c.TokenFile
	}
	cl, err := api.NewClient(conf)
	if err != nil {
		return nil, fmt.Errorf("consul of %s: %w", c.Site, err)
	}
	return cl.KV(), nil
}

func (h *holding) write(ctx context.Context, p *hashed, keys []kept, key string, next runbook.Hold) []holdWritten {
	ctx, cancel := context.WithTimeout(ctx, holdWait)
	defer cancel()
	body, err := json.Marshal(next)
	out := make([]holdWritten, len(keys))
	var wg sync.WaitGroup
	for i, k := range keys {
		out[i] = holdWritten{Site: p.Sites[i].Name, Hold: next, err: errors.Join(err, k.err)}
		if out[i].err != nil {
			continue
		}
		wg.Go(func() {
			ok, _, err := k.kv.CAS(&api.KVPair{Key: key, Value: body, ModifyIndex: k.index}, (&api.WriteOptions{}).WithContext(ctx))
			switch {
			case err != nil:
				out[i].err = &client.ConsulError{Source: p.Sites[i].Name, Err: err}
			case !ok:
				out[i].err = refusedf("somebody else changed the hold in the consul of %s at the same moment: look with drctl status, then do it again", p.Sites[i].Name)
			}
		})
	}
	wg.Wait()
	for i := range out {
		if out[i].err != nil {
			out[i].Error = out[i].err.Error()
		}
	}
	return out
}

func (h *holding) table(w io.Writer, outcomes []holdWritten, pair string, next runbook.Hold, was []runbook.Held) {
	what := "released"
	if next.Held {
		what = "held"
	}
	for _, o := range outcomes {
		if o.Error != "" {
			fmt.Fprintf(w, "consul of %s did not take it: %s\n", o.Site, o.Error)
			if !next.Held {
				fmt.Fprintf(w, "  repeat the release when it is back: alone it would still hold %s\n", heldName(pair))
			}
			continue
		}
		fmt.Fprintf(w, "%s: %s by %s, consul of %s\n", heldName(pair), what, next.By, o.Site)
	}
	for _, h := range was {
		if !next.Held {
			fmt.Fprintf(w, "it was put by %s at %s: %s\n", h.By, stamp(h.Since), h.Reason)
		}
	}
}

// pairHolds are all holds that a pair's operations would meet.
func pairHolds(ctx context.Context, p *hashed) []runbook.Held {
	one, _ := readHolds(ctx, p, runbook.HoldPair)
	all, _ := readHolds(ctx, p, runbook.HoldAll)
	held, _ := runbook.ReadHold(slices.Concat(one, all))
	return held
}
