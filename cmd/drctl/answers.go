package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// answer is what the commands that answer a run have in common.
type answer struct {
	*app
	operator.Answer
	planFile, keyFile string

	question string // asked before it is sent, if the answer cannot be taken back by others
	yes      sure
}

func (a *app) answerCommand(verb, short string, ans *answer) *cobra.Command {
	ans.app, ans.Decision = a, verb
	cmd := &cobra.Command{
		Use: verb + " PAIR", Short: short, Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error { return ans.send(cmd, args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&ans.keyFile, "key", "", keyUsage)
	f.StringVar(&ans.planFile, "plan", "", "your copy of the plan: refused unless the run goes by the same (default: DRCTL_PLAN)")
	f.StringVar(&ans.OpID, "op", "", "the operation that you mean: refused if another one is open")
	f.StringVar(&ans.Reason, "reason", "", "why, for the report")
	f.DurationVar(&ans.Expires, "expires", 0, "how long the signed answer may be used (default 10m)")
	f.StringVar(&ans.Question, "question", "", "the question that you mean, as status names it: refused if the run asks another one")
	a.temporalFlags(cmd)
	return cmd
}

func (a *app) approveCommand() *cobra.Command {
	var ans answer
	cmd := a.answerCommand(runbook.Approve, "approve what the open run asks, with your signature", &ans)
	cmd.Flags().StringSliceVar(&ans.Overrides, "override", nil, "an override that the run asks for, named one by one; needs a --reason")
	return cmd
}

func (a *app) breakGlassCommand() *cobra.Command {
	var ans answer
	cmd := a.answerCommand(runbook.BreakGlass, "answer for approvers who cannot be reached, where the plan allows it (needs --reason)", &ans)
	cmd.Long = "break-glass answers the open question of approval with the approvals that the plan's break_glass leaves, often none. It takes one of the plan's\n" +
		"roles for it, a reason, and each override that is asked for by its name. Everybody is paged, and the report begins with it. Split brain, the\n" +
		"epoch and the fence registers are no overrides: no glass reaches them. drctl failover --break-glass does the same for a whole run."
	cmd.Example = "  drctl break-glass orders --reason \"nobody answers the pager\" --override unproven-fence"
	ans.question = "This lets the open run go on without the approvals of others, behind its point of no return; everybody is paged."
	ans.yes.add(cmd, "pair")
	cmd.Flags().StringSliceVar(&ans.Overrides, "override", nil, "an override that the run asks for, named one by one; needs a --reason")
	return cmd
}

func (a *app) denyCommand() *cobra.Command {
	return a.answerCommand(runbook.Deny, "deny what the open run asks; what can be undone is undone (needs --reason)", &answer{})
}

func (a *app) retryCommand() *cobra.Command {
	var ans answer
	cmd := a.answerCommand(runbook.Retry, "try the failed step of the open run again", &ans)
	cmd.Flags().StringVar(&ans.Step, "step", "", "the step that you mean (default: the one that the run waits at)")
	return cmd
}

func (a *app) skipCommand() *cobra.Command {
	var ans answer
	cmd := a.answerCommand(runbook.Skip, "go on without the failed step of the open run (needs --reason)", &ans)
	cmd.Flags().StringVar(&ans.Step, "step", "", "the step that you mean (default: the one that the run waits at)")
	return cmd
}

func (a *app) abortCommand() *cobra.Command {
	return a.answerCommand(runbook.Abort, "end the open run before its point of no return and undo everything (needs --reason)", &answer{})
}

func (a *app) pauseCommand() *cobra.Command {
	cmd := a.answerCommand(runbook.Pause, "hold the open run before its next step (needs --reason)", &answer{})
	cmd.Long = "pause holds the open run where its next step would begin; a step that runs is never cut off. A freeze still ends in its time and then\n" +
		"everything is undone; abort and into-failover are taken meanwhile. People are paged every 15 minutes until somebody resumes it. The pause is part of\n" +
		"the recovery time, and a figure of its own in the report. Anybody of the plan may pause; who paused, who asked for the run and who may approve\n" +
		"it may resume."
	cmd.Example = "  drctl pause orders --reason \"the brokers at west look wrong\"\n  drctl resume orders"
	return cmd
}

func (a *app) resumeCommand() *cobra.Command {
	return a.answerCommand(runbook.Resume, "let the paused run go on", &answer{})
}

func (a *app) intoFailoverCommand() *cobra.Command {
	cmd := a.answerCommand(runbook.IntoFailover, "make a failover of the open switchover, whose source died under it (needs --reason)", &answer{})
	cmd.Long = "into-failover lets the open switchover go on as a failover, in the same run: locks, fence and stopped clients stay, the outage is\n" +
		"attested and the failover's own approvals are asked for; those of the switchover do not count. Before the first mirror is\n" +
		"promoted a refusal undoes everything; behind it only mirrors that are not STOPPED yet are failed over, and a refusal goes on\n" +
		"promoting them. It takes one of the roles that may approve a failover, or to be who asked for the switchover; who sends it does not approve it."
	cmd.Example = "  drctl into-failover orders --reason \"east went dark in the freeze\"\n" +
		"  drctl approve orders --override unproven-fence --reason \"its racks have no power\"   # somebody else, naming what the run asks to be overridden"
	return cmd
}

func (a *app) decideCommand() *cobra.Command {
	var ans answer
	var choices choiceFlags
	cmd := a.answerCommand(runbook.Decide, "decide what the open run asks about: lagged data (recover), or topics that changed while a site was away (failback, restore)", &ans)
	choices.addLagged(cmd)
	choices.addChanged(cmd)
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		if ans.Choices, err = choices.decisions(); err != nil {
			return err
		}
		if len(ans.Choices) == 0 {
			return usagef("name topics with --append, --export or --discard, or those that changed with --mirror, --leave or --delete")
		}
		return nil
	}
	return cmd
}

func (ans *answer) send(cmd *cobra.Command, pair string) error {
	ctx := cmd.Context()
	path, err := keyPath(ans.keyFile)
	if err != nil {
		return err
	}
	by, err := operator.LoadSigner(path)
	if err != nil {
		return err
	}
	p, err := ownPlan(ans.planFile, pair)
	if err != nil {
		return err
	}
	if p != nil {
		ans.PlanHash = p.hash
	}
	if ans.question != "" {
		if err := ans.confirmed(ctx, ans.yes, ans.question, pair); err != nil {
			return err
		}
	}
	op, err := ans.operator(ctx)
	if err != nil {
		return err
	}
	defer op.Close()
	ans.Before = func(st workflows.Status, c runbook.Command) { ans.signing(by.Name, st, c) }
	ack, err := op.Answer(ctx, pair, ans.Answer, by)
	if err != nil {
		return err
	}
	return ans.print(ack, func(w io.Writer) {
		count := ""
		if ack.Need > 0 {
			count = fmt.Sprintf("%d of %d", ack.Have, ack.Need)
		}
		pairs(w, "operation", ack.OpID, "question", ack.Question, "answer", ack.Text, "approvals", count)
	})
}

// signing says what a person is about to sign.
func (ans *answer) signing(who string, st workflows.Status, c runbook.Command) {
	fmt.Fprintf(ans.stderr, "drctl: signing %s as %s for %s of pair %s, epoch %d\n", c.Decision, who, st.OpID, c.Pair, c.Epoch)
	if c.Question != "" && st.Waiting != nil {
		fmt.Fprintf(ans.stderr, "drctl: question %q: %s\n", c.Question, st.Waiting.Text)
	}
	for _, o := range c.Overrides {
		fmt.Fprintf(ans.stderr, "drctl: you take upon yourself %s: %s\n", o, runbook.OverrideMeaning(o))
	}
}
