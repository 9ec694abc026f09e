package main

import (
	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func (a *app) acknowledgeCommand() *cobra.Command {
	var ans answer
	cmd := a.answerCommand(runbook.Acknowledge, "say that you look after the open run, or a team's clients in it: the page is quiet then, and the report keeps it", &ans)
	cmd.Long = "acknowledge quiets the page of the open run, or with --team that of a team of the plan whose clients are to move: each is told once its\n" +
		"clients are. For a team its people speak, as the plan's teams name them. A team that nobody has acknowledged for is told again after its\n" +
		"escalate_seconds, and its escalation service with it. drctl status shows who was told, who acknowledged and who moved."
	cmd.Flags().StringVar(&ans.Team, "team", "", "the team of the plan that you speak for (default: the run itself)")
	cmd.Example = "  drctl acknowledge orders\n  drctl acknowledge orders --team payments --reason \"on it\""
	return cmd
}
