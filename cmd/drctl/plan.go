package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/workflows/plan"
)

func (a *app) planCommand() *cobra.Command {
	cmd := group("plan", "check, hash and write plan files")
	cmd.AddCommand(
		&cobra.Command{
			Use: "validate FILE", Short: "report every mistake in a plan at once: key, value, cure", Args: exactly(1),
			RunE: func(_ *cobra.Command, args []string) error { return a.planValidate(args[0]) },
		},
		&cobra.Command{
			Use: "example", Short: "print a complete plan with every key explained", Args: exactly(0),
			RunE: func(*cobra.Command, []string) error {
				_, err := io.WriteString(a.stdout, plan.Example())
				return err
			},
		},
		&cobra.Command{
			Use: "hash FILE", Short: "print the hash that drctl sends and a run goes by", Args: exactly(1),
			RunE: func(_ *cobra.Command, args []string) error {
				p, err := readPlan(args[0])
				if err != nil {
					return err
				}
				return a.print(map[string]string{"pair": p.Pair, "plan_hash": p.hash}, func(w io.Writer) { fmt.Fprintln(w, p.hash) })
			},
		},
	)
	return cmd
}

// hashed is a plan file with its hash.
type hashed struct {
	plan.Plan
	hash, file string
}

func readPlan(file string) (hashed, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return hashed{}, fmt.Errorf("plan: %w", err)
	}
	p, err := plan.Parse(raw)
	if err != nil {
		return hashed{}, refusedf("plan %s has faults (`drctl plan validate` lists them alone):\n%s", file, err)
	}
	h, err := p.Hash()
	if err != nil {
		return hashed{}, fmt.Errorf("plan %s: %w", file, err)
	}
	return hashed{Plan: p, hash: h}, nil
}

// validation is the answer of plan validate in JSON.
type validation struct {
	File   string  `json:"file"`
	Valid  bool    `json:"valid"`
	Pair   string  `json:"pair,omitempty"`
	Hash   string  `json:"plan_hash,omitempty"`
	Faults []fault `json:"faults"`
}

type fault struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	Cure  string `json:"cure"`
}

func (a *app) planValidate(file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	v := validation{File: file, Faults: []fault{}}
	p, err := plan.Parse(raw)
	if err == nil {
		v.Valid, v.Pair = true, p.Pair
		if v.Hash, err = p.Hash(); err != nil {
			return fmt.Errorf("plan %s: %w", file, err)
		}
		return a.print(v, func(w io.Writer) { pairs(w, "plan", file, "pair", v.Pair, "hash", v.Hash, "faults", "none") })
	}
	for _, e := range each(err) {
		var f plan.Fault
		if !errors.As(e, &f) {
			f = plan.Fault{Key: "plan", Cure: e.Error()}
		}
		v.Faults = append(v.Faults, fault(f))
	}
	if err := a.print(v, func(w io.Writer) {
		lines := [][]string{{"KEY", "VALUE", "CURE"}}
		for _, f := range v.Faults {
			lines = append(lines, []string{f.Key, f.Value, f.Cure})
		}
		rows(w, lines)
	}); err != nil {
		return err
	}
	return refusedf("plan %s: %d fault(s)", file, len(v.Faults))
}

// each takes a joined error apart.
func each(err error) []error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return joined.Unwrap()
	}
	return []error{err}
}
