package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func (a *app) restoreCommand() *cobra.Command {
	cmd := a.returnCommand(runbook.OpRestore, "protect a pair again that was failed over and stays where it is: the returned site becomes the standby",
		func(pair string) string {
			return "This makes the returned site of pair " + pair + " the standby of the active one. Its copies that moved on are deleted there and mirrored anew."
		})
	cmd.Long = "restore is the way forward after a failover (fail-forward): clients stay where they are and nobody is stopped. Copies at the returned\n" +
		"site that did not move go on where they stopped, the others are deleted and mirrored anew, which an approval must agree to by name.\n" +
		"Topics that were made, grown, made again or deleted meanwhile are each decided. It refuses until drctl recover has paid the debts\n" +
		"and every lagged record is decided. Afterwards make the active site the plan's home and run drctl setup."
	cmd.Example = "  drctl restore orders --dry-run                            # what changed, what is copied, how long it takes\n" +
		"  drctl restore orders --mirror new-topic --leave scratch\n" +
		"  drctl approve orders --override " + runbook.OverrideRebuild + " --reason \"archived, agreed\"   # somebody else"
	return cmd
}

func (a *app) failbackCommand() *cobra.Command {
	cmd := a.returnCommand(runbook.OpFailback, "bring operations home after a failover; refused while data or debts are undecided",
		func(pair string) string {
			return "This rebuilds the home site's topics of pair " + pair + " from the active site, as far as they moved on, and moves all clients home."
		})
	cmd.Long = "failback makes the home site a standby again, as drctl restore does, and then moves everybody there without loss, as drctl switchover\n" +
		"does. Staying is often better: the dry run says what going home costs, and drctl restore protects the pair where it is."
	cmd.Example = "  drctl failback orders --dry-run\n" +
		"  drctl failback orders --mirror '*'\n" +
		"  drctl approve orders --override " + runbook.OverrideRebuild + " --reason \"archived, agreed\"   # the rebuild\n" +
		"  drctl approve orders --reason \"in the window\"   # the move"
	return cmd
}

// returnCommand deals with a site that has come back.
func (a *app) returnCommand(verb, short string, question func(pair string) string) *cobra.Command {
	var s start
	var choices choiceFlags
	cmd := a.startCommand(verb, short, &s, func(cmd *cobra.Command, pair string) error {
		decisions, err := choices.decisions()
		if err != nil {
			return err
		}
		return s.run(cmd.Context(), operator.Request{Operation: verb, Pair: pair, DryRun: s.dryRun, Decisions: decisions}, question(pair))
	})
	choices.addChanged(cmd)
	s.confirmFlags(cmd)
	return cmd
}

// choiceFlags are decisions by topic: about lagged data, or about topics that
// changed while a site was away.
type choiceFlags struct{ appendTo, export, discard, mirror, leave, remove []string }

func (c *choiceFlags) addLagged(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&c.appendTo, "append", nil, "topics whose lagged records are appended to the active site (* for all not named)")
	f.StringSliceVar(&c.export, "export", nil, "topics whose lagged records are exported to a topic of their own")
	f.StringSliceVar(&c.discard, "discard", nil, "topics whose lagged records are given up")
}

func (c *choiceFlags) addChanged(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&c.mirror, "mirror", nil, "topics that changed while the site was away, to be mirrored as they are now (* for all not named)")
	f.StringSliceVar(&c.leave, "leave", nil, "such topics to be left as they are on both sites, neither mirrored nor moved")
	f.StringSliceVar(&c.remove, "delete", nil, "topics that were deleted meanwhile, to be deleted at the returned site too")
}

func (c choiceFlags) decisions() (map[string]string, error) {
	out := map[string]string{}
	var faults []error
	for _, d := range []struct {
		decision string
		topics   []string
	}{
		{runbook.ChooseAppend, c.appendTo},
		{runbook.ChooseExport, c.export},
		{runbook.ChooseDiscard, c.discard},
		{runbook.ChooseMirror, c.mirror},
		{runbook.ChooseLeave, c.leave},
		{runbook.ChooseDelete, c.remove},
	} {
		for _, t := range d.topics {
			if other, ok := out[t]; ok {
				faults = append(faults, usagef("topic %q is named in --%s and in --%s: decide once", t, other, d.decision))
			}
			out[t] = d.decision
		}
	}
	return out, errors.Join(faults...)
}
